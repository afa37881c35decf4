"""What a job is in the store, as values, and what can go wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import HoldfastError, RejectedError
from holdfast.machines.tenure import JobState

__all__ = [
    "Claim",
    "JobEvent",
    "JobFile",
    "JobState",
    "LeaseLostError",
    "NewFile",
    "NewJob",
    "QueueFullError",
    "Renewal",
    "StoreUnavailableError",
    "StoredJob",
    "Submitted",
    "Upload",
]


class StoreUnavailableError(HoldfastError):
    """The job store cannot be read or written now; as far as is known, nothing has been done.

    Where a server went away before it answered, it may have been done all the same. To ask again is
    safe: a job with the same id or key is not made twice, and one that has ended does not end again
    (`LeaseLostError`).
    """


class LeaseLostError(HoldfastError):
    """Somebody else has the job now: what this worker has to say of it counts no more."""


class QueueFullError(RejectedError):
    """There is no room for more jobs; nothing was accepted.

    Attributes:
        retry_after: seconds after which it is worth another try.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is to be accepted."""

    payload: Mapping[str, Any]
    """What to run, as JSON."""
    name: str = ""
    id: str = ""
    """One is made if it is empty."""
    key: str = ""
    """For idempotency: a user's second job with the same key is the first one."""
    user: str = ""
    order: str = ""
    """The batch it belongs to."""
    priority: int = 0
    """The higher goes first."""
    deadline: float | None = None
    """When it must be done, in seconds since 1970."""
    signature: str = ""
    """Jobs of one kind take about as long."""
    client_id: str = ""
    """Who wants to hear of it."""
    prompt: str = ""
    """What its picture is of, for search."""
    seed: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job that was accepted."""

    id: str
    number: int
    """The order of acceptance."""
    name: str
    key: str
    user: str
    order: str
    state: JobState
    priority: int
    deadline: float | None
    signature: str
    client_id: str
    prompt: str
    seed: str
    model: str
    created: float
    """Seconds since 1970, as all times here."""
    started: float | None
    """When it was last given to a worker."""
    ended: float | None
    tries: int
    """How many workers went away while they had it."""
    worker: str
    """Who has it, or had it last."""
    cancel: bool
    """Whether somebody asked for its end."""
    estimate: float | None
    """Seconds it is expected to take."""
    summary: str
    """How it ended, in one line."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a worker has sent to a server, or was about to: what it takes to find it again."""

    server: str
    """Its address."""
    prompt_id: str
    token: str
    client_id: str
    changed: bool = False
    """Whether the workflow that was sent is not the one that was accepted."""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker has for as long as its lease lasts."""

    job: StoredJob
    fence: int
    """Grows with each claim; what comes with an older one is refused."""
    payload: dict[str, Any]
    submissions: tuple[Submitted, ...] = ()
    """What earlier workers may have left on servers, the oldest first."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a worker learns when it renews its leases."""

    lost: frozenset[str]
    """Jobs that somebody else has, or that have ended."""
    cancelled: frozenset[str]
    """Jobs whose end was asked for."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that a job has made, and that lies in the blob store."""

    node: str
    filename: str
    """As its server called it; it gets a free name of the same make."""
    sha256: str
    size: int
    media_type: str
    subfolder: str = ""
    type: str = "output"
    width: int | None = None
    height: int | None = None
    suspect: str = ""


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job."""

    job: str
    node: str
    position: int
    filename: str
    subfolder: str
    type: str
    sha256: str
    size: int
    """Bytes."""
    media_type: str
    width: int | None
    """Pixels, for pictures."""
    height: int | None
    suspect: str
    """Why it may not be what was wanted; empty if nothing speaks for that."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of a job's story."""

    job: str
    seq: int
    at: float
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file a user has sent, by the name that workflows know it by."""

    user: str
    type: str
    subfolder: str
    filename: str
    sha256: str
    size: int
    at: float
