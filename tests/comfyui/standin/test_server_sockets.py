"""WebSockets: greetings, flags, reconnecting, and everything that goes wrong with them."""

import json
import socket

import aiohttp
import pytest

from holdfast.comfyui.standin import Fault
from tests.comfyui.standin.tiny import graph, running, sampled

UPGRADE = (
    b"GET /ws?clientId=slow HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


async def test_the_greeting_names_the_socket():
    async with running() as client:
        async with client.ear("abc") as ear:
            assert ear.data("status") == [
                {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "abc"}
            ]
        async with client.ear(None) as ear:
            assert len(ear.data("status")[0]["sid"]) == 32


async def say(ear, *frames):
    for frame in frames:
        await ear.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))


@pytest.mark.parametrize(
    ("frames", "answered"),
    [
        ([FLAGS], True),
        (["no json", FLAGS], True),
        (["[]", FLAGS], True),
        ([{"type": "hello"}, FLAGS], False),
        ([FLAGS, FLAGS], True),
    ],
)
async def test_flags_are_answered_once_and_only_first(frames, answered):
    async with running() as client, client.ear() as ear:
        await say(ear, *frames)
        if answered:
            assert await ear.until("feature_flags") == {
                "supports_preview_metadata": True,
                "max_upload_size": 104857600,
            }
        assert await ear.silence()


async def test_previews_before_or_after_progress_by_flag():
    async with running() as client, client.ear() as ear, client.ear("modern") as modern:
        await say(modern, FLAGS)
        await modern.until("feature_flags")
        await client.submit(sampled(2, preview=True))
        await ear.until_done()
        await client.submit(sampled(2, preview=True, nonce=1), "modern")
        await modern.until_done()

        def steps(one):
            wanted = {"progress", "frame 1", "frame 4"}
            return [name for name, _ in one.heard if name in wanted]

        assert steps(ear) == ["progress", "frame 1"] * 2
        assert steps(modern) == ["frame 4", "progress"] * 2
        frame = modern.data("frame 4")[0]
        length = int.from_bytes(frame[4:8], "big")
        assert json.loads(frame[8 : 8 + length])["node_id"] == "2"
        assert frame[8 + length :].startswith(b"\xff\xd8")


async def test_reconnecting_in_the_middle_tells_the_node_without_prompt_id():
    async with running() as client:
        async with client.ear() as ear:
            await client.submit(sampled(40))
            await ear.until("progress")
        async with client.ear() as ear:
            assert await ear.until("executing") == {"node": "2"}
            assert "execution_success" in await ear.until_done()
        async with client.ear() as ear:
            assert await ear.silence()


async def test_the_newer_socket_hears_and_goes_deaf_when_the_older_closes():
    async with running() as client, client.ear("dup") as old, client.ear("dup") as new:
        await client.submit(sampled(1), "dup")
        assert "execution_success" in await new.until_done()
        assert await old.silence()
        await old.socket.close()
        prompt_id = await client.submit(sampled(1, nonce=1), "dup")
        await client.finished(prompt_id)
        assert await new.silence()
        await new.socket.ping()
        assert not new.socket.closed
        async with client.ear("dup") as third:
            await client.submit(sampled(1, nonce=2), "dup")
            assert "execution_success" in await third.until_done()


async def test_a_number_as_client_id_matches_no_socket():
    async with running() as client, client.ear("5") as ear:
        await client.finished(await client.submit(sampled(1), 5))
        while not await ear.silence():
            pass
        assert set(ear.names(progress=True)) == {"status"}


@pytest.mark.parametrize("client_id", [["a"], {"a": 1}])
async def test_a_list_or_object_as_client_id_ends_the_process(client_id):
    async with running() as client, client.ear() as ear:
        await client.submit(graph(), client_id)
        while (await ear.listen())[0] != "CLOSED":
            pass
        assert ear.socket.close_code == 1006
        await client.until(lambda: not client.server.alive)
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/prompt")


async def test_one_socket_that_does_not_read_stops_the_messages_of_all():
    # More than the socket buffers hold, so that the sender has to wait.
    fault = Fault("huge_error", job=1, bytes=20_000_000)
    async with running(fault) as client, client.ear("watcher") as ear:
        with socket.create_connection(("127.0.0.1", client.server.port)) as slow:
            slow.sendall(UPGRADE)
            assert slow.recv(12) == b"HTTP/1.1 101"
            await client.finished(await client.submit(graph(), "slow"))
            while not await ear.silence():
                pass
            ear.heard.clear()
            await client.finished(await client.submit(graph(width=9), "watcher"))
            assert await ear.silence()
            async with client.ear("new"):
                pass
        assert "execution_success" in await ear.until_done()
