from __future__ import annotations

from holdfast.comfyui.durable.turning_down import turned_down
from holdfast.system.degradation import GracefulDegradation
from tests.comfyui.graphs import painting


def test_at_the_full_level_a_workflow_is_as_it_was_given():
    workflow = painting(1, steps=20, size=512)
    same, words = turned_down(workflow, GracefulDegradation().adjust_parameters, "full")
    assert same is workflow
    assert words == ()


def test_at_a_lower_level_steps_and_size_go_down_and_are_told():
    levels = GracefulDegradation()
    levels.degrade("by hand")
    levels.degrade("by hand")
    workflow = painting(1, steps=20, size=1024)
    less, words = turned_down(workflow, levels.adjust_parameters, levels.current_level.value)
    assert less.graph["5"]["inputs"]["steps"] < 20
    assert less.graph["4"]["inputs"]["width"] < 1024
    assert less.graph["4"]["inputs"]["width"] % 8 == 0
    assert any("20 steps became" in each for each in words)
    assert any("1024x1024 became" in each for each in words)
    assert workflow.graph["5"]["inputs"]["steps"] == 20
