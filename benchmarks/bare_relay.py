"""Relays to measure the gateway against: one that keeps nothing, and one that keeps the least.

The first hands on `POST /prompt` and the frames of the socket: what any Python process between
client and server costs. The second also does the least that can be called durable, with the
quickest means there are: a job is committed to a file of SQLite before it is sent on; and before
its end is told, its files are fetched, looked at and forced to the disk, and its end is committed.
It has no queue, no users, no leases, and finds nothing again. What the gateway takes above this is
what it does beyond.

Run with ``python -m benchmarks.bare_relay PORT SERVER [FOLDER]``; with a folder it keeps.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from PIL import Image


class Keeper:
    """The least that is durable. Belongs to one event loop, which it blocks."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._base = sqlite3.connect(folder / "jobs.db", isolation_level=None)
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=FULL")
        self._base.execute("CREATE TABLE job (id TEXT PRIMARY KEY, body TEXT, outputs TEXT)")

    def accept(self, job: str, body: str) -> None:
        """Commit a job."""
        self._base.execute("INSERT INTO job VALUES (?, ?, NULL)", (job, body))

    async def settle(self, session: aiohttp.ClientSession, server: str, job: str) -> None:
        """Bring a job's files home and commit its end."""
        async with session.get(f"{server}/history/{job}") as answer:
            outputs = (await answer.json())[job]["outputs"]
        for ref in (each for shown in outputs.values() for each in shown.get("images", ())):
            async with session.get(f"{server}/view", params=ref) as answer:
                content = await answer.read()
            Image.open(io.BytesIO(content)).load()
            self._keep(content)
        self._base.execute("UPDATE job SET outputs = ? WHERE id = ?", (json.dumps(outputs), job))

    def _keep(self, content: bytes) -> None:
        target = self._folder / hashlib.sha256(content).hexdigest()
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        handle = os.open(self._folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def relay(server: str, keeper: Keeper | None = None) -> web.Application:
    """What to serve before ``server``."""
    app = web.Application()

    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as app[_SESSION]:
            yield

    async def prompt(request: web.Request) -> web.Response:
        body = await request.read()
        if keeper is not None:
            job = str(uuid.uuid4())
            body = json.dumps({**json.loads(body), "prompt_id": job}).encode()
            keeper.accept(job, body.decode())
        how: dict[str, Any] = {"data": body, "headers": {"Content-Type": "application/json"}}
        async with request.app[_SESSION].post(f"{server}/prompt", **how) as answer:
            told = await answer.read()
            return web.Response(body=told, status=answer.status, content_type=answer.content_type)

    async def socket(request: web.Request) -> web.WebSocketResponse:
        before = web.WebSocketResponse()
        await before.prepare(request)
        url = f"{server}/ws?{request.query_string}"
        async with request.app[_SESSION].ws_connect(url) as behind:

            async def down() -> None:
                async for frame in behind:
                    if frame.type is not aiohttp.WSMsgType.TEXT:
                        await before.send_bytes(frame.data)
                        continue
                    job = ended(frame.data) if keeper is not None else None
                    if keeper is not None and job is not None:
                        await keeper.settle(request.app[_SESSION], server, job)
                    await before.send_str(frame.data)

            task = asyncio.create_task(down())
            async for _ in before:
                pass
            task.cancel()
        return before

    app.cleanup_ctx.append(session)
    app.router.add_post("/prompt", prompt)
    app.router.add_get("/ws", socket)
    return app


def ended(frame: str) -> str | None:
    """The job whose end a frame tells."""
    told = json.loads(frame)
    data = told.get("data") or {}
    return data.get("prompt_id") if told["type"] == "executing" and not data.get("node") else None


_SESSION = web.AppKey("session", aiohttp.ClientSession)

if __name__ == "__main__":
    keeper = Keeper(Path(sys.argv[3])) if len(sys.argv) > 3 else None
    web.run_app(relay(sys.argv[2], keeper), host="127.0.0.1", port=int(sys.argv[1]), print=None)
