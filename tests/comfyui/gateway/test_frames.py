"""Raw frames are read and rewritten; nonsense harms nobody."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.frames import Event, Nonsense, Preview, described_preview
from tests.comfyui.gateway.sockets import JPEG, SEEN, frames_of

TREES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
HEADED = st.builds(
    lambda number, length, rest: number.to_bytes(4, "big") + length.to_bytes(4, "big") + rest,
    st.integers(0, 6),
    st.integers(0, 40),
    st.binary(max_size=60),
)
RAW = st.one_of(
    st.text(),
    st.binary(),
    HEADED,
    TREES.map(json.dumps),
    st.builds(lambda kind, data: json.dumps({"type": kind, "data": data}), st.text(), TREES),
)


@given(RAW)
def test_nothing_raises_and_what_needs_no_change_comes_back_as_it_was(raw):
    frame = frames.parse(raw)
    again = frames.rewrite(raw, prompt_id="p", sid="s")
    assert type(again) is type(raw)
    if isinstance(frame, Nonsense):
        assert again is raw
    assert frames.rewrite(again, prompt_id="p", sid="s") == again
    if isinstance(frame, Preview):
        plain = frames.parse(frame.plain())
        assert isinstance(plain, Preview)
        assert (plain.image, plain.described) == (frame.image, False)


def test_every_recorded_frame_is_understood_and_renamed_throughout():
    for name in SEEN:
        for raw in frames_of(name):
            assert not isinstance(frames.parse(raw), Nonsense)
            said = frames.rewrite(raw, prompt_id="NEW")
            old = frames.parse(raw)
            if getattr(old, "prompt_id", None):
                text = said if isinstance(said, str) else said.decode("latin-1")
                assert old.prompt_id not in text
                assert "NEW" in text


def test_a_frame_that_names_no_prompt_is_given_none():
    raw = frames.event("executing", {"node": "3"})
    assert frames.rewrite(raw, prompt_id="p") is raw


def test_a_sid_is_replaced():
    raw = frames.event("status", {"status": {}, "sid": "old"})
    said = frames.parse(frames.rewrite(raw, sid="new"))
    assert isinstance(said, Event)
    assert said.data["sid"] == "new"


def test_a_described_preview_becomes_a_plain_one():
    raw = described_preview(JPEG, {"node_id": "3", "prompt_id": "p", "image_type": "image/png"})
    frame = frames.parse(raw)
    assert isinstance(frame, Preview)
    assert frame.plain() == b"\0\0\0\1\0\0\0\2" + JPEG


def test_deep_large_and_odd_frames_are_nonsense():
    for raw in ("[" * 100_000, "9" * 10_000, "\ud800", " " * (frames.TEXT_BYTES + 1), b"", None):
        assert isinstance(frames.parse(raw), Nonsense)
    assert isinstance(frames.parse(bytes(frames.BINARY_BYTES + 1)), Nonsense)
    assert isinstance(frames.parse(b"\0\0\0\4\0\0\xff\xff{}"), Nonsense)
