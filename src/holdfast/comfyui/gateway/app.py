"""The gateway put together: ComfyUI's HTTP and WebSocket, our own interface, and a worker.

One process, one event loop, one port. What is accepted is on the disk before it is answered; what
runs is a worker's, and is joined by the next one if this process dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.durable import Worker
from holdfast.comfyui.gateway.access import Access
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.caller import Caller, Scope
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.hub import Hub
from holdfast.comfyui.gateway.keys import KeyStore, KeysUnavailableError
from holdfast.comfyui.gateway.rest import rest_app
from holdfast.comfyui.gateway.screening import Screening
from holdfast.comfyui.gateway.side import HttpSide
from holdfast.comfyui.status import ServerState
from holdfast.comfyui.workflow import Workflow
from holdfast.integrations.asgi import App
from holdfast.ports import ambient
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, StoredJob, StoreUnavailableError

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_SECONDS = 0.5
"""How often it is looked what other processes have done with the jobs."""
LOOK_BACK_SECONDS = 120.0
HEALTHY_SECONDS = 1.0
"""How long a write that went well proves that the store can be written."""
HANGS_SECONDS = 5.0
_HEALTH = "health"
"""The setting that is written to see whether it can be."""
_OVERLAP = 2.0
"""Seconds that are looked at again: two machines' clocks differ."""


class Gateway:
    """Everything between ComfyUI's clients and its servers. Belongs to one event loop.

    Args:
        store: the jobs.
        blobs: their files.
        comfy: the servers; entered and left by the gateway.
        exposure: who is let in.
        cache_folder: for what the servers know, kept over restarts.
        name: what this gateway's worker is called.
        works: whether it runs jobs itself; else `holdfast work` must.
        drain_seconds: how long running jobs may go on when it is stopped; what has not ended then
            runs on on its server, and is joined by the next start.
        turn_down: what the level of service makes of a workflow; see `Worker`.
        extend: adds what is served besides, such as the dashboard, before everything else is
            passed on to the servers.
    """

    def __init__(
        self,
        store: JobStore,
        blobs: BlobStore,
        comfy: ComfyUI,
        *,
        exposure: Exposure,
        cache_folder: Path,
        name: str = "gateway",
        works: bool = True,
        drain_seconds: float = 0.0,
        turn_down: Callable[[Workflow], tuple[Workflow, tuple[str, ...]]] | None = None,
        extend: Callable[[FastAPI, Gateway], None] | None = None,
    ) -> None:
        self.store, self.blobs, self.comfy = store, blobs, comfy
        self.keys = KeyStore(store.engine)
        self.hub = Hub(good=lambda key_id: self.keys.known(key_id) is not None)
        self.audit = AuditLog(store.engine)
        self.http = HttpSide(
            store,
            blobs,
            comfy,
            cache_folder=cache_folder,
            on_accepted=self._accepted,
            on_coming=self._coming,
            on_change=self._changed,
        )
        self.worker: Worker | None = None
        self._name, self._works, self._drain_seconds = name, works, drain_seconds
        self._exposure = exposure
        self._extend = extend
        self._turn_down = turn_down
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._written_at = float("-inf")

    def app(self) -> App:
        """What a server such as uvicorn serves."""
        inner = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=self._lifespan)
        if self._extend is not None:
            self._extend(inner, self)
        api = rest_app(
            self.store,
            self.comfy,
            self.keys,
            self.audit,
            on_accepted=self._threadsafe(self._came_by_rest),
            on_change=self._threadsafe(self._changed),
            intake=self.http.desk.intake,
            screening=Screening(self.http.desk),
            blobs=self.blobs,
        )
        # Before what was added: the dashboard takes all that is left of /holdfast.
        inner.router.routes[:0] = [
            WebSocketRoute("/ws", self.hub.serve),
            WebSocketRoute("/api/ws", self.hub.serve),
            Route("/holdfast/health", self._health),
            Mount("/holdfast/api", api),
        ]
        inner.router.routes += self.http.routes()
        return Access(inner, self.keys, self._exposure, self.audit)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        async with self.comfy:
            await self.http.start()
            waiting = await asyncio.to_thread(
                self.store.jobs,
                states=(JobState.QUEUED, JobState.RUNNING),
                limit=10_000,
                newest_first=False,
            )
            self.hub.accepted(*waiting)
            if self._works:
                self.worker = Worker(
                    self.comfy,
                    self.store,
                    self.blobs,
                    name=self._name,
                    relay=self.hub,
                    turn_down=self._turn_down,
                )
                self._tasks.append(asyncio.create_task(self._work(self.worker)))
            self._tasks.append(asyncio.create_task(self._watch()))
            self._tasks.append(asyncio.create_task(self._watch_keys()))
            try:
                yield
            finally:
                if self.worker is not None:
                    await self.worker.stop(self._drain_seconds)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self.hub.close()
                await self.http.close()
                await asyncio.to_thread(self.audit.close)

    async def _work(self, worker: Worker) -> None:
        while True:
            try:
                await worker.run()
            except Exception:
                log.exception("the worker failed, and is begun again")
                await asyncio.sleep(1.0)
            else:
                return

    async def _watch(self) -> None:
        """Tell clients of what happens to their jobs elsewhere: other workers, the command line."""
        # What ended shortly before the start may not have been heard by who waits for it.
        since = ambient.wall() - LOOK_BACK_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                ended = await asyncio.to_thread(self.store.ended_since, since - _OVERLAP)
                for job in ended:
                    if self.hub.is_over(job):
                        continue  # our own worker has told it
                    outcome = await asyncio.to_thread(self.store.outcome, job.id)
                    self.hub.ended(job, outcome or {"status": job.state.value})
            except StoreUnavailableError as error:
                log.warning("%s", error)
                continue
            if ended:
                since = max(since, ended[-1].ended or since)

    async def _watch_keys(self) -> None:
        """Keep the keys recent while sockets are open, for which nobody knocks again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.hub.sockets:
                with contextlib.suppress(KeysUnavailableError):
                    await asyncio.to_thread(self.keys.refresh_if_due)

    async def _health(self, request: Request) -> Response:
        """Whether jobs can be accepted; to who may know, how many there are, and servers too."""
        caller = getattr(request.state, "caller", None)
        trusted = isinstance(caller, Caller) and caller.can(Scope.VIEW)
        try:
            await self._can_write()
            counts = await asyncio.to_thread(self.store.counts)
        except (StoreUnavailableError, TimeoutError) as error:
            words = str(error) or "the store does not answer"
            return JSONResponse({"ok": False, **({"trouble": words} if trusted else {})}, 503)
        if not trusted:
            return JSONResponse({"ok": True})
        states = self.comfy.status()
        body: dict[str, Any] = {
            "ok": True,
            "queued": counts[JobState.QUEUED],
            "running": counts[JobState.RUNNING],
            "servers": len(states),
            "servers_up": sum(each.state is ServerState.UP for each in states),
        }
        return JSONResponse(body)

    async def _can_write(self) -> None:
        """Prove that the store takes something in, unless that was done a moment ago.

        Raises:
            StoreUnavailableError: it does not.
            TimeoutError: it hangs.
        """
        if ambient.now() - self._written_at < HEALTHY_SECONDS:
            return
        async with asyncio.timeout(HANGS_SECONDS):
            await asyncio.wrap_future(self.store.put_setting(_HEALTH, ambient.wall()))
        self._written_at = ambient.now()

    def _threadsafe(self, call: Callable[[T], None]) -> Callable[[T], None]:
        def soon(given: T) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(call, given)

        return soon

    def _coming(self) -> None:
        if self.worker is not None:
            self.worker.expect()

    def _accepted(self, job: StoredJob) -> None:
        if not job.state.ended:  # a request that came again may be answered with a job that is over
            self.hub.accepted(job)
        self.hub.queue_changed(job.user)
        if self.worker is not None:
            self.worker.expected()

    def _came_by_rest(self, job: StoredJob) -> None:
        self._accepted(job)
        if self.worker is not None:
            self.worker.nudge()

    def _changed(self, user: str) -> None:
        self.hub.queue_changed(user)
        if self.worker is not None:
            self.worker.nudge()
