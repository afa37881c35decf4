"""What ComfyUI says on its socket, read from frames as a real server sends them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import messages
from holdfast.comfyui.messages import parse_binary, parse_text

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

RUN = "fd3a8c5b-6c1e-4f0e-9a0c-1d6f0a1f7f11"
KINDS = [
    "status",
    "execution_start",
    "execution_cached",
    "executing",
    "executed",
    "progress",
    "progress_state",
    "execution_success",
    "execution_error",
    "execution_interrupted",
    "feature_flags",
]
FIELDS = ["prompt_id", "node", "nodes", "value", "max", "status", "sid", "output", "traceback"]

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def said(kind: str, **data: Any) -> messages.Message:
    """What a text frame of this kind is read as."""
    return parse_text(json.dumps({"type": kind, "data": data}))


def framed(event: int, *parts: bytes) -> bytes:
    """A binary frame."""
    return struct.pack(">I", event) + b"".join(parts)


def counted(text: bytes) -> bytes:
    """A length and what it counts."""
    return struct.pack(">I", len(text)) + text


# Text -----------------------------------------------------------------------------------


def test_the_first_status_of_a_socket_carries_its_id():
    message = said("status", status={"exec_info": {"queue_remaining": 2}}, sid="abc")
    assert message == messages.QueueStatus(2, "abc")


def test_later_status_messages_only_count_the_queue():
    message = said("status", status={"exec_info": {"queue_remaining": 0}})
    assert message == messages.QueueStatus(0, None)


@pytest.mark.parametrize("status", [None, [], {}, {"exec_info": 3}, {"exec_info": {}}])
def test_a_status_without_a_count_is_still_a_status(status):
    assert said("status", status=status) == messages.QueueStatus(None)


def test_a_run_begins():
    message = said("execution_start", prompt_id=RUN, timestamp=1730000000000)
    assert message == messages.Started(RUN)


def test_cached_nodes_are_listed():
    message = said("execution_cached", nodes=["1", "7"], prompt_id=RUN, timestamp=1)
    assert message == messages.Cached(RUN, ("1", "7"))
    assert said("execution_cached", nodes=None, prompt_id=RUN) == messages.Cached(RUN, ())


def test_a_node_begins():
    message = said("executing", node="4", display_node="4", prompt_id=RUN)
    assert message == messages.Executing("4", RUN)


def test_on_reconnection_the_running_node_comes_without_the_runs_id():
    assert said("executing", node="4") == messages.Executing("4", None)


def test_executing_nothing_is_the_end_of_a_run():
    assert said("executing", node=None, prompt_id=RUN) == messages.Finished(RUN)


@pytest.mark.parametrize("output", [{"images": [{"filename": "a.png"}]}, None])
def test_a_node_has_something_to_show(output):
    message = said("executed", node="9", display_node="9", output=output, prompt_id=RUN)
    assert message == messages.Executed(RUN, "9")


def test_a_node_gets_on():
    message = said("progress", value=3, max=20, prompt_id=RUN, node="5")
    assert message == messages.Stepped(RUN, "5", 3.0, 20.0)


def test_progress_state_says_only_that_something_changed():
    state = {"value": 1.0, "max": 1.0, "state": "finished", "node_id": "1", "prompt_id": RUN}
    assert said("progress_state", prompt_id=RUN, nodes={"1": state}) == messages.Progressed(RUN)


def test_a_run_succeeds():
    assert said("execution_success", prompt_id=RUN, timestamp=1) == messages.Succeeded(RUN)


def test_a_node_fails_with_everything_known_of_it():
    message = said(
        "execution_error",
        prompt_id=RUN,
        node_id="5",
        node_type="KSampler",
        executed=["1", "2"],
        exception_message="Allocation on device \n\nTIPS: If you have any",
        exception_type="torch.OutOfMemoryError",
        traceback=['  File "execution.py", line 1, in execute\n', "    raise\n"],
        current_inputs={"seed": ["1"]},
        current_outputs=["1", "2"],
        timestamp=1,
    )
    assert isinstance(message, messages.Failed)
    assert message.prompt_id == RUN
    assert (message.fault.node_id, message.fault.node_type) == ("5", "KSampler")
    assert message.fault.exception_type == "torch.OutOfMemoryError"
    assert message.fault.message.startswith("Allocation on device")
    assert "execution.py" in message.fault.traceback
    assert message.fault.out_of_memory


def test_a_blocked_node_is_told_apart_from_a_failed_one():
    message = said(
        "execution_error",
        prompt_id=RUN,
        node_id="6",
        node_type="PreviewImage",
        executed=[],
        exception_message="Execution Blocked: nothing to do",
        exception_type="ExecutionBlocked",
        traceback=[],
        current_inputs=[],
        current_outputs=[],
    )
    assert isinstance(message, messages.Failed)
    assert message.fault.blocked


def test_an_error_of_twelve_megabytes_is_kept_short():
    message = said(
        "execution_error",
        prompt_id=RUN,
        exception_message="x" * 12_000_000,
        traceback=["y" * 10**6],
    )
    assert isinstance(message, messages.Failed)
    assert len(message.fault.message) < 2_100
    assert len(message.fault.traceback) < 4_100


def test_a_run_is_interrupted():
    message = said(
        "execution_interrupted", prompt_id=RUN, node_id="5", node_type="KSampler", executed=[]
    )
    assert isinstance(message, messages.Stopped)
    assert message.fault.node_id == "5"


def test_kinds_nobody_needs_are_harmless():
    assert said("feature_flags", max_upload_size=104857600) == messages.Other("feature_flags")
    assert said("crystools.monitor", cpu=3) == messages.Other("crystools.monitor")
    assert said("logs", prompt_id=RUN) == messages.Other("logs")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("status", "executing")])
def test_events_of_no_run_are_not_mistaken_for_ours(kind):
    message = said(kind)
    assert getattr(message, "prompt_id", None) is None


@pytest.mark.parametrize(
    "raw", ["", "{", "null", "[]", "7", '"status"', "{}", '{"type": 5}', "nonsense", "\x00"]
)
def test_what_is_no_message_is_unreadable(raw):
    assert isinstance(parse_text(raw), messages.Unreadable)


@pytest.mark.parametrize("data", ["null", "[]", "3", '"x"'])
def test_data_of_the_wrong_kind_is_no_data(data):
    assert parse_text(f'{{"type": "status", "data": {data}}}') == messages.QueueStatus(None)


@pytest.mark.parametrize("depth", [*range(900, 1_000, 3), 5_000, 100_000])
def test_deep_nesting_raises_nothing(depth):
    deep = "[" * depth + "]" * depth
    parse_text(deep)
    parse_text(f'{{"type": "execution_cached", "data": {{"prompt_id": "x", "nodes": [{deep}]}}}}')


@pytest.mark.parametrize("digits", [400, 4_000, 5_000])
@pytest.mark.parametrize("field", ["value", "max"])
def test_absurdly_large_numbers_raise_nothing(digits, field):
    number = "9" * digits
    parse_text(f'{{"type": "progress", "data": {{"node": "1", "{field}": {number}}}}}')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "true"])
def test_numbers_that_are_none_raise_nothing(number):
    raw = f'{{"type": "progress", "data": {{"node": "1", "value": {number}, "max": {number}}}}}'
    assert isinstance(parse_text(raw), messages.Stepped)


@relaxed
@given(st.text())
def test_any_text_is_read_without_raising(raw):
    parse_text(raw)


@relaxed
@given(any_json)
def test_any_json_is_read_without_raising(value):
    parse_text(json.dumps(value))


@relaxed
@given(st.sampled_from(KINDS), any_json | st.dictionaries(st.sampled_from(FIELDS), any_json))
def test_any_data_of_any_kind_is_read_without_raising(kind, data):
    parse_text(json.dumps({"type": kind, "data": data}))


# Binary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "image_type"), [(1, "image/jpeg"), (2, "image/png")])
def test_a_plain_preview_carries_an_image_and_no_run(number, image_type):
    message = parse_binary(framed(1, struct.pack(">I", number), b"\xff\xd8\xff"))
    assert message == messages.Preview(b"\xff\xd8\xff", image_type)


def test_a_preview_of_an_unknown_image_type_is_still_a_preview():
    message = parse_binary(framed(1, struct.pack(">I", 77), b"?"))
    assert message == messages.Preview(b"?", "application/octet-stream")


def test_a_text_frame_names_its_node():
    message = parse_binary(framed(3, counted(b"12"), "50 % ü".encode()))
    assert message == messages.NodeText("12", "50 % ü")


def test_a_preview_with_metadata_names_run_and_node():
    about = {
        "node_id": "5",
        "prompt_id": RUN,
        "display_node_id": "5",
        "parent_node_id": None,
        "real_node_id": "5",
        "image_type": "image/png",
    }
    message = parse_binary(framed(4, counted(json.dumps(about).encode()), b"\x89PNG"))
    assert message == messages.Preview(b"\x89PNG", "image/png", RUN, "5")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x00\x00\x01",
        b"\x00\x00\x00\x01\x00\x00\x00",
        framed(3, struct.pack(">I", 50), b"short"),
        framed(4, struct.pack(">I", 0xFFFFFFFF), b"{}"),
        framed(4, counted(b"not json"), b"img"),
        framed(4, counted(b"[1]"), b"img"),
        framed(4, counted(b"\xff\xfe\xfa"), b"img"),
        framed(4, counted(b"[" * 20_000), b"img"),
    ],
)
def test_broken_frames_are_unreadable(raw):
    assert isinstance(parse_binary(raw), messages.Unreadable)


@pytest.mark.parametrize("event", [0, 2, 5, 0xFFFFFFFF])
def test_events_nobody_knows_are_harmless(event):
    assert isinstance(parse_binary(framed(event, b"\x00" * 8)), messages.Other)


def test_text_that_is_no_text_is_read_as_far_as_possible():
    message = parse_binary(framed(3, counted(b"\xff"), b"a\xff"))
    assert isinstance(message, messages.NodeText)
    assert message.text.startswith("a")


@relaxed
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_raising(raw):
    parse_binary(raw)


@relaxed
@given(st.sampled_from([1, 3, 4]), st.integers(0, 40), st.binary(max_size=60))
def test_any_frame_of_a_known_event_is_read_without_raising(event, length, rest):
    parse_binary(framed(event, struct.pack(">I", length), rest))


@relaxed
@given(any_json, st.binary(max_size=20))
def test_any_metadata_is_read_without_raising(about, image):
    parse_binary(framed(4, counted(json.dumps(about).encode()), image))
