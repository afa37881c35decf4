"""An ear stays open between runs, and only where nothing of the earlier run can come any more."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from holdfast.comfyui import messages
from holdfast.comfyui.address import Address
from holdfast.comfyui.ear import Closed, Ear, Spares
from holdfast.comfyui.server import Server


class Voices:
    """A server that says what the test wants to every socket."""

    def __init__(self):
        self.sockets: list[web.WebSocketResponse] = []
        self.opened = 0

    async def serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        self.sockets.append(socket)
        async for _frame in socket:
            pass
        self.sockets.remove(socket)
        return socket

    async def say(self, kind, **data):
        for socket in self.sockets:
            await socket.send_str(json.dumps({"type": kind, "data": data}))

    async def over(self, prompt_id):
        await self.say("executing", node=None, prompt_id=prompt_id)


@pytest.fixture
async def heard():
    """The voices, and spare ears on them."""
    voices, app = Voices(), web.Application()
    app.router.add_get("/ws", voices.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        spares = Spares(Server(Address.parse(f"http://127.0.0.1:{port}"), session))
        yield voices, spares
        await spares.close()
    await runner.cleanup()


async def finished(ear: Ear, prompt_id: str) -> None:
    while True:
        for each in await ear.listen(5):
            assert not isinstance(each, Closed)
            if each == messages.Finished(prompt_id):
                return


async def after_a_run(voices: Voices, spares: Spares) -> Ear:
    ear = await spares.take(previews=False)
    await ear.open("me")
    await voices.over("one")
    await finished(ear, "one")
    return ear


async def test_the_next_run_hears_on_the_same_socket_and_nothing_of_what_was_said_between(heard):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    assert ear.rest("one")
    await spares.give_back(ear)
    await voices.say("status", status={"exec_info": {"queue_remaining": 3}})
    await asyncio.sleep(0.05)
    again = await spares.take(previews=False)
    assert again is ear
    assert again.is_open
    assert again.client_id == "me"
    await voices.over("two")
    assert await again.listen(5) == [messages.Finished("two")]
    assert voices.opened == 1
    await again.close()


async def test_an_ear_that_has_not_heard_its_runs_end_does_not_rest(heard):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    await voices.say("execution_start", prompt_id="two")
    assert messages.Started("two") in await ear.listen(5)
    assert not ear.rest("one")
    assert not ear.rest("two")
    await ear.close()
    assert not ear.is_open


async def test_a_tap_hears_nothing_between_runs(heard):
    voices, spares = heard
    ear = await spares.take(previews=False)
    frames: list[str] = []
    ear.tap = frames.append
    await ear.open("me")
    await voices.over("one")
    await finished(ear, "one")
    ear.rest("one")
    before = len(frames)
    await voices.over("one")
    await asyncio.sleep(0.05)
    assert before == len(frames) == 1
    await ear.close()


async def test_a_socket_that_closed_meanwhile_is_not_used_again(heard):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    ear.rest("one")
    await spares.give_back(ear)
    await voices.sockets[0].close()
    await asyncio.sleep(0.1)
    assert not ear.is_open
    fresh = await spares.take(previews=False)
    assert fresh is not ear
    assert not fresh.is_open


@pytest.mark.parametrize(("believed", "previews"), [(0.0, False), (60.0, True)])
async def test_a_socket_idle_for_long_or_without_previews_is_not_used_again(
    heard, monkeypatch, believed, previews
):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    ear.rest("one")
    await spares.give_back(ear)
    monkeypatch.setattr("holdfast.comfyui.ear.FRESH_SECONDS", believed)
    assert await spares.take(previews=previews) is not ear
    assert not ear.is_open


async def test_a_socket_that_closes_during_the_next_run_is_told(heard):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    ear.rest("one")
    await spares.give_back(ear)
    again = await spares.take(previews=False)
    await voices.sockets[0].close()
    assert await again.listen(5) == [Closed()]
    await again.open("me")
    assert await again.listen(0.05) == []
    await again.close()


async def test_an_ear_that_comes_back_after_all_was_closed_is_closed_too(heard):
    voices, spares = heard
    ear = await after_a_run(voices, spares)
    assert ear.rest("one")
    await spares.close()
    await spares.give_back(ear)
    assert not ear.is_open
