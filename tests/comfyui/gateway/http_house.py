"""A gateway's HTTP side on a real socket, with stand-in servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.comfyui import ComfyUI
from holdfast.comfyui.durable import Worker
from holdfast.comfyui.gateway.side import HttpSide
from holdfast.comfyui.standin import StandIn
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobStore, StoredJob


@dataclass(frozen=True)
class Somebody:
    """A caller with a key."""

    user: str
    scopes: frozenset[str] = frozenset({"view", "run", "cancel"})

    def can(self, scope: str) -> bool:
        return scope in self.scopes


class ByHeader:
    """Takes the caller from a header, where the real one asks for a key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            user = Request(scope).headers.get("x-user")
            if user is not None:
                name, _, scopes = user.partition(":")
                given = frozenset(scopes.split(",")) if scopes else Somebody("").scopes
                scope.setdefault("state", {})["caller"] = Somebody(name, given)
        await self._app(scope, receive, send)


@dataclass
class House:
    """What a test has in hand."""

    side: HttpSide
    store: JobStore
    blobs: BlobStore
    comfy: ComfyUI
    client: httpx.AsyncClient
    url: str
    accepted: list[StoredJob] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """With a worker that does the jobs."""
        worker = Worker(self.comfy, self.store, self.blobs, name="test")
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            await worker.stop(5.0)
            await task

    async def ended(self, job_id: str, seconds: float = 30.0) -> dict[str, Any]:
        """The history entry of a job, once there is one."""
        async with asyncio.timeout(seconds):
            while True:
                found = (await self.client.get(f"/history/{job_id}")).json()
                if found:
                    return found[job_id]
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    servers: Sequence[StandIn | str],
    *,
    store: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[House]:
    """A gateway before ``servers``."""
    jobs = JobStore(folder / "jobs.db", **(store or {}))
    blobs = BlobStore(folder / "blobs")
    accepted: list[StoredJob] = []
    urls = [each if isinstance(each, str) else each.url for each in servers]
    async with ComfyUI(*urls) as comfy:
        side = HttpSide(
            jobs, blobs, comfy, cache_folder=folder / "cache", on_accepted=accepted.append, **more
        )
        await side.start()
        app = Starlette(routes=side.routes())
        app.add_middleware(ByHeader)
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=20.0) as client:
                yield House(side, jobs, blobs, comfy, client, url, accepted)
        finally:
            server.should_exit = True
            await task
            await side.close()
            jobs.close()
