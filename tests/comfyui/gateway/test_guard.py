"""Bodies and queries: what a ComfyUI server answers 500 to, or dies of, is refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.comfyui.gateway import guard
from holdfast.comfyui.gateway.guard import Refusal, judge_prompt

GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}


def sent(**more):
    return json.dumps({"prompt": GRAPH, **more}).encode()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        # Answered 500 by ComfyUI 0.3.64.
        (b"", "invalid_json"),
        (b'{"prompt": {', "invalid_json"),
        (b'{"prompt": "\xff\xfe"}', "invalid_json"),
        (b"null", "invalid_body"),
        (b"5", "invalid_body"),
        (b'{"prompt": null}', "invalid_prompt"),
        (b'{"prompt": "hello"}', "invalid_prompt"),
        (b'{"prompt": 7}', "invalid_prompt"),
        (b'{"prompt": {"1": null}}', "invalid_prompt"),
        (b'{"prompt": {"1": {"class_type": ["a"]}}}', "invalid_prompt"),
        (sent(number="abc"), "invalid_number"),
        (sent(number=None), "invalid_number"),
        (sent(number=[1]), "invalid_number"),
        (sent(number="nan"), "invalid_number"),
        (sent(extra_data=None, client_id="me"), "invalid_extra_data"),
        (sent(partial_execution_targets=5), "invalid_body"),
        (sent(partial_execution_targets=[["1"]]), "invalid_body"),
        # Taken by it, and then its worker or the whole process is gone.
        (sent(extra_data=None), "invalid_extra_data"),
        (sent(extra_data=[]), "invalid_extra_data"),
        (sent(extra_data="x"), "invalid_extra_data"),
        (sent(client_id=["a"]), "invalid_client_id"),
        (sent(client_id={"a": 1}), "invalid_client_id"),
        (sent(extra_data={"client_id": ["a"]}), "invalid_client_id"),
        # Taken by newer ones, which then list no jobs any more.
        (sent(extra_data={"extra_pnginfo": []}), "invalid_extra_data"),
        (sent(extra_data={"extra_pnginfo": {"workflow": 5}}), "invalid_extra_data"),
        # Answered with what is no JSON.
        (b'{"prompt": {}, "number": NaN}', "invalid_json"),
        (b'{"prompt": {}, "number": Infinity}', "invalid_json"),
        (b'{"prompt": {}, "number": 1e999}', "invalid_json"),
        # Ids that no later request can name.
        (sent(prompt_id={"a": 1}), "invalid_prompt_id"),
        (sent(prompt_id="x" * 201), "invalid_prompt_id"),
        (sent(prompt_id="a\n"), "invalid_prompt_id"),
        (sent(prompt_id="a/b"), "invalid_prompt_id"),
        (sent(prompt_id="%41"), "invalid_prompt_id"),
        (sent(prompt_id=".."), "invalid_prompt_id"),
        (sent(prompt_id="a\\b"), "invalid_prompt_id"),
        (sent(prompt_id="a\u202eb"), "invalid_prompt_id"),
        (sent(prompt_id="\ud800"), "invalid_prompt_id"),
        # What eats memory or the stack.
        (b"[" * 2_000_001, "body_too_large"),
        (b'{"a":' * 100_000, "invalid_json"),
        (b'{"prompt":' + b"[" * 200 + b"]" * 200 + b"}", "invalid_json"),
        (b'{"prompt": ' + b"9" * 10_000 + b"}", "invalid_json"),
    ],
)
def test_what_would_hurt_a_server_is_refused_by_name(raw, kind):
    with pytest.raises(Refusal) as caught:
        judge_prompt(raw)
    assert caught.value.kind == kind
    assert caught.value.status in (400, 413)
    body = caught.value.body()
    assert set(body) == {"error", "node_errors"}
    assert set(body["error"]) == {"type", "message", "details", "extra_info"}
    json.dumps(body, allow_nan=False)


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b"[]", "no_prompt", "No prompt provided"),
        (b'"x"', "no_prompt", "No prompt provided"),
        (b'{"client_id":"x"}', "no_prompt", "No prompt provided"),
        (b'{"prompt": {}}', "prompt_no_outputs", "Prompt has no outputs"),
        (b'{"prompt": []}', "prompt_no_outputs", "Prompt has no outputs"),
        (
            b'{"prompt": {"1": "x"}}',
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
        ),
    ],
)
def test_what_a_server_refuses_is_refused_in_its_words(raw, kind, message):
    with pytest.raises(Refusal) as caught:
        judge_prompt(raw)
    assert (caught.value.kind, caught.value.message) == (kind, message)


def test_what_a_server_takes_odd_as_it_may_be_is_taken():
    read = judge_prompt(sent(number="7", client_id=5, prompt_id="a?b #c%", front=1))
    assert (read.number, read.client_id, read.prompt_id, read.front) == (7.0, "5", "a?b #c%", True)
    read = judge_prompt(sent(client_id=None, prompt_id=None))
    assert (read.client_id, read.prompt_id, read.extra_data) == ("", "", {})
    read = judge_prompt(sent(extra_data={"client_id": "in", "create_time": 3, "holdfast": "x"}))
    assert (read.client_id, read.extra_data) == ("in", {"client_id": "in"})
    read = judge_prompt(sent(extra_data={"extra_pnginfo": None}, partial_execution_targets=["1"]))
    assert (read.extra_data, read.targets) == ({}, ("1",))


def test_the_same_said_in_another_order_is_the_same():
    one = judge_prompt(b'{"prompt": {"1": {"class_type": "A", "inputs": {}}}, "client_id": "c"}')
    two = judge_prompt(b'{"client_id":"c","prompt":{"1":{"inputs":{},"class_type":"A"}}}')
    assert one.digest == two.digest
    assert judge_prompt(sent()).digest != one.digest


def test_a_body_over_the_limit_is_refused_unread():
    with pytest.raises(Refusal) as caught:
        judge_prompt(b"x" * 101, limit=100)
    assert caught.value.status == 413


@pytest.mark.parametrize("raw", [b"", b"null", b"5", b"{", b'{"delete": "ab"}', b'{"delete": [1]}'])
def test_wishes_that_cannot_be_read_are_refused(raw):
    with pytest.raises(Refusal):
        guard.judge_queue_wish(raw)


def test_wishes_name_ids_once():
    wish = guard.judge_queue_wish(b'{"clear": false, "delete": ["a", "b", "a"]}')
    assert (wish.clear, wish.delete) == (False, ("a", "b"))


def test_an_interrupt_may_say_nothing_but_no_other_thing_than_an_object():
    assert guard.judge_interrupt(b"") == ""
    assert guard.judge_interrupt(b"{oops") == ""
    assert guard.judge_interrupt(b"{}") == ""
    assert guard.judge_interrupt(b'{"prompt_id": "p"}') == "p"
    for raw in (b"[]", b"null", b'{"prompt_id": ["p"]}'):
        with pytest.raises(Refusal):
            guard.judge_interrupt(raw)


def test_numbers_of_a_query_are_whole_and_bounded():
    assert guard.whole_number({}, "n", None) is None
    assert guard.whole_number({"n": "5"}, "n", None) == 5
    assert guard.whole_number({"n": "9" * 30}, "n", None, high=10) == 10
    for wrong in ("abc", "", "1.5", "-1", "9" * 10_000):
        with pytest.raises(Refusal):
            guard.whole_number({"n": wrong}, "n", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)
KEYS = st.sampled_from(
    [
        "prompt",
        "client_id",
        "extra_data",
        "number",
        "front",
        "prompt_id",
        "partial_execution_targets",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=7) | JSON)
def test_whatever_is_said_is_taken_or_refused_and_never_anything_else(body):
    try:
        read = judge_prompt(json.dumps(body).encode())
    except Refusal as refusal:
        json.dumps(refusal.body(), allow_nan=False)
    else:
        assert isinstance(read.client_id, str)
        json.dumps([read.graph, read.extra_data, read.number], allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_harm(raw):
    for judge in (judge_prompt, guard.judge_object, guard.judge_queue_wish, guard.judge_interrupt):
        try:
            judge(raw)
        except Refusal as refusal:
            json.dumps(refusal.body(), allow_nan=False)
