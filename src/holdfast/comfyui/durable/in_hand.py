"""A job in a worker's hands: why it may be called off, what it notes down, what it leaves."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from holdfast.comfyui.diary import Entry
from holdfast.comfyui.durable.relay import Relay
from holdfast.stores.jobs import Claim, JobStore, StoreUnavailableError, Submitted

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is."""

    server: str = ""
    node_id: str = ""
    node_type: str = ""
    value: float = 0.0
    maximum: float = 0.0


class Stop(Enum):
    """Why a running job is called off."""

    NOT = auto()
    CANCEL = auto()
    """Somebody wants no more of it: it is taken back from its server."""
    LEAVE = auto()
    """This worker goes: what runs is left for the next one."""
    LOST = auto()
    """Another worker has it."""


class InHand:
    """One job in a worker's hands; its `Diary`."""

    def __init__(self, claim: Claim, store: JobStore, relay: Relay | None) -> None:
        self.claim = claim
        self.label = ""
        self.why = Stop.NOT
        self.begun = False
        """Its task has run: what is cancelled before that would give nothing back."""
        self.settling = False
        """Its end is being written: nothing calls it off any more."""
        self.task: asyncio.Task[None]
        self._store = store
        self._relay = relay

    @property
    def staying(self) -> bool:
        """What runs stays on its server, unless somebody asked for the job's end."""
        return self.why in (Stop.LEAVE, Stop.LOST)

    @property
    def earlier(self) -> list[Entry]:
        """What earlier workers have sent of it, the oldest first."""
        return [
            Entry(each.server, each.prompt_id, each.token, each.client_id, each.changed)
            for each in self.claim.submissions
        ]

    async def submitting(self, entry: Entry) -> None:
        """Keep what is about to be sent."""
        sent = Submitted(entry.server, entry.prompt_id, entry.token, entry.client_id, entry.changed)
        await asyncio.wrap_future(
            self._store.note_submission(self.claim.job.id, self.claim.fence, sent)
        )

    def heard(self, server: str, frame: str | bytes) -> None:
        """Pass it on."""
        if self._relay is not None:
            self._relay.frame(self.claim.job, server, frame)

    def call_off(self, why: Stop) -> None:
        """End the run; the first reason counts."""
        if self.why is Stop.NOT and not self.settling and not self.task.done():
            self.why = why
            if self.begun:
                self.task.cancel()


async def until_it_works(
    label: str, ask: Callable[[], Awaitable[T]], *, give_up: Callable[[], bool]
) -> T:
    """Ask the store again while it is in trouble: what is to be written is worth waiting for."""
    pause = 0.2
    while True:
        try:
            return await ask()
        except StoreUnavailableError as error:
            if give_up():
                raise
            log.warning("%s: how it ended cannot be written yet: %s", label, error)
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 2)


def folder_of(staging: Path, claim: Claim) -> Path:
    """Where a claim's files lie until they are adopted.

    Ids are chosen by clients, and one may begin with another, or differ in its case alone. So it
    is their hash: no job works in another's folder, or clears it away.
    """
    return staging / f"{hashlib.sha256(claim.job.id.encode()).hexdigest()[:32]}-{claim.fence}"


def clear(folder: Path) -> None:
    """Remove a job's folder, and those that killed workers left of the same job."""
    stem = folder.name.rpartition("-")[0]
    for each in folder.parent.glob(f"{stem}-*"):
        if each == folder or _fence(each) < _fence(folder):
            shutil.rmtree(each, ignore_errors=True)


def _fence(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
