"""Jobs as ComfyUI's history, queue and newer job list show them."""

from __future__ import annotations

import pytest

from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.history import Record, history_entry, is_in_history, queue_item
from holdfast.comfyui.gateway.joblist import Question, brief, full, page_of
from holdfast.stores.jobs.records import JobState, StoredJob

GRAPH = {"5": {"class_type": "SaveImage", "inputs": {}}}
IMAGE = {"filename": "cap_00001_.png", "subfolder": "", "type": "output"}
OUTPUTS = {
    "6": {"images": [{**IMAGE, "type": "temp", "filename": "t.png"}]},
    "5": {"images": [IMAGE], "animated": [False]},
}


def job(state=JobState.DELIVERED, **more):
    ended = None if state in (JobState.QUEUED, JobState.RUNNING) else 105.5
    started = None if state is JobState.QUEUED else 101.25
    given = {
        "id": "p1", "number": 7, "name": "n", "key": "", "user": "", "order": "", "state": state,
        "priority": 0, "deadline": None, "signature": "", "client_id": "me", "prompt": "",
        "seed": "", "model": "", "created": 100.0, "started": started, "ended": ended, "tries": 0,
        "worker": "", "cancel": False, "estimate": None, "summary": "how it went",
    }  # fmt: skip
    return StoredJob(**{**given, **more})


def payload(**more):
    return {
        "graph": GRAPH,
        "extra_data": {"a": 1, "api_key_comfy_org": "s"},
        "targets": ["5"],
        **more,
    }


def record(state=JobState.DELIVERED, outcome=None, **more):
    return Record(job(state), payload(**more), {"outputs": OUTPUTS} if outcome is None else outcome)


def test_a_delivered_job_reads_as_one_plain_run():
    entry = history_entry(record())
    extra = {"a": 1, "client_id": "me", "create_time": 100_000}
    assert entry["prompt"] == [7, "p1", GRAPH, extra, ["5"]]
    assert entry["outputs"] == OUTPUTS
    assert entry["status"] == {
        "status_str": "success",
        "completed": True,
        "messages": [
            ["execution_start", {"prompt_id": "p1", "timestamp": 101_250}],
            ["execution_cached", {"nodes": [], "prompt_id": "p1", "timestamp": 101_250}],
            ["execution_success", {"prompt_id": "p1", "timestamp": 105_500}],
        ],
    }
    assert entry["meta"]["5"] == {
        "node_id": "5", "display_node": "5", "parent_node": None, "real_node_id": "5",
    }  # fmt: skip


def test_a_failed_job_tells_the_servers_own_error_and_what_was_tried():
    failure = {
        "kind": "node_error", "category": "memory", "message": "no memory", "node_id": "5",
        "node_type": "SaveImage", "exception_type": "torch.OutOfMemoryError", "traceback": ["a"],
    }  # fmt: skip
    outcome = {"failure": failure, "attempts": [{"number": 1}], "degradations": ["smaller"]}
    entry = history_entry(record(JobState.FAILED, outcome))
    name, data = entry["status"]["messages"][-1]
    assert (name, entry["status"]["status_str"]) == ("execution_error", "error")
    assert data["exception_type"] == "torch.OutOfMemoryError"
    assert (data["node_id"], data["node_type"], data["traceback"]) == ("5", "SaveImage", ["a"])
    assert entry["holdfast"]["attempts"] == [{"number": 1}]
    assert entry["holdfast"]["degradations"] == ["smaller"]
    told = brief(record(JobState.FAILED, outcome))
    assert (told["status"], told["execution_error"]["exception_message"]) == ("failed", "no memory")


@pytest.mark.parametrize("outcome", [{}, {"outputs": 5, "failure": [], "attempts": "x"}])
def test_what_is_damaged_is_shown_as_empty(outcome):
    for state in (JobState.FAILED, JobState.CANCELLED, JobState.DELIVERED):
        damaged = Record(job(state), {}, outcome)
        assert history_entry(damaged)["outputs"] == {}
        assert full(damaged)["workflow"]["prompt"] == {}


def test_numbers_are_those_the_client_was_told():
    assert queue_item(job(), payload(front=True))[0] == -7
    assert queue_item(job(), payload(number=500.0))[0] == 500.0
    assert queue_item(job(), payload(number=True))[0] == 7


def test_what_was_cancelled_before_it_began_leaves_no_trace():
    assert not is_in_history(job(JobState.CANCELLED, started=None))
    assert is_in_history(job(JobState.CANCELLED))
    entry = history_entry(record(JobState.CANCELLED))
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_list_tells_the_saved_picture_before_the_temporary_one():
    told = brief(record(extra_data={"extra_pnginfo": {"workflow": {"id": "w"}}}))
    assert told["preview_output"] == {"mediaType": "images", **IMAGE, "nodeId": "5"}
    assert (told["outputs_count"], told["previewable_outputs_count"]) == (2, 2)
    assert told["workflow_id"] == "w"
    text = brief(record(outcome={"outputs": {"1": {"text": ["x" * 2_000]}}}))
    assert (text["outputs_count"], text["preview_output"]["truncated"]) == (0, True)
    assert len(text["preview_output"]["content"]) == 1024
    odd = brief(
        record(outcome={"outputs": {"1": {"latents": [{"filename": "a.latent"}]}, "2": []}})
    )
    assert (odd["outputs_count"], odd["previewable_outputs_count"]) == (1, 0)
    assert "preview_output" not in odd


def test_what_waits_has_no_end():
    told = brief(record(JobState.QUEUED))
    assert told["status"] == "pending"
    assert not {"execution_start_time", "execution_end_time", "preview_output"} & told.keys()
    assert "outputs" not in full(record(JobState.RUNNING))


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"limit": "0"},
        {"limit": "x"},
        {"offset": "x"},
        {"sort_by": "name"},
        {"sort_order": "up"},
    ],
)
def test_questions_that_make_no_sense_are_refused(query):
    with pytest.raises(Refusal):
        Question.of(query)


def test_questions_are_read_as_the_newer_servers_read_them():
    asked = Question.of({"status": " Pending,in_progress ", "limit": "5", "offset": "-3"})
    assert asked.states == {JobState.QUEUED, JobState.RUNNING}
    assert (asked.limit, asked.offset, asked.ascending) == (5, 0, False)
    page = page_of([{}, {}], Question.of({"limit": "2", "offset": "1"}), 9)
    assert page["pagination"] == {"offset": 1, "limit": 2, "total": 9, "has_more": True}
