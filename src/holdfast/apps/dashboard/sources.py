"""What the pages show, as plain values, and who finds it and does what is asked: `DashboardSource`.

All times are seconds since 1970 unless they say otherwise. Every text here may come from a
stranger's job or server: it is shown as text, never as markup. Everything is bounded by whoever
makes it, so that a page never grows without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

STATES = ("queued", "running", "delivered", "failed", "cancelled")
"""The states of a job, in the order in which they are shown."""


class Tone(StrEnum):
    """What a value means, beside its words; each has a colour and a sign of its own."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class ServerView:
    """One server."""

    name: str
    state: str
    reason: str
    """Why it gets no jobs; empty if it does."""
    busy: int
    capacity: int
    foreign: int
    """Jobs of others in its queue."""
    done: int
    failed: int
    seconds: float | None
    """What its jobs take in the mean."""
    pace: float
    loaded: tuple[str, ...]
    breaker: str
    retry_in: float
    """Seconds until it is looked at again."""
    memory_used: int | None = None
    """Bytes of graphics memory."""
    memory_total: int | None = None
    doing: str = ""
    """The job and node it works on now."""
    progress: float | None = None
    """How far the node is, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job in a list."""

    id: str
    number: int
    name: str
    user: str
    state: str
    created: float
    started: float | None
    ended: float | None
    tries: int
    priority: int
    summary: str
    prompt: str = ""
    model: str = ""
    seed: str = ""
    estimate: float | None = None
    """Seconds it is expected to take."""
    cancelling: bool = False
    thumb: str = ""
    """The sha256 of a picture of it, empty if there is none."""

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, the newest first."""

    rows: tuple[JobRow, ...]
    counts: Mapping[str, int]
    """Jobs by state, of all pages."""
    older: int | None
    """The number before which the next page begins; None if this is the last."""


@dataclass(frozen=True, slots=True)
class StoryStep:
    """One thing that happened to a job."""

    at: float
    title: str
    words: str
    icon: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One try on one server."""

    number: int
    server: str
    seconds: float | None
    error: str
    """Why it came to nothing; empty for one that delivered."""
    recovery: str
    """What was done about it."""


@dataclass(frozen=True, slots=True)
class FileView:
    """A file that a job made."""

    filename: str
    node: str
    sha256: str
    size: int
    media_type: str
    width: int | None
    height: int | None
    suspect: str
    """Why it may not be what was wanted."""

    @property
    def is_picture(self) -> bool:
        """Whether a thumbnail can be made of it."""
        return self.media_type.startswith("image/") and "svg" not in self.media_type


@dataclass(frozen=True, slots=True)
class FailureView:
    """Why a job ended without its files."""

    kind: str
    message: str
    category: str
    node: str
    """The node's id and class."""
    traceback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything about one job."""

    row: JobRow
    deadline: float | None
    key: str
    order: str
    client_id: str
    worker: str
    story: tuple[StoryStep, ...]
    attempts: tuple[AttemptView, ...]
    degradations: tuple[str, ...]
    notes: tuple[str, ...]
    files: tuple[FileView, ...]
    failure: FailureView | None
    workflow: str
    """The graph as JSON, cut if it is long."""


@dataclass(frozen=True, slots=True)
class ErrorGroupView:
    """Errors that are the same trouble."""

    fingerprint: str
    type: str
    category: str
    severity: str
    sample: str
    count: int
    last_seen: float
    trend: str
    """A sentence, such as ``began 12 minutes ago, 40 an hour, rising``."""
    direction: str
    per_minute: tuple[int, ...]
    """Of the last hour, the oldest first."""
    dependencies: tuple[tuple[str, int], ...]
    done: tuple[tuple[str, int, int], ...] = ()
    """What was done about the kept ones: strategy, times tried, times it helped."""


@dataclass(frozen=True, slots=True)
class StrategyView:
    """One way to recover, and how often it helped."""

    name: str
    attempted: int
    successful: int
    seconds: float | None
    """What half of its attempts take no longer than."""

    @property
    def rate(self) -> float:
        """From 0 to 1."""
        return self.successful / self.attempted if self.attempted else 0.0


@dataclass(frozen=True, slots=True)
class ErrorsView:
    """All errors of this process."""

    total: int = 0
    per_minute: float = 0.0
    """Over the last hour."""
    categories: tuple[tuple[str, int], ...] = ()
    minutes: tuple[int, ...] = ()
    """Errors by the minute of the last hour, the oldest first."""
    groups: tuple[ErrorGroupView, ...] = ()
    recoveries: int = 0
    recovered: int = 0
    strategies: tuple[StrategyView, ...] = ()

    @property
    def recovery_rate(self) -> float | None:
        """From 0 to 1; None if nothing was attempted."""
        return self.recovered / self.recoveries if self.recoveries else None


@dataclass(frozen=True, slots=True)
class BreakerView:
    """One circuit breaker."""

    name: str
    state: str
    reason: str
    rules: str
    failures: int
    """In a row, until now."""
    openings: int
    """That are not yet forgotten."""
    retry_in: float | None
    """Seconds until a call may be admitted; None if nobody knows."""


@dataclass(frozen=True, slots=True)
class LevelView:
    """How much of the service is given."""

    level: str = "full"
    quality: float = 1.0
    features: str = "all"
    pinned: bool = False
    levels: tuple[tuple[str, float, str], ...] = ()
    """All there are: name, share of the quality, features."""
    scopes: tuple[tuple[str, str], ...] = ()
    """Dependencies with a level of their own."""
    changes: tuple[tuple[float, str, str], ...] = ()
    """The last ones, the newest first: when, what, why."""


@dataclass(frozen=True, slots=True)
class Series:
    """How jobs ended, by the minute, the oldest first."""

    minutes: tuple[float, ...] = ()
    """When each minute began."""
    delivered: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    p50: tuple[float | None, ...] = ()
    """Seconds from acceptance to delivery, None where nothing was delivered."""
    p95: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole, at one look."""

    counts: Mapping[str, int]
    paused: str | None
    """Why the queue is paused; None if it is not."""
    eta: float | None
    """Seconds until the queue is empty, if that is known."""
    series: Series = field(default_factory=Series)


class DashboardSource(Protocol):
    """Finds what the pages show and does what they ask. Called from the app's event loop.

    ``user`` is whose jobs may be seen or touched, None for everybody's: a job of another user is
    as one that is not there. Whether an action is allowed was asked before it comes here.
    """

    async def overview(self, user: str | None) -> Overview:
        """The whole, at one look."""
        ...

    async def servers(self) -> tuple[ServerView, ...]:
        """All servers."""
        ...

    async def jobs(
        self,
        user: str | None,
        *,
        state: str = "",
        search: str = "",
        before: int | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Some jobs: of a state, with a text in name, prompt, model or seed."""
        ...

    async def job(self, job_id: str, user: str | None) -> JobDetail | None:
        """One job."""
        ...

    async def owns_file(self, sha256: str, user: str | None) -> bool:
        """Whether a file of that content was made by a job that may be seen."""
        ...

    async def errors(self) -> ErrorsView:
        """All errors of this process."""
        ...

    async def breakers(self) -> tuple[BreakerView, ...]:
        """All circuit breakers, by name."""
        ...

    async def level(self) -> LevelView:
        """How much of the service is given."""
        ...

    # Actions: each says in a sentence what was done, and raises `BadInputError` if it cannot be.

    async def cancel(self, job_id: str, user: str | None) -> str:
        """End a job that waits or runs."""
        ...

    async def retry(self, job_id: str, user: str | None) -> str:
        """Queue a job again that failed or was cancelled."""
        ...

    async def retry_all(self, user: str | None) -> str:
        """Queue all dead letters again."""
        ...

    async def set_priority(self, job_id: str, priority: int, user: str | None) -> str:
        """Rank a job; higher comes first."""
        ...

    async def pause(self, reason: str) -> str:
        """Start no more jobs."""
        ...

    async def resume(self) -> str:
        """Start jobs again."""
        ...

    async def force_breaker(self, name: str, how: str) -> str:
        """Move a breaker by hand: ``open``, ``closed`` or ``reset``."""
        ...

    async def set_level(self, level: str, *, pinned: bool) -> str:
        """Give so much of the service, and keep it there if ``pinned``."""
        ...

    async def add_server(self, url: str) -> str:
        """Take a server into the pool."""
        ...

    async def remove_server(self, name: str) -> str:
        """Take a server out of the pool once it has finished its job."""
        ...
