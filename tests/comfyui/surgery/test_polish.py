"""What a workflow can go without is left out; what makes the picture what it is stays."""

from __future__ import annotations

import pytest

from holdfast.comfyui.surgery import (
    Polish,
    bypass_optional,
    drop_control,
    drop_lora,
    drop_polish,
    drop_previews,
    drop_second_pass,
    polish_of,
)
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import (
    animated,
    catalog,
    hires,
    of,
    sd15,
    sdxl_refined,
    upscaled,
    wan,
)


@pytest.mark.parametrize(
    ("kind", "polish"),
    [
        ("ImageUpscaleWithModel", Polish.UPSCALE),
        ("UltimateSDUpscaleNoUpscale", Polish.UPSCALE),
        ("LatentUpscaleBy", Polish.UPSCALE),
        ("RIFE VFI", Polish.INTERPOLATE),
        ("FaceDetailer", Polish.DETAIL),
        ("SeedVR2", Polish.RESTORE),
        ("TorchCompileModelFluxAdv", Polish.COMPILE),
        ("EasyCache", Polish.CACHE),
        ("KSampler", None),
        ("UpscaleModelLoader", None),
        ("LatentUpscaleModelLoader", None),
        ("x" * 10_000, None),
    ],
)
def test_polish_is_told_by_its_class(kind, polish):
    assert polish_of(kind) is polish


def test_polish_goes_and_with_it_what_only_it_needed():
    edit = drop_polish(upscaled(), catalog())
    assert edit.change.nodes == ("up", "face")
    assert not edit.workflow.graph.keys() & {"up", "face", "model"}
    assert edit.workflow.graph["save"]["inputs"]["images"] == ["dec", 0]
    assert not edit.change.keeps_result
    assert drop_polish(edit.workflow, catalog()) is None


def test_only_some_kinds_or_only_what_a_node_needs():
    assert drop_polish(upscaled(), catalog(), [Polish.DETAIL]).change.nodes == ("face",)
    assert drop_polish(upscaled(), catalog(), before="up").change.nodes == ("up",)
    assert drop_polish(upscaled(), catalog(), before="ks") is None


def test_a_clip_without_interpolated_frames_is_shown_more_slowly():
    edit = drop_polish(animated(), catalog())
    assert edit.workflow.graph["save"]["inputs"] == {"images": ["dec", 0], "frame_rate": 8.0}


def test_a_second_pass_goes_with_what_enlarged_the_picture():
    edit = drop_second_pass(hires(), catalog())
    assert edit.workflow.graph["dec"]["inputs"]["samples"] == ["ks", 0]
    assert not edit.workflow.graph.keys() & {"up", "ks2"}
    assert edit.change.words == "the second pass was left out: node ks2 (KSampler)"
    edit = drop_second_pass(hires(2, "image"), catalog())
    assert edit.workflow.graph.keys() == sd15().graph.keys()


def test_samplers_that_share_the_steps_of_a_picture_are_not_two_passes():
    assert drop_second_pass(sdxl_refined(), catalog()) is None
    assert drop_second_pass(wan(), catalog()) is None
    assert drop_second_pass(hires(), catalog(), before="ks") is None


def test_previews_go_if_something_else_is_saved():
    edit = drop_previews(upscaled(), catalog())
    assert "peek" not in edit.workflow.graph
    assert "img" in edit.workflow.graph
    graph = sd15().to_api()
    graph["save"] = node("PreviewImage", images=["dec", 0])
    assert drop_previews(of(graph), catalog()) is None


def test_a_lora_goes_only_where_many_steps_are_sampled_and_it_does_not_speed_them_up():
    edit = drop_lora(upscaled(), catalog())
    assert edit.workflow.graph["ks"]["inputs"]["model"] == ["ckpt", 0]
    assert drop_lora(upscaled().with_inputs({"ks.steps": 8}), catalog()) is None
    assert drop_lora(upscaled().with_inputs({"lora_name": "lcm.safetensors"}), catalog()) is None


def test_a_control_net_goes_and_the_prompts_stay_what_they_were():
    edit = drop_control(upscaled(), catalog())
    assert edit.workflow.graph["ks"]["inputs"]["negative"] == ["neg", 0]
    assert drop_control(sd15(), catalog()) is None


def test_a_node_that_failed_is_left_out_only_if_the_workflow_can_go_without_it():
    assert bypass_optional(upscaled(), catalog(), "up").change.nodes == ("up",)
    assert bypass_optional(upscaled(), catalog(), "model").change.nodes == ("up",)
    assert bypass_optional(upscaled(), catalog(), "peek").change.nodes == ("peek",)
    for name in ("ks", "dec", "lora", "ctl", "ckpt", "save", "no such node"):
        assert bypass_optional(upscaled(), catalog(), name) is None
