"""Files: their names, their places, what is in them, and what clients are told."""

from __future__ import annotations

import json
import struct
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from holdfast.comfyui.standin.mp4 import mux_jpegs
from holdfast.comfyui.standin.node import NodeError
from holdfast.comfyui.standin.nodes.naming import save_place
from holdfast.comfyui.standin.nodes.saving import SOFTWARE
from tests.comfyui.standin.fake_context import FakeServer

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl"}
ANIMATION = {"filename_prefix": "clip", "fps": 10.0}


@pytest.fixture
def server(tmp_path):
    return FakeServer(
        tmp_path,
        prompt={"5": {"class_type": "EmptyLatentImage", "inputs": {"seed": 42, "n": ["4", 0]}}},
        extra_pnginfo={"workflow": {"nodes": [1, 2]}, "note": "né"},
    )


def pictures(count=1, width=16, height=8):
    shades = np.linspace(0, 1, count * height * width * 3, dtype=np.float32)
    return shades.reshape(count, height, width, 3)


def names(shown):
    return [entry["filename"] for entry in shown["images"]]


def boxes(data, start=0, end=None):
    """Yield (type, content start, content end), descending into plain containers."""
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        assert 8 <= size <= end - start
        yield kind, start + 8, start + size
        if kind in CONTAINERS:
            yield from boxes(data, start + 8, start + size)
        start += size
    assert start == end


# Names -----------------------------------------------------------------------


def test_counters_go_on_from_the_highest_file_of_that_prefix(server):
    for name in ("ComfyUI_00007_.png", "ComfyUI_nonsense_.png", "ComfyUIx_00099_.png"):
        (server.folders.output / name).touch()
    shown = server.show("SaveImage", images=pictures(2), filename_prefix="ComfyUI")
    assert names(shown) == ["ComfyUI_00008_.png", "ComfyUI_00009_.png"]
    assert shown == {
        "images": [{"filename": n, "subfolder": "", "type": "output"} for n in names(shown)]
    }


def test_counters_know_all_endings(server):
    server.show("SaveImage", images=pictures(), filename_prefix="clip")
    shown = server.show("SaveAnimatedPNG", images=pictures(2), compress_level=4, **ANIMATION)
    assert names(shown) == ["clip_00002_.png"]


def test_a_prefix_may_name_subfolders(server):
    [entry] = server.show("SaveImage", images=pictures(), filename_prefix="a/b/pic")["images"]
    assert entry == {"filename": "pic_00001_.png", "subfolder": "a/b", "type": "output"}
    assert (server.folders.output / "a/b/pic_00001_.png").is_file()


@pytest.mark.parametrize("prefix", ["../out", "a/../../out", "/etc/out"])
def test_a_prefix_may_not_leave_the_output_folder(server, prefix):
    with pytest.raises(NodeError) as failed:
        server.show("SaveImage", images=pictures(), filename_prefix=prefix)
    assert failed.value.exception_type == "Exception"
    assert failed.value.message.startswith(
        "**** ERROR: Saving image outside the output folder is not allowed."
    )
    assert server.saved == []


def test_tokens_in_a_prefix_are_filled_in(server):
    prefix = "%width%x%height%_%EmptyLatentImage.seed%_%year%_%date:yyyy-MM-dd%_%what%"
    [name] = names(server.show("SaveImage", images=pictures(), filename_prefix=prefix))
    year = datetime.now().astimezone().year
    assert name.startswith(f"16x8_42_{year}_{year}-")
    assert name.endswith("_%what%_00001_.png")


def test_a_token_for_the_place_in_the_batch_is_filled_in(server):
    shown = server.show("SaveImage", images=pictures(2), filename_prefix="b%batch_num%")
    assert names(shown) == ["b0_00001_.png", "b1_00002_.png"]


@given(st.from_regex(r"[A-Za-z0-9 ._-]{1,20}", fullmatch=True), st.integers(1, 200))
def test_the_next_name_is_never_taken(tmp_path_factory, name, taken):
    root = tmp_path_factory.mktemp("out")
    if name.strip(".") == "":
        return
    (root / f"{name}_{taken:05}_.png").touch()
    place = save_place(root, name, width=1, height=1, prompt={})
    assert place.counter == taken + 1
    assert not (root / place.file(0, ".png")).exists()


# Pictures --------------------------------------------------------------------


def test_a_png_keeps_the_workflow_and_says_a_stand_in_made_it(server):
    [name] = names(server.show("SaveImage", images=pictures(), filename_prefix="p"))
    with Image.open(server.folders.output / name) as image:
        assert image.size == (16, 8)
        assert json.loads(image.text["prompt"]) == server.prompt
        assert json.loads(image.text["workflow"]) == {"nodes": [1, 2]}
        assert json.loads(image.text["note"]) == "né"
        assert image.text["Software"] == SOFTWARE
        assert np.array_equal(np.asarray(image), (pictures()[0] * 255).astype(np.uint8))


def test_faults_can_strike_just_before_and_just_after_each_file(server):
    server.show("SaveImage", images=pictures(2), filename_prefix="p")
    first, second = (server.folders.output / f"p_0000{n}_.png" for n in (1, 2))
    assert server.saved == [
        ("before", first, False),
        ("after", first, True),
        ("before", second, False),
        ("after", second, True),
    ]


def test_a_full_disk_is_an_os_error(server):
    def full(_path):
        raise OSError(28, "No space left on device")

    server.context.before_save = full
    with pytest.raises(OSError, match=r"\[Errno 28\] No space left on device"):
        server.show("SaveImage", images=pictures(), filename_prefix="p")


def test_previews_go_to_the_temporary_folder_under_this_servers_prefix(server):
    [entry] = server.show("PreviewImage", images=pictures())["images"]
    assert entry == {
        "filename": "ComfyUI_temp_aaaaa_00001_.png",
        "subfolder": "",
        "type": "temp",
    }
    assert (server.folders.temp / entry["filename"]).is_file()
    assert list(server.folders.output.iterdir()) == []


# Animations and videos -------------------------------------------------------


def test_an_animated_webp_plays_and_says_a_stand_in_made_it(server):
    settings = {"lossless": True, "quality": 80, "method": "fastest"}
    shown = server.show("SaveAnimatedWEBP", images=pictures(3), **settings, **ANIMATION)
    assert shown["animated"] == [True]
    with Image.open(server.folders.output / names(shown)[0]) as image:
        assert image.n_frames == 3
        exif = image.getexif()
    assert exif[0x0131] == SOFTWARE
    assert json.loads(exif[0x0110].removeprefix("prompt:")) == server.prompt
    assert exif[0x010F].startswith("workflow:")


def test_a_webp_of_one_picture_is_not_called_animated(server):
    settings = {"lossless": False, "quality": 80, "method": "default"}
    shown = server.show("SaveAnimatedWEBP", images=pictures(), **settings, **ANIMATION)
    assert shown["animated"] == [False]


def test_an_animated_png_plays_and_says_a_stand_in_made_it(server):
    shown = server.show("SaveAnimatedPNG", images=pictures(3), compress_level=1, **ANIMATION)
    assert shown["animated"] == [True]
    path = server.folders.output / names(shown)[0]
    assert b"comfprompt\0" in path.read_bytes()
    with Image.open(path) as image:
        assert image.n_frames == 3
        assert image.text["Software"] == SOFTWARE


def test_a_video_is_an_mp4_with_every_frame_in_it(server):
    video = server.run("CreateVideo", images=pictures(5), fps=12.5, audio=None)
    shown = server.show(
        "SaveVideo", video=video, filename_prefix="video/ComfyUI", format="auto", codec="auto"
    )
    assert shown["animated"] == [True]
    [entry] = shown["images"]
    assert entry == {"filename": "ComfyUI_00001_.mp4", "subfolder": "video", "type": "output"}
    data = (server.folders.output / "video" / entry["filename"]).read_bytes()
    assert data[4:12] == b"ftypisom"
    assert SOFTWARE.encode() in data
    assert json.dumps(server.prompt).encode() in data


@given(
    st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20),
    st.floats(0.01, 120),
    st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3),
)
def test_mp4_boxes_fill_the_file_exactly_and_lead_to_every_sample(frames, fps, text):
    data = mux_jpegs(frames, width=64, height=48, fps=fps, text=text)
    found = {kind: data[start:end] for kind, start, end in boxes(data)}
    assert list(found)[:2] == [b"ftyp", b"moov"]
    (offset,) = struct.unpack(">I", found[b"stco"][8:])
    sizes = struct.unpack(f">{len(frames)}I", found[b"stsz"][12:])
    for frame, size in zip(frames, sizes, strict=True):
        assert data[offset : offset + size] == frame
        offset += size
    assert offset == len(data)
    scale, length = struct.unpack_from(">II", found[b"mdhd"], 12)
    assert length / scale == pytest.approx(len(frames) / fps, rel=0.06)
    assert struct.unpack(">II", found[b"tkhd"][-8:]) == (64 << 16, 48 << 16)


def test_fixed_mp4_boxes_have_the_lengths_of_the_standard():
    data = mux_jpegs([b"x"], width=64, height=48, fps=24, text={})
    lengths = {kind: end - start + 8 for kind, start, end in boxes(data)}
    expected = {b"mvhd": 108, b"tkhd": 92, b"mdhd": 32, b"hdlr": 33, b"vmhd": 20, b"stts": 24}
    assert {kind: lengths[kind] for kind in expected} == expected
    stsd = next(start for kind, start, _ in boxes(data) if kind == b"stsd")
    # An mp4v entry is 86 bytes long, then come its own boxes.
    assert data[stsd + 8 + 86 + 4 :][:4] == b"esds"


def test_a_video_without_frames_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        mux_jpegs([], width=8, height=8, fps=24)
