"""`HttpSide`: everything of ComfyUI's HTTP interface, as routes for a Starlette application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.desk import Desk, Limits
from holdfast.comfyui.gateway.exchange import (
    Handler,
    allowed,
    answer,
    answered,
    raw_answer,
    unavailable,
)
from holdfast.comfyui.gateway.file_routes import FileRoutes
from holdfast.comfyui.gateway.job_routes import JobRoutes
from holdfast.comfyui.gateway.object_info import ObjectInfo
from holdfast.comfyui.gateway.passage import METHODS, Passage
from holdfast.comfyui.gateway.prompt_routes import PromptRoutes
from holdfast.comfyui.gateway.queue_routes import QueueRoutes
from holdfast.comfyui.gateway.userdata_routes import UserData
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs.records import StoredJob
from holdfast.stores.jobs.store import JobStore

UPLOADS_SHOWN = 500
"""Uploaded files that are offered where the page lets one choose a file."""


class HttpSide:
    """The HTTP side of the gateway. Belongs to one event loop.

    Args:
        store: where jobs are taken in.
        blobs: where files are.
        comfy: the pool of servers, entered already when `start` is called.
        cache_folder: for what the servers know, kept over restarts.
        limits: how much a client may send or ask for.
        job_settings: the ``settings`` of each job's payload.
        fetches_models: whether models that no server has may still be fetched; if so, a prompt
            is not refused for one.
        on_accepted: called with each job that was accepted, when it is on the disk.
        on_coming: called when a job is about to be accepted, while it is written.
        on_change: called with the user whose queue was changed otherwise by a request.
    """

    def __init__(
        self,
        store: JobStore,
        blobs: BlobStore,
        comfy: ComfyUI,
        *,
        cache_folder: Path,
        limits: Limits | None = None,
        job_settings: Mapping[str, Any] | None = None,
        fetches_models: bool = False,
        on_accepted: Callable[[StoredJob], None] | None = None,
        on_coming: Callable[[], None] | None = None,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self.info = ObjectInfo(lambda: comfy.servers, cache_folder / "object_info")
        self.desk = Desk(
            store,
            blobs,
            comfy,
            self.info,
            limits or Limits(),
            job_settings or {},
            fetches_models,
            on_accepted=on_accepted,
            on_coming=on_coming,
            on_change=on_change,
        )
        self._passage = Passage(self.desk)

    async def start(self) -> None:
        """Begin to serve: read what was kept, and ask the servers what they know."""
        await self._passage.start()
        await self.info.start()

    async def close(self) -> None:
        """Let go of connections and tasks."""
        await self.info.close()
        await self._passage.close()

    async def remaining(self, user: str = "") -> int:
        """How many of a user's jobs wait or run: ComfyUI's ``queue_remaining``."""
        return await self.desk.ask(own.open_jobs, self.desk.store, user)

    def routes(self) -> list[Route]:
        """All routes, each under ``/x`` and ``/api/x``; the last passes on whatever is left."""
        queue = QueueRoutes(self.desk)
        listed = [
            *PromptRoutes(self.desk).listed(),
            *queue.listed(),
            *JobRoutes(self.desk, queue).listed(),
            *FileRoutes(self.desk, self._passage).listed(),
            *UserData(self.desk).listed(),
            ("GET", "/object_info", self.get_object_info),
            ("GET", "/object_info/{name:path}", self.get_class_info),
        ]
        routes = [
            _route(f"{prefix}{path}", handler, [method])
            for method, path, handler in listed
            for prefix in ("", "/api")
        ]
        return [*routes, _route("/{path:path}", self._passage.handle, list(METHODS))]

    async def get_object_info(self, request: Request) -> Response:
        """Describe all node classes of all servers."""
        caller = allowed(request, "view")
        await self.info.refresh()
        text = await self.info.text(await self._uploads(caller.user))
        if text is None:
            return unavailable("No ComfyUI server has answered yet", retry_after=5.0)
        return raw_answer(text)

    async def get_class_info(self, request: Request) -> Response:
        """Describe one node class."""
        caller = allowed(request, "view")
        await self.info.refresh()
        found = await self.info.one(request.path_params["name"], await self._uploads(caller.user))
        if found is None:
            return unavailable("No ComfyUI server has answered yet", retry_after=5.0)
        return answer(found)

    async def _uploads(self, user: str) -> list[str]:
        found = await self.desk.ask(self.desk.store.uploads, user, UPLOADS_SHOWN)
        return [
            f"{each.subfolder}/{each.filename}" if each.subfolder else each.filename
            for each in found
            if each.type == "input"
        ]


def _route(path: str, handler: Handler, methods: list[str]) -> Route:
    return Route(path, answered(handler), methods=methods)
