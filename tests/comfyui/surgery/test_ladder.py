"""When memory runs out the cheapest loss comes first, at the node that failed, within limits."""

from __future__ import annotations

import pytest

from holdfast.comfyui.surgery import KnobLimits, Split, memory_steps, next_memory_edit
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from tests.comfyui.surgery.graphs import (
    HANDMADE,
    catalog,
    flux,
    hires,
    sd15,
    sdxl_refined,
    upscaled,
    wan,
)


def steps(workflow: Workflow, node: str | None, limits: KnobLimits | None = None) -> list[str]:
    return [each.change.name for each in memory_steps(workflow, catalog(), node, limits)]


def test_a_decoder_that_failed_is_tiled_before_anything_else_is_touched():
    made = list(memory_steps(sd15(2), catalog(), "dec"))
    assert [each.change.name for each in made] == [
        "tiled_vae", "tiled_vae_256", "tiled_vae_128", "split_batch", "area_75", "area_50",
    ]  # fmt: skip
    assert made[0].change.nodes == ("dec",)


def test_a_sampler_that_failed_loses_nothing_first_and_size_last():
    assert steps(flux(4), "ks") == [
        "text_encoder_on_cpu", "split_batch", "split_batch", "lower_precision",
        "smaller_text_encoder", "area_75", "area_50",
    ]  # fmt: skip
    assert steps(wan(161), "k1") == [
        "text_encoder_on_cpu", "context_windows", "context_windows_49", "lower_precision",
        "smaller_text_encoder", "frames_75", "area_75", "frames_50", "area_50",
    ]  # fmt: skip


def test_a_text_encoder_that_failed_moves_and_then_shrinks():
    assert steps(flux(), "pos") == ["text_encoder_on_cpu", "smaller_text_encoder"]


def test_an_upscaler_that_failed_is_left_out():
    assert steps(upscaled(), "up")[0] == "without_polish"
    assert next_memory_edit(upscaled(), catalog(), "up").change.nodes == ("up",)


def test_a_second_pass_that_failed_is_left_out_before_the_picture_gets_smaller():
    made = steps(hires(1), "ks2")
    assert made[0] == "without_second_pass"
    assert "area_75" in made
    assert "without_second_pass" not in steps(hires(1), "ks")


def test_where_it_is_unknown_what_failed_everything_is_tried_in_order():
    made = steps(flux(2), None)
    assert made == [
        "tiled_vae", "text_encoder_on_cpu", "split_batch", "lower_precision",
        "smaller_text_encoder", "tiled_vae_256", "tiled_vae_128", "area_75", "area_50",
    ]  # fmt: skip
    assert steps(flux(2), "never heard of") == made


def test_a_run_of_a_split_is_split_again():
    made = next_memory_edit(sd15(8), catalog(), "ks")
    assert isinstance(made, Split)
    again = next_memory_edit(made.workflows[0], catalog(), "ks", {"split_batch"})
    assert isinstance(again, Split)


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (KnobLimits(precision=False), {"lower_precision", "smaller_text_encoder"}),
        (KnobLimits(bypass=False), {"without_polish", "without_second_pass"}),
        (KnobLimits(smaller=False), {"area_75", "area_50", "frames_75", "frames_50"}),
        (KnobLimits(least_area=0.75), {"area_50"}),
        (KnobLimits(least_frames=0.6), {"frames_50"}),
        (KnobLimits(least_area=1.0, least_frames=1), {"area_75", "frames_75"}),
    ],
)
def test_limits_are_kept(limits, gone):
    seen, free = set[str](), set[str]()
    for workflow in HANDMADE:
        for node in (None, *workflow.graph):
            seen |= set(steps(workflow, node, limits))
            free |= set(steps(workflow, node))
    assert gone <= free
    assert not gone & seen


def test_with_the_same_result_asked_for_only_what_keeps_it_is_done():
    strict = KnobLimits(same_result=True)
    for workflow in HANDMADE:
        for node in (None, *workflow.graph):
            made = memory_steps(workflow, catalog(), node, strict)
            assert all(each.change.keeps_result for each in made)
    assert steps(sd15(2), "dec", strict) == ["tiled_vae", "split_batch"]
    assert steps(sd15(2, sampler_name="lcm"), "ks", strict) == []


@pytest.mark.parametrize("workflow", [sd15(1, 1024, 1024), sdxl_refined(), flux(), wan(), wan(121)])
@pytest.mark.parametrize("least", [0.75, 0.5, 0.3, 0.25, 0.1])
def test_what_is_left_in_the_end_is_never_less_than_the_limits(workflow, least):
    def size(each: Workflow) -> tuple[int, int]:
        inputs = each.graph["lat"]["inputs"]
        width = each.graph["w"]["inputs"]["value"] if "w" in each.graph else inputs["width"]
        return width * inputs["height"], inputs.get("length", 1)

    last, limits = workflow, KnobLimits(least_area=least, least_frames=least)
    for step in memory_steps(workflow, catalog(), None, limits):
        last = step.workflows[0] if isinstance(step, Split) else step.workflow
    assert size(last)[0] >= size(workflow)[0] * least
    assert size(last)[1] >= size(workflow)[1] * least
    assert size(last) != size(workflow)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"least_area": 0}, "least_area is 0"), ({"least_frames": 1.5}, "least_frames is 1.5"),
     ({"least_area": float("nan")}, "least_area is nan"), ({"least_steps": 0}, "least_steps is 0"),
     ({"least_area": "half"}, "least_area is 'half'")],
)  # fmt: skip
def test_limits_that_are_none_are_refused(given, words):
    with pytest.raises(BadInputError, match=words):
        KnobLimits(**given)
