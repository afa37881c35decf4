"""What waits, what runs and what has been: /queue, /prompt and /history."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import branches, failing, preview, save
from tests.conformance.recorder import QUIET, RUN_KINDS, Recorder

pytestmark = pytest.mark.conformance


async def test_an_idle_server_has_nothing_running_or_waiting(client: Client):
    assert (await client.get("/queue")).json == {"queue_running": [], "queue_pending": []}
    assert (await client.get("/prompt")).json == {"exec_info": {"queue_remaining": 0}}


async def test_items_are_number_id_graph_extra_data_and_outputs(client: Client, occupy: Callable):
    blocker = await occupy()
    graph = preview()
    answer = await client.submit(graph, client_id="somebody", extra_data={"a": 1})

    (running,), (waiting,) = await client.queue()
    extra = {"a": 1, "client_id": "somebody"}
    assert waiting == [answer["number"], answer["prompt_id"], graph, extra, ["2"]]
    assert running[1] == blocker
    assert running[0] == answer["number"] - 1
    assert running[3] == {}
    assert running[4] == list(running[2])[-1:]


async def test_the_count_is_of_running_and_waiting_jobs(client: Client, occupy: Callable):
    await occupy()
    for _ in range(3):
        await client.submit(preview())

    assert (await client.get("/prompt")).json == {"exec_info": {"queue_remaining": 4}}
    assert (await client.get("/api/prompt")).json == {"exec_info": {"queue_remaining": 4}}


async def test_outputs_to_execute_are_all_output_nodes(client: Client):
    run = await client.run(branches())

    # In the order of a set, so it is left open.
    assert sorted((await client.history(run.prompt_id))["prompt"][4]) == ["5", "6"]


async def test_a_deleted_job_vanishes_without_a_trace(
    client: Client, socket: Recorder, occupy: Callable
):
    blocker = await occupy()
    mine = {"client_id": socket.client_id}
    dropped = (await client.submit(preview(), **mine))["prompt_id"]
    kept = (await client.submit(preview(), **mine))["prompt_id"]

    reply = await client.post("/queue", json={"delete": [dropped]})
    assert (reply.status, reply.body) == (200, b"")
    assert [item[1] for item in (await client.queue())[1]] == [kept]

    await client.stop(blocker)
    await socket.wait_end(kept)
    told = {frame.prompt_id for frame in socket.frames if frame.kind in RUN_KINDS}
    assert dropped not in told
    assert (await client.get(f"/history/{dropped}")).json == {}


async def test_deleting_tells_everyone_the_new_status(
    client: Client, socket: Recorder, occupy: Callable
):
    await occupy()
    dropped = (await client.submit(preview()))["prompt_id"]
    await client.submit(preview())
    await asyncio.sleep(QUIET)
    before = len(socket.frames)
    await client.post("/queue", json={"delete": [dropped]})
    status = await socket.wait_kind("status", before)

    assert status == {"status": {"exec_info": {"queue_remaining": 2}}}


async def test_deleting_takes_the_first_job_of_an_id(client: Client, occupy: Callable):
    await occupy()
    name = f"conf-{uuid.uuid4()}"
    numbers = [
        (await client.submit(preview(), prompt_id=name))["number"],
        (await client.submit(preview(), prompt_id=name))["number"],
    ]

    await client.post("/queue", json={"delete": [name]})
    assert [item[0] for item in (await client.queue())[1]] == numbers[1:]


async def test_deleting_an_id_twice_in_one_request_takes_two(client: Client, occupy: Callable):
    await occupy()
    name = f"conf-{uuid.uuid4()}"
    for _ in range(3):
        await client.submit(preview(), prompt_id=name)

    await client.post("/queue", json={"delete": [name, name]})
    assert len((await client.queue())[1]) == 1


async def test_deleting_the_running_or_an_unknown_job_does_nothing(
    client: Client, occupy: Callable
):
    blocker = await occupy()
    waiting = (await client.submit(preview()))["prompt_id"]

    reply = await client.post("/queue", json={"delete": [blocker, "no such job"]})
    assert (reply.status, reply.body) == (200, b"")
    running, pending = await client.queue()
    assert [item[1] for item in running] == [blocker]
    assert [item[1] for item in pending] == [waiting]


async def test_clearing_drops_what_waits_and_leaves_what_runs(client: Client, occupy: Callable):
    blocker = await occupy()
    for _ in range(3):
        await client.submit(preview())

    reply = await client.post("/queue", json={"clear": True})
    assert (reply.status, reply.body) == (200, b"")
    running, pending = await client.queue()
    assert [item[1] for item in running] == [blocker]
    assert pending == []


@pytest.mark.parametrize("body", [{}, {"clear": False}, {"delete": []}, {"other": 1}])
async def test_a_queue_request_that_asks_for_nothing_does_nothing(
    client: Client, occupy: Callable, body
):
    await occupy()
    await client.submit(preview())

    reply = await client.post("/queue", json=body)
    assert (reply.status, reply.body) == (200, b"")
    assert await client.remaining() == 2


@pytest.mark.parametrize("path", ["/queue", "/history"])
@pytest.mark.parametrize("body", [b"", b"{", b"null", b'{"delete": null}'])
async def test_a_malformed_queue_or_history_request_is_an_internal_error(
    client: Client, path, body
):
    reply = await client.post(path, data=body)

    assert (reply.status, reply.content_type) == (500, "text/plain")


async def test_a_history_entry_has_prompt_outputs_status_and_meta(client: Client, socket: Recorder):
    graph = branches()
    run = await client.run(graph, socket)

    entry = await client.history(run.prompt_id)
    assert set(entry) == {"prompt", "outputs", "status", "meta"}
    number, prompt_id, kept, extra, outputs = entry["prompt"]
    assert (number, prompt_id) == (run.number, run.prompt_id)
    for name, node in graph.items():
        # ComfyUI notes whether a node has changed beside its inputs.
        assert {key: kept[name][key] for key in node} == node
    assert extra == {"client_id": socket.client_id}
    assert sorted(outputs) == ["5", "6"]
    assert entry["outputs"] == run.outputs()
    assert entry["meta"] == {
        name: {"node_id": name, "display_node": name, "parent_node": None, "real_node_id": name}
        for name in ("5", "6")
    }


async def test_history_status_of_a_success_lists_what_was_told(client: Client, socket: Recorder):
    run = await client.run(save(), socket)

    told = ["execution_start", "execution_cached", "execution_success"]
    assert (await client.history(run.prompt_id))["status"] == {
        "status_str": "success",
        "completed": True,
        "messages": [[name, run.one(name)] for name in told],
    }


async def test_history_by_id_is_the_entry_of_the_whole_history(client: Client):
    run = await client.run(save())

    whole = (await client.get("/history")).json
    assert whole[run.prompt_id] == await client.history(run.prompt_id)
    assert (await client.get(f"/api/history/{run.prompt_id}")).json == {
        run.prompt_id: whole[run.prompt_id]
    }


async def test_unknown_running_and_waiting_jobs_have_no_history(client: Client, occupy: Callable):
    running = await occupy()
    waiting = (await client.submit(preview()))["prompt_id"]

    for name in ("no-such-job", running, waiting):
        reply = await client.get(f"/history/{name}")
        assert (reply.status, reply.json) == (200, {})
    whole = (await client.get("/history")).json
    assert running not in whole
    assert waiting not in whole


async def test_history_can_be_deleted_by_id(client: Client, socket: Recorder):
    gone, kept = await client.run(save(), socket), await client.run(save(), socket)

    reply = await client.post("/history", json={"delete": [gone.prompt_id, "no such job"]})
    assert (reply.status, reply.body) == (200, b"")
    whole = (await client.get("/history")).json
    assert gone.prompt_id not in whole
    assert kept.prompt_id in whole


async def test_history_can_be_cleared(client: Client):
    await client.run(save())

    reply = await client.post("/history", json={"clear": True})
    assert (reply.status, reply.body) == (200, b"")
    assert (await client.get("/history")).json == {}


async def test_a_jobs_files_outlive_its_history(client: Client):
    run = await client.run(save())
    await client.post("/history", json={"delete": [run.prompt_id]})

    (picture,) = run.outputs()["3"]["images"]
    assert (await client.get("/view", **picture)).status == 200


async def test_history_is_in_the_order_of_ending_and_can_be_cut(client: Client, socket: Recorder):
    await client.post("/history", json={"clear": True})
    makers = (save, failing, preview, save)
    ids = [(await client.run(make(), socket)).prompt_id for make in makers]

    async def listed(**params: str) -> list[str]:
        return list((await client.get("/history", **params)).json)

    assert await listed() == ids
    assert await listed(max_items="2") == ids[-2:]
    assert await listed(max_items="9") == ids
    assert await listed(offset="1") == ids[1:]
    assert await listed(offset="1", max_items="2") == ids[1:3]
    assert await listed(offset="9") == []


@pytest.mark.parametrize("params", [{"max_items": "abc"}, {"offset": "abc"}])
async def test_a_history_cut_that_is_no_number_is_an_internal_error(client: Client, params):
    reply = await client.get("/history", **params)

    assert (reply.status, reply.content_type) == (500, "text/plain")


async def test_a_job_is_always_waiting_running_or_in_the_history(client: Client, socket: Recorder):
    for _ in range(10):
        prompt_id = (await client.submit(save(), client_id=socket.client_id))["prompt_id"]
        found = False
        async with asyncio.timeout(10):
            while not found:
                running, pending = await client.queue()
                history = (await client.get(f"/history/{prompt_id}")).json
                queued = [item[1] for item in running + pending]
                assert prompt_id in queued or prompt_id in history
                found = prompt_id in history
