"""Who hears what: real sockets on a real server, and what ComfyUI said as the measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import aiohttp

from holdfast.comfyui.gateway.hub import Hub
from holdfast.comfyui.gateway.outbox import OutboxLimits
from tests.comfyui.gateway.sockets import (
    Job,
    client,
    frames_of,
    hear,
    prompt_of,
    serving,
    shape,
    types,
)

OUTPUT = {"images": [{"filename": "ours_00001_.png", "subfolder": "", "type": "output"}]}
DELIVERED = {"status": "delivered", "outputs": {"9": OUTPUT}}


async def _wait(until, seconds=5.0):
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_a_client_with_the_handshake_hears_what_comfyui_sends_frame_by_frame():
    recorded = frames_of("previews_described")
    job = Job(prompt_of(recorded))
    hub = Hub()
    async with serving(hub) as port:
        flags = {"supports_preview_metadata": True}
        async with client(port, "cap-05_progress_preview_with_flags", flags=flags) as socket:
            heard = await hear(socket)
            job = Job(job.id, client_id="cap-05_progress_preview_with_flags")
            hub.accepted(job)
            hub.began(job)
            for raw in recorded:
                hub.frame(job, "http://a", raw)
            hub.ended(job, {"status": "delivered", "outputs": {}})
            heard += await hear(socket)
    assert [shape(raw) for raw in heard] == [shape(raw) for raw in recorded]


async def test_a_client_without_the_handshake_gets_its_previews_plain_and_after_the_progress():
    upstream = frames_of("previews_described")
    job = Job(prompt_of(upstream), client_id="c")
    hub = Hub()
    async with serving(hub) as port, client(port, "c") as socket:
        await hear(socket)
        hub.accepted(job)
        hub.began(job)
        for raw in upstream:
            hub.frame(job, "http://a", raw)
        hub.ended(job, {"status": "delivered", "outputs": {}})
        heard = types(await hear(socket))
    assert heard == types(frames_of("previews_plain"))[1:]


async def test_names_of_saved_files_are_told_at_the_end():
    upstream = frames_of("saved")
    job = Job(prompt_of(upstream))
    hub = Hub()
    async with serving(hub) as port, client(port, "c") as socket:
        hub.began(job)
        for raw in upstream:
            hub.frame(job, "http://a", raw)
        assert "executed" not in types(await hear(socket))
        hub.ended(job, DELIVERED)
        heard = await hear(socket)
    assert types(heard) == ["executed", "execution_success", "status", "executing"]
    assert json.loads(heard[0])["data"]["output"] == OUTPUT
    assert hub.server_of("t2i_00002_.png", "", "output") is None


async def test_a_run_without_a_client_is_broadcast_to_its_own_user_only():
    upstream = frames_of("previews_described")
    job = Job(prompt_of(upstream), user="ann", client_id="")
    hub = Hub()
    async with serving(hub) as port:
        async with client(port, "x", user="ann") as ann, client(port, "x", user="bob") as bob:
            await hear(ann), await hear(bob)
            hub.accepted(job)
            hub.began(job)
            for raw in upstream:
                hub.frame(job, "http://a", raw)
            hub.ended(job, {"status": "delivered", "outputs": {}})
            heard = types(await hear(ann))
            assert heard == types(frames_of("no_client_id", "obs"))[1:]
            assert await hear(bob) == []


async def test_a_guessed_client_id_hears_nothing_of_another_users_job():
    hub = Hub()
    async with serving(hub) as port, client(port, "c", user="eve") as eve:
        assert types(await hear(eve)) == ["status"]
        hub.began(Job(user="ann"))
        hub.ended(Job(user="ann"), DELIVERED)
        assert await hear(eve) == []


async def test_who_comes_back_during_a_run_is_told_the_node_and_what_was_missed():
    upstream = frames_of("previews_described")
    job = Job(prompt_of(upstream))
    middle = 12
    hub = Hub()
    async with serving(hub) as port:
        async with client(port, "c") as socket:
            hub.began(job)
            for raw in upstream[:middle]:
                hub.frame(job, "http://a", raw)
            await hear(socket)
        await _wait(lambda: hub.sockets == 0)
        for raw in upstream[middle:20]:
            hub.frame(job, "http://a", raw)
        async with client(port, "c") as socket:
            heard = await hear(socket)
            assert json.loads(heard[1]) == {"type": "executing", "data": {"node": "2"}}
            assert types(heard)[2:5] == ["execution_start", "execution_cached", "progress_state"]
            assert types(heard).count("progress_state") == 1
        await _wait(lambda: hub.sockets == 0)
        hub.ended(job, DELIVERED)
        async with client(port, "c") as socket:
            told = ["status", "executed", "execution_success", "executing"]
            assert types(await hear(socket)) == told
        await _wait(lambda: hub.sockets == 0)
        async with client(port, "c") as socket:
            assert types(await hear(socket)) == ["status"]


async def test_an_older_socket_that_closes_does_not_deafen_the_newer_one():
    hub = Hub()
    async with serving(hub) as port, contextlib.AsyncExitStack() as stack:
        old_stack = await stack.enter_async_context(contextlib.AsyncExitStack())
        old = await old_stack.enter_async_context(client(port, "c"))
        new = await stack.enter_async_context(client(port, "c"))
        await hear(old), await hear(new)
        hub.began(Job("1"))
        assert await hear(old) == []
        assert types(await hear(new)) == ["status", "execution_start"]
        await old_stack.aclose()
        await _wait(lambda: hub.sockets == 1)
        hub.ended(Job("1"), DELIVERED)
        assert "execution_success" in types(await hear(new))


async def test_an_attempt_that_failed_is_not_told_and_the_next_one_starts_over():
    upstream = frames_of("previews_described")
    job = Job(prompt_of(upstream))
    failed = json.dumps(
        {
            "type": "execution_error",
            "data": {"prompt_id": job.id, "node_id": "2", "exception_message": "no memory\n"},
        }
    )
    hub = Hub()
    async with serving(hub) as port:
        async with client(port, "c", flags={"holdfast_notes": True}) as socket:
            await hear(socket)
            hub.began(job)
            for raw in [*upstream[:12], failed, *upstream]:
                hub.frame(job, "http://a", raw)
            failure = {"message": "lost", "node_id": "2", "exception_type": "X"}
            hub.ended(job, {"status": "failed", "failure": failure})
            heard = await hear(socket)
    assert types(heard).count("execution_start") == 2
    assert types(heard).count("execution_error") == 1
    assert types(heard)[-3:] == ["execution_error", "status", "executing"]
    assert "execution_success" not in types(heard)
    notes = [json.loads(raw)["data"] for raw in heard if isinstance(raw, str) and "holdfast" in raw]
    assert {"prompt_id": job.id, "kind": "attempt", "words": "Started again: no memory"} in notes


async def test_temporary_files_are_found_on_the_server_that_made_them():
    upstream = frames_of("previews_described")
    job = Job(prompt_of(upstream), user="ann")
    hub = Hub()
    for raw in upstream:
        hub.frame(job, "http://a", raw)
    name = "ComfyUI_temp_glcpo_00002_.png"
    assert hub.server_of(name, "", "temp") == "http://a"
    assert hub.server_of(name, "", "temp", user="bob") is None


async def test_a_job_that_another_process_ran_is_told_once():
    hub = Hub()
    async with serving(hub) as port, client(port, "c") as socket:
        await hear(socket)
        for _ in range(2):
            hub.began(Job())
        for _ in range(2):
            hub.ended(Job(), DELIVERED)
        heard = types(await hear(socket))
    assert heard.count("execution_start") == heard.count("execution_success") == 1


async def test_a_job_cancelled_while_it_waited_changes_the_queue_only():
    job = Job(started=None)
    hub = Hub()
    async with serving(hub) as port, client(port, "c") as socket:
        await hear(socket)
        hub.accepted(job)
        hub.ended(job, {"status": "cancelled"})
        left = [
            json.loads(raw)["data"]["status"]["exec_info"]["queue_remaining"]
            for raw in await hear(socket)
        ]
    assert left == [1, 0]


async def test_who_does_not_read_is_cut_off_and_delays_nobody():
    hub = Hub(outbox=OutboxLimits(seconds=0.5, size=100_000_000))
    big = json.dumps({"type": "custom", "data": {"x": "y" * 400_000}})
    async with serving(hub) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(
            b"GET /ws?clientId=slow HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await _wait(lambda: hub.sockets == 1)
        reader._transport.pause_reading()
        async with client(port, "c") as socket:
            await hear(socket)
            for _ in range(80):
                hub.frame(Job("slow", client_id="slow"), "http://a", big)
            sent = time.monotonic()
            hub.began(Job("mine"))
            heard = await hear(socket, 0.1)
            assert "execution_start" in types(heard)
            assert time.monotonic() - sent < 0.5
            await _wait(lambda: hub.sockets == 1)
            hub.ended(Job("mine"), DELIVERED)
            assert "execution_success" in types(await hear(socket))
        writer.transport.abort()


async def test_two_hundred_sockets_each_hear_of_their_own_job():
    hub = Hub()
    async with serving(hub) as port, contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(client(port, f"c{n}")) for n in range(200)]
        for number in range(200):
            job = Job(f"p{number}", client_id=f"c{number}")
            hub.began(job)
            hub.ended(job, DELIVERED)
        for number, socket in enumerate(sockets):
            ids = set()
            while True:
                said = json.loads((await socket.receive(timeout=5)).data)
                if "prompt_id" in said["data"]:
                    ids.add(said["data"]["prompt_id"])
                if said["type"] == "executing":
                    break
            assert ids == {f"p{number}"}


async def test_who_is_cut_off_is_told_why_if_it_reads_again_in_time():
    hub = Hub(outbox=OutboxLimits(seconds=0.3, size=100_000_000))
    big = json.dumps({"type": "custom", "data": {"x": "y" * 400_000}})
    async with serving(hub) as port, client(port, "slow") as socket:
        await hear(socket)
        transport = socket._conn.transport
        transport.pause_reading()
        for _ in range(80):
            hub.frame(Job("slow", client_id="slow"), "http://a", big)
        await _wait(lambda: hub.sockets == 0)
        transport.resume_reading()
        await hear(socket, 1)
        assert socket.close_code == 1008


async def test_who_has_too_much_waiting_is_cut_off_and_finds_the_end_of_its_job_later():
    hub = Hub(outbox=OutboxLimits(size=1_000_000))
    big = json.dumps({"type": "custom", "data": {"x": "y" * 400_000}})
    job = Job("mine")
    async with serving(hub) as port:
        async with client(port, "c") as socket:
            await hear(socket)
            for _ in range(10):
                hub.frame(job, "http://a", big)
            hub.ended(job, DELIVERED)
            await hear(socket, 1)
            assert socket.close_code == 1013
        await _wait(lambda: hub.sockets == 0)
        async with client(port, "c") as socket:
            assert types(await hear(socket))[-2:] == ["execution_success", "executing"]


async def test_a_socket_whose_key_is_disabled_is_cut_off_and_others_stay():
    good = {"a", "b"}
    hub = Hub(good=good.__contains__)
    async with serving(hub) as port:
        async with client(port, key="a") as first, client(port, key="b") as second:
            await hear(first)
            good.remove("a")
            message = await first.receive(timeout=5)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == 1008
            assert message.extra == "this key is no longer good"
            await hear(second)
            hub.queue_changed("")
            assert types(await hear(second)) == ["status"]
