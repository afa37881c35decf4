"""One job, several attempts: its clients see one run, and nothing that turns out to be false."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.saying import Said, Sort
from holdfast.comfyui.gateway.telling import Telling
from tests.comfyui.gateway.test_frames import RAW

STATUS = Said("{}", Sort.STATUS)


def say(kind, **data):
    return frames.event(kind, {"prompt_id": "p", **data})


def hear(telling, server, *raws):
    return [said.sort for raw in raws for said in telling.hear(server, raw, 0)]


def begun():
    telling = Telling("p", addressed=True)
    telling.begin(0)
    return telling


def test_a_second_run_beside_a_slow_one_is_told_from_its_start_on():
    telling = begun()
    hear(telling, "a", say("execution_start"), say("executing", node="1"))
    assert hear(telling, "b", say("execution_start")) == [Sort.START, Sort.NOTE]
    assert hear(telling, "a", say("progress", node="1")) == []
    assert hear(telling, "b", say("progress", node="1")) == [Sort.PROGRESS]


def test_when_the_second_run_fails_the_first_is_told_again():
    telling = begun()
    hear(telling, "a", say("execution_start"))
    hear(telling, "b", say("execution_start"), say("execution_error"))
    hear(telling, "b", say("executing", node=None))
    assert hear(telling, "a", say("progress", node="1")) == [Sort.PROGRESS]


def test_frames_of_somebody_elses_prompt_are_left_out():
    raw = frames.event("progress", {"prompt_id": "other", "node": "1"})
    assert hear(begun(), "a", raw) == []


def test_a_blocked_branch_is_not_an_attempt_that_failed():
    telling = begun()
    hear(telling, "a", say("execution_start"))
    assert hear(telling, "a", say("execution_error", exception_type="ExecutionBlocked")) == []


def test_an_error_has_comfyuis_shape():
    telling = begun()
    failure = {"message": "no memory", "node_id": "3", "node_type": "K", "exception_type": "E"}
    told = telling.end({"status": "failed", "failure": failure}, 7, STATUS)
    said = json.loads(told[0].frame)
    assert said == {
        "type": "execution_error",
        "data": {
            "prompt_id": "p",
            "node_id": "3",
            "node_type": "K",
            "executed": [],
            "exception_message": "no memory\n",
            "exception_type": "E",
            "traceback": [],
            "current_inputs": {},
            "current_outputs": [],
            "timestamp": 7,
        },
    }


def test_a_cancelled_run_without_a_client_is_broadcast_as_comfyui_does():
    telling = Telling("p", addressed=False)
    told = telling.end({"status": "cancelled"}, 0, STATUS)
    assert [said.sort for said in told] == [Sort.END, Sort.STATUS]


@given(st.lists(st.tuples(st.sampled_from("ab"), RAW)), st.dictionaries(st.text(), st.text()))
def test_nonsense_from_a_server_never_raises(raws, outcome):
    telling = begun()
    for server, raw in raws:
        telling.hear(server, raw, 0)
    assert telling.end(outcome, 0, STATUS)[-1].node == "executing"
