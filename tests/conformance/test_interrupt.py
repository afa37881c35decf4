"""POST /interrupt: what it stops, what it leaves alone, and what is told of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import SlowGraph, preview, save
from tests.conformance.recorder import QUIET, Recorder, Run

pytestmark = pytest.mark.conformance

Endless = Callable[[], SlowGraph]


async def start(client: Client, socket: Recorder, job: SlowGraph) -> str:
    """Submit a job, and return its id once it is at work."""
    answer = await client.submit(job.graph, client_id=socket.client_id)
    await socket.wait_node(job.busy)
    return answer["prompt_id"]


async def test_an_interrupted_run_is_told_in_this_order(
    client: Client, socket: Recorder, endless: Endless
):
    job = endless()
    before = len(socket.frames)
    prompt_id = await start(client, socket, job)
    reply = await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)

    assert (reply.status, reply.body) == (200, b"")
    run = Run(prompt_id, 0, tuple(socket.frames[before:]))
    assert run.kinds[:4] == ["status", "status", "execution_start", "execution_cached"]
    assert run.kinds[-3:] == ["execution_interrupted", "status", "executing"]
    assert {"execution_success", "execution_error"}.isdisjoint(run.kinds)
    counts = [data["status"]["exec_info"]["queue_remaining"] for data in run.of("status")]
    assert counts == [1, 1, 0]


async def test_an_interruption_names_the_node_and_what_was_done(
    client: Client, socket: Recorder, endless: Endless
):
    job = endless()
    prompt_id = await start(client, socket, job)
    await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)

    (told,) = socket.of("execution_interrupted")
    assert set(told) == {"prompt_id", "node_id", "node_type", "executed", "timestamp"}
    assert told["prompt_id"] == prompt_id
    # A node that does not look ends first: the one after it is then named.
    assert told["node_id"] in job.busy
    assert told["node_type"] == job.graph[told["node_id"]]["class_type"]
    cached = socket.of("execution_cached")[0]["nodes"]
    ran = [data["node"] for data in socket.of("executing")]
    assert set(told["executed"]) == set(ran) - {told["node_id"], None}
    assert set(told["executed"]).isdisjoint(cached)


async def test_an_interruption_stands_in_the_history_as_an_error_without_words(
    client: Client, socket: Recorder, endless: Endless
):
    prompt_id = await start(client, socket, endless())
    await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)

    entry = await client.history(prompt_id)
    assert (entry["outputs"], entry["meta"]) == ({}, {})
    status = entry["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert [name for name, _ in status["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_interrupted",
    ]
    assert status["messages"][-1][1] == socket.of("execution_interrupted")[0]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{}", b"not json", b'{"prompt_id": ""}', b'{"prompt_id": null}'],
    ids=repr,
)
async def test_an_interrupt_that_names_no_job_stops_whatever_runs(
    client: Client, socket: Recorder, endless: Endless, body
):
    prompt_id = await start(client, socket, endless())
    reply = await client.post("/interrupt", data=body)
    await socket.wait_end(prompt_id)

    assert (reply.status, reply.body) == (200, b"")
    assert socket.of("execution_interrupted")[0]["prompt_id"] == prompt_id


async def test_an_interrupt_of_another_job_stops_nothing(
    client: Client, socket: Recorder, endless: Endless
):
    prompt_id = await start(client, socket, endless())
    waiting = (await client.submit(preview(), client_id=socket.client_id))["prompt_id"]
    for name in (waiting, str(uuid.uuid4()), prompt_id.upper() + "x"):
        reply = await client.post("/interrupt", json={"prompt_id": name})
        assert (reply.status, reply.body) == (200, b"")
    await asyncio.sleep(QUIET * 2)

    running, pending = await client.queue()
    assert [item[1] for item in running] == [prompt_id]
    assert [item[1] for item in pending] == [waiting]
    assert socket.of("execution_interrupted") == []


async def test_the_next_waiting_job_runs_after_an_interrupt(
    client: Client, socket: Recorder, endless: Endless
):
    prompt_id = await start(client, socket, endless())
    waiting = (await client.submit(save(), client_id=socket.client_id))["prompt_id"]
    await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(waiting)

    assert (await client.history(waiting))["status"]["status_str"] == "success"
    ends = [data["prompt_id"] for data in socket.of("executing") if data["node"] is None]
    assert ends == [prompt_id, waiting]


async def test_an_interrupt_of_an_idle_server_is_forgotten(client: Client, socket: Recorder):
    assert (await client.post("/interrupt")).status == 200

    assert "execution_success" in (await client.run(save(), socket)).kinds


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"5", b"\xff"])
async def test_an_interrupt_that_is_no_object_or_text_is_an_internal_error(
    client: Client, socket: Recorder, endless: Endless, body
):
    prompt_id = await start(client, socket, endless())
    reply = await client.post("/interrupt", data=body)

    assert (reply.status, reply.content_type) == (500, "text/plain")
    assert [item[1] for item in (await client.queue())[0]] == [prompt_id]


async def test_interrupt_is_there_under_api(client: Client, socket: Recorder, endless: Endless):
    prompt_id = await start(client, socket, endless())
    await client.post("/api/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)

    assert len(socket.of("execution_interrupted")) == 1


async def test_a_bystander_is_not_told_of_an_interrupt(
    client: Client, socket: Recorder, endless: Endless
):
    bystander = await client.connect()
    prompt_id = await start(client, socket, endless())
    await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)
    await asyncio.sleep(QUIET)

    assert set(bystander.kinds()) == {"status"}


async def test_everyone_is_told_when_a_run_without_client_id_is_interrupted(
    client: Client, socket: Recorder, occupy: Callable
):
    other = await client.connect()
    prompt_id = await occupy()
    await socket.wait_kind("progress_state")
    await client.post("/interrupt", json={"prompt_id": prompt_id})

    for recorder in (socket, other):
        told = await recorder.wait_kind("execution_interrupted")
        assert told["prompt_id"] == prompt_id
    await client.history(prompt_id)
    await asyncio.sleep(QUIET)
    assert "executing" not in socket.kinds()


async def test_a_job_can_be_submitted_again_after_its_interrupt(
    client: Client, socket: Recorder, endless: Endless, checkpoint: str
):
    job = endless()
    prompt_id = await start(client, socket, job)
    await client.post("/interrupt", json={"prompt_id": prompt_id})
    await socket.wait_end(prompt_id)
    job.graph["3"]["inputs"]["steps"] = 1

    run = await client.run(job.graph, socket, prompt_id=prompt_id)
    assert "execution_success" in run.kinds
    assert (await client.history(prompt_id))["status"]["status_str"] == "success"
