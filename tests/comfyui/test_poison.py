"""A workflow that killed server after server is known again, whatever its seeds."""

from __future__ import annotations

from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.poison import MOST, Quarantine
from tests.comfyui.graphs import painting, picture

DEATH = Failure(FailureKind.POISONED, "five servers died")


def test_a_poisonous_workflow_is_known_again_with_another_seed_and_no_other_is():
    held = Quarantine()
    held.add(painting(seed=1).graph, DEATH)
    assert held.reason(painting(seed=2).graph) is DEATH
    assert held.reason(painting(seed=1, size=512).graph) is None
    assert held.reason(picture().graph) is None


def test_it_may_be_released():
    held = Quarantine()
    held.add(painting().graph, DEATH)
    assert held.release(painting(seed=5).graph)
    assert not held.release(painting().graph)
    assert held.reason(painting().graph) is None


def test_the_quarantine_is_bounded():
    held = Quarantine()
    for color in range(MOST + 5):
        held.add(picture(color).graph, DEATH)
    assert len(held) == MOST
    assert held.reason(picture(0).graph) is None
