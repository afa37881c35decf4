"""Clips from words and pictures on embedded servers."""

from __future__ import annotations

import pytest
from PIL import Image

from holdfast.comfyui import FailureKind, WorkflowRejectedError
from holdfast.comfyui.engines import VideoEngine
from holdfast.errors import BadInputError
from tests.comfyui.engines.fleet import FAST, server

SMALL = {"width": 256, "height": 256, "steps": 2}
PICTURE = Image.new("RGB", (320, 256), "teal")


def engine(*standins, **settings):
    return VideoEngine(*(each.url for each in standins), **(FAST | settings))


BOTH = ["wan2.2-14b", "wan2.2-14b-fast", "wan2.2-5b", "wan2.1-14b", "ltxv"]


@pytest.mark.parametrize("family", [*BOTH, "wan2.1-1.3b", "hunyuan-video"])
async def test_every_family_delivers_a_clip(family, tmp_path):
    with server() as one:
        async with engine(one, family=family, output_dir=tmp_path) as clips:
            made = await clips.generate("a lighthouse", frames=17, seed=3, strict=True, **SMALL)
    assert (made.recipe, made.rung, made.degradations) == (family, "quality", ())
    assert made.file.media_type == "video/mp4"
    assert made.file.path.read_bytes()[4:8] == b"ftyp"
    assert made.frames == 17
    assert made.length == 17 / made.fps


@pytest.mark.parametrize("family", BOTH)
async def test_a_clip_may_begin_with_a_picture(family):
    with server() as one:
        async with engine(one, family=family) as clips:
            made = await clips.generate("a", frames=9, image=PICTURE, strict=True, **SMALL)
            other = await clips.generate("a", frames=9, seed=made.seed, strict=True, **SMALL)
    classes = {each["class_type"] for each in made.workflow.graph.values()}
    assert "LoadImage" in classes
    assert "LoadImage" not in {each["class_type"] for each in other.workflow.graph.values()}


@pytest.mark.parametrize("family", ["hunyuan-video", "wan2.1-1.3b"])
async def test_a_family_that_begins_with_no_picture_says_so(family):
    with server(family) as one:
        async with engine(one, family=family) as clips:
            with pytest.raises(WorkflowRejectedError, match="no way to start from a picture"):
                await clips.generate("a", image=PICTURE, strict=True)


async def test_a_length_off_the_grid_is_told():
    with server("ltxv") as one:
        async with engine(one) as clips:
            made = await clips.generate("a", frames=20, **SMALL)
            with pytest.raises(BadInputError, match="20 became 17"):
                await clips.generate("a", frames=20, strict=True, **SMALL)
    assert made.frames == 17
    assert made.degradations == ("frames: 20 became 17, because ltxv makes 8n+1 frames from 9",)


async def test_seconds_and_fps_make_frames():
    with server("wan2.1-1.3b") as one:
        async with engine(one) as clips:
            made = await clips.generate("a", seconds=1, fps=8, **SMALL)
    assert (made.frames, made.fps) == (9, 8.0)
    assert any("another speed" in each for each in made.notes)


async def test_a_clip_falls_down_its_ladder():
    broken = frozenset({"wan2.2_ti2v_5B_fp16.safetensors"})
    with server("wan2.2-5b", "wan2.1-1.3b", corrupt_models=broken) as one:
        async with engine(one, family="wan2.2") as clips:
            made = await clips.generate("a", frames=41, **SMALL)
    assert (made.recipe, made.rung, made.frames) == ("wan2.1-1.3b", "basic", 33)
    assert made.degradations[0].startswith("quality (wan2.2): ")
    assert any("41 became 33" in each for each in made.degradations)
    kinds = {each.failure.kind for each in made.attempts if each.failure}
    assert kinds == {FailureKind.NODE_ERROR}


async def test_the_best_family_there_is_is_taken():
    with server("ltxv", "wan2.1-1.3b") as one:
        async with engine(one) as clips:
            made = await clips.generate("a", frames=9, **SMALL)
            begun = await clips.generate("a", frames=9, image=PICTURE, **SMALL)
    assert made.recipe == "wan2.1-1.3b"
    assert begun.recipe == "ltxv"  # the other one cannot begin with a picture


async def test_many_clips_at_once():
    with server("ltxv") as one, server("ltxv") as two:
        async with engine(one, two) as clips:
            made = await clips.generate_many(["a", "b"], frames=9, **SMALL)
    assert [each.frames for each in made] == [9, 9]
