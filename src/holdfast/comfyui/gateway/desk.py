"""What the handlers of the gateway share: store, files, servers, and how to ask them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.intake import Intake
from holdfast.comfyui.gateway.limits import Shedding
from holdfast.comfyui.gateway.object_info import ObjectInfo
from holdfast.comfyui.server import Server
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs.records import NewJob, StoredJob
from holdfast.stores.jobs.store import JobStore

T = TypeVar("T")
P = ParamSpec("P")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may send or ask for."""

    prompt_bytes: int = 48 * 2**20
    """A body of `POST /prompt`."""
    upload_bytes: int = 100 * 2**20
    """An uploaded file, and any other body that is passed on."""
    history: int = 1_000
    """Jobs in an answer of `/history` to somebody who names no number."""
    queue: int = 500
    """Waiting jobs that `/queue` tells with their graphs; the others come without."""
    preview_pixels: int = 64_000_000
    """A larger picture gets no preview: it is decoded in memory."""


@dataclass(slots=True)
class Desk:
    """What all handlers have before them."""

    store: JobStore
    blobs: BlobStore
    comfy: ComfyUI
    info: ObjectInfo
    limits: Limits = field(default_factory=Limits)
    job_settings: Mapping[str, Any] = field(default_factory=dict)
    """For the ``settings`` of each job's payload."""
    fetches_models: bool = False
    """Whether a model that no server has may still be fetched."""
    on_accepted: Callable[[StoredJob], None] | None = None
    on_coming: Callable[[], None] | None = None
    """Called when a job is about to be accepted, while it is written."""
    on_change: Callable[[str], None] | None = None
    """Called with the user whose queue has changed otherwise by a request."""

    intake: Intake = field(init=False)
    """Who may have another job in the queue."""

    def __post_init__(self) -> None:
        """Count in the store."""
        self.intake = Intake(
            lambda user: own.open_jobs(self.store, user),
            Shedding(most=self.store.max_queued),
            lately=lambda user: own.accepted_lately(self.store, user),
        )

    def servers(self) -> list[Server]:
        """The servers there are now."""
        return self.comfy.servers

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have something that blocks done in a thread."""
        return await asyncio.to_thread(question, *args, **kwargs)

    async def written(self, future: Future[T]) -> T:
        """Wait until something is on the disk."""
        return await asyncio.wrap_future(future)

    async def taken(self, new: NewJob) -> StoredJob:
        """Have a job accepted; it is on the disk then.

        Raises:
            BadInputError: its id belongs to another job.
            QueueFullError: there is no room.
            StoreUnavailableError: it cannot be written now.
        """
        future = self.store.accept([new])
        if self.on_coming is not None:
            self.on_coming()
        (job,) = await self.written(future)
        return job

    def accepted(self, job: StoredJob) -> None:
        """Tell who wants to know that a job was accepted."""
        self.intake.landed(job.user)
        if self.on_accepted is not None:
            try:
                self.on_accepted(job)
            except Exception:
                log.exception("a listener failed on an accepted job")

    def changed(self, user: str) -> None:
        """Tell who wants to know that somebody's queue has changed."""
        if self.on_change is not None:
            try:
                self.on_change(user)
            except Exception:
                log.exception("a listener failed on a changed queue")
