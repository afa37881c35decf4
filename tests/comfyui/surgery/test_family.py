"""Families are told by classes and names, and sizes are snapped to what each can make."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.surgery import FAMILIES, family_of, snap_frames, snap_size
from holdfast.errors import BadInputError
from tests.comfyui.surgery.graphs import (
    animated,
    flux,
    ltx,
    sd15,
    sdxl_refined,
    templates,
    wan,
)


@pytest.mark.parametrize(
    ("workflow", "name"),
    [
        (sd15(), "sd15"),
        (sd15().with_inputs({"ckpt_name": "sdxl\\pony.safetensors"}), "sdxl"),
        (sd15().with_inputs({"ckpt_name": "mine.safetensors"}), "sd15"),
        (sd15(1, 1024, 1024).with_inputs({"ckpt_name": "mine.safetensors"}), "sdxl"),
        (sdxl_refined(), "sdxl"),
        (flux(), "dit"),
        (wan(), "wan"),
        (ltx(), "ltxv"),
        (animated(), "animatediff"),
        (
            wan().with_inputs({"unet_name": "hunyuan_video.safetensors", "clip_name": "llava.sft",
                "type": "hunyuan_video", "vae_name": "hy.safetensors"}),
            "hunyuan_video",
        ),
    ],
)  # fmt: skip
def test_a_family_is_told(workflow, name):
    assert family_of(workflow).name == name


def test_the_encoder_of_an_sd3_model_does_not_make_it_sdxl():
    assert family_of(ltx().with_inputs({"ckpt_name": "sd3.5.safetensors"})).name == "ltxv"
    names = {"unet_name": "mine.safetensors", "vae_name": "mine.safetensors", "type": "sd3"}
    assert family_of(flux().with_inputs(names)).name == "dit"


def test_the_official_templates_are_told():
    told = {each.name: family_of(each).name for each in templates()}
    assert told["text_to_video_wan"] == "wan"
    assert told["video_wan2_2_5B_ti2v"] == "wan22_5b"
    assert told["image_qwen_image"] == "dit", "a still, though its VAE is one for video"
    assert told["hunyuan_video_text_to_video"] == "hunyuan_video"
    assert told["image_to_video"] == "svd"
    assert told["sdxl_refiner_prompt_example"] == "sdxl"
    assert told["mochi_text_to_video_example"] == "mochi"


@pytest.mark.parametrize(
    ("name", "frames", "snapped"),
    [("ltxv", 100, 97), ("ltxv", 101, 97), ("ltxv", 102, 105), ("wan", 80, 81), ("wan", 3, 17),
     ("mochi", 25, 25), ("svd", 20, 20), ("svd", 2, 14), ("sdxl", 4, 4)],
)  # fmt: skip
def test_frames_are_snapped(name, frames, snapped):
    assert snap_frames(frames, FAMILIES[name]) == snapped


@pytest.mark.parametrize(
    ("name", "size", "snapped"),
    [("sdxl", (1000, 1000), (1024, 1024)), ("sdxl", (64, 64), (768, 768)),
     ("wan", (850, 470), (848, 464)),
     ("dit", (1024, 768), (1024, 768)), ("sd15", (500, 500), (512, 512))],
)  # fmt: skip
def test_sizes_are_snapped(name, size, snapped):
    assert snap_size(*size, FAMILIES[name]) == snapped


@given(
    st.sampled_from(sorted(FAMILIES)),
    st.floats(1, 16_384),
    st.floats(1, 16_384),
    st.booleans(),
)
def test_a_snapped_size_is_on_the_grid_above_the_floor_and_stays(name, width, height, up):
    family = FAMILIES[name]
    snapped = snap_size(width, height, family, up=up)
    assert all(side % family.grid == 0 and 0 < side <= 16_384 for side in snapped)
    if max(snapped) < 16_384 // family.grid * family.grid:
        assert math.prod(snapped) >= family.least_area
        assert min(snapped) >= family.least_side
        assert not up or (snapped[0] >= width - 1e-6 and snapped[1] >= height - 1e-6)
    assert snap_size(*snapped, family) == snapped


@given(st.sampled_from(sorted(FAMILIES)), st.floats(1, 16_000), st.booleans())
def test_a_snapped_length_can_be_made_and_stays(name, frames, up):
    family = FAMILIES[name]
    snapped = snap_frames(frames, family, up=up)
    if family.makes_video:
        assert (snapped - 1) % family.stride == 0
        assert snapped >= family.least_frames
    assert not up or snapped >= frames - 1e-6
    assert snap_frames(snapped, family) == snapped


@pytest.mark.parametrize("wrong", [0, -1, 16_385, float("nan"), float("inf"), True, "64", None])
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(BadInputError, match=r"width is .*; it must be a number from 1 to 16384"):
        snap_size(wrong, 64, FAMILIES["wan"])
    with pytest.raises(BadInputError, match=r"height is "):
        snap_size(64, wrong, FAMILIES["wan"])
    with pytest.raises(BadInputError, match=r"frames is "):
        snap_frames(wrong, FAMILIES["wan"])
