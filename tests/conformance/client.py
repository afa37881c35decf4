"""A bare HTTP client of a ComfyUI server: it hides nothing and repairs nothing."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.conformance.graphs import Graph
from tests.conformance.recorder import PATIENCE, Recorder, Run

MESSAGE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Its body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """Its body as JSON; it must say that it is JSON."""
        assert self.content_type == "application/json", (self.status, self.body[:300])
        return json.loads(self.body)


class Client:
    """Talks to one server, and opens recorded sockets to it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._sockets: list[Recorder] = []

    async def get(self, path: str, **params: str) -> Reply:
        """Send a GET request."""
        return await self._request("GET", path, params=params)

    async def post(self, path: str, **arguments: Any) -> Reply:
        """Send a POST request."""
        return await self._request("POST", path, **arguments)

    async def connect(self, client_id: str | None = None, *, path: str = "/ws") -> Recorder:
        """Open a socket under ``client_id`` (None: a new one), and wait for its first frame."""
        name = uuid.uuid4().hex if client_id is None else client_id
        params = {"clientId": name} if name else {}
        socket = await self._session.ws_connect(
            self.url + path, params=params, max_msg_size=MESSAGE_LIMIT
        )
        recorder = Recorder(socket, name)
        self._sockets.append(recorder)
        await recorder.wait_kind("status")
        return recorder

    async def submit(self, graph: Graph, **more: Any) -> dict[str, Any]:
        """Submit a graph that must be accepted, and return the answer."""
        reply = await self.post("/prompt", json={"prompt": graph} | more)
        assert reply.status == 200, reply.text
        return reply.json

    async def run(self, graph: Graph, socket: Recorder | None = None, **more: Any) -> Run:
        """Submit a graph, and follow it on ``socket`` (None: a new one) to its end."""
        recorder = socket or await self.connect()
        start = len(recorder.frames)
        answer = await self.submit(graph, client_id=recorder.client_id, **more)
        await recorder.wait_end(answer["prompt_id"], start)
        frames = tuple(recorder.frames[start:])
        return Run(answer["prompt_id"], answer["number"], frames)

    async def history(self, prompt_id: str) -> dict[str, Any]:
        """Return a job's history entry, waiting for it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = (await self.get(f"/history/{prompt_id}")).json
                if found:
                    assert set(found) == {prompt_id}
                    return found[prompt_id]
                await asyncio.sleep(0.02)

    async def queue(self) -> tuple[list[Any], list[Any]]:
        """Return the running and the pending items."""
        answer = (await self.get("/queue")).json
        assert set(answer) == {"queue_running", "queue_pending"}
        return answer["queue_running"], answer["queue_pending"]

    async def remaining(self) -> int:
        """Return how many jobs run or wait."""
        return (await self.get("/prompt")).json["exec_info"]["queue_remaining"]

    async def wait_running(self, prompt_id: str) -> None:
        """Wait until a job runs."""
        async with asyncio.timeout(PATIENCE):
            while True:
                if prompt_id in [item[1] for item in (await self.queue())[0]]:
                    return
                await asyncio.sleep(0.01)

    async def stop(self, prompt_id: str) -> None:
        """Interrupt a running job until it has ended.

        An interrupt between a job's leaving the queue and its first node is lost.
        """
        async with asyncio.timeout(PATIENCE):
            while prompt_id in [item[1] for item in (await self.queue())[0]]:
                await self.post("/interrupt", json={"prompt_id": prompt_id})
                await asyncio.sleep(0.02)

    async def drain(self) -> None:
        """Drop all waiting jobs, stop the running one, and wait until none is left."""
        async with asyncio.timeout(PATIENCE):
            while await self.remaining():
                await self.post("/queue", json={"clear": True})
                for item in (await self.queue())[0]:
                    await self.stop(item[1])

    async def close(self) -> None:
        """Close all sockets."""
        for recorder in self._sockets:
            await recorder.close()

    async def upload(self, name: str, content: bytes, **fields: str) -> Reply:
        """Upload a file as an image."""
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="image/png")
        for key, value in fields.items():
            form.add_field(key, value)
        return await self.post("/upload/image", data=form)

    async def _request(self, method: str, path: str, **arguments: Any) -> Reply:
        async with self._session.request(method, self.url + path, **arguments) as answer:
            return Reply(answer.status, answer.content_type, answer.headers, await answer.read())
