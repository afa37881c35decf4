"""What there is to tell: one frozen record for each thing a policy can do.

They hold no exception objects, frames, arguments or results.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What all events have."""

    policy: str
    """Name of the policy or pipeline that speaks."""
    at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class CallSucceeded(Occurrence):
    """A call through a pipeline ended with a result."""

    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CallFailed(Occurrence):
    """A call through a pipeline ended with an error."""

    attempts: int
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class RetryScheduled(Occurrence):
    """An attempt failed and another will follow."""

    attempt: int
    """The attempt that failed, from 1."""
    delay: float
    """Seconds until the next one."""
    error: str


@dataclass(frozen=True, slots=True)
class RetryStopped(Occurrence):
    """A failure was not repeated, and why."""

    attempt: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class RetrySuppressed(Occurrence):
    """The shared budget refused an extra call; the call itself ends as it would have anyway."""

    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class CircuitChanged(Occurrence):
    """A breaker went from one state to another."""

    old: str
    new: str
    era: int
    reason: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class CircuitRejected(Occurrence):
    """A breaker refused a call."""

    state: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class OutcomeDiscarded(Occurrence):
    """A result came from an earlier era of a breaker and changed nothing."""

    era: int
    failed: bool


@dataclass(frozen=True, slots=True)
class TimedOut(Occurrence):
    """A time limit ended an attempt or a call."""

    seconds: float
    kind: str
    """`running`, `idle` or `queued`."""


@dataclass(frozen=True, slots=True)
class WorkerAbandoned(Occurrence):
    """A thread runs on after its time limit; it cannot be stopped from outside."""

    abandoned: int
    """How many there are now."""


@dataclass(frozen=True, slots=True)
class Rejected(Occurrence):
    """A bulkhead, rate limiter, load shedder or throttle refused a call."""

    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class HedgeStarted(Occurrence):
    """A call was slow, so another one was started beside it."""

    number: int
    after: float


@dataclass(frozen=True, slots=True)
class HedgeSuppressed(Occurrence):
    """The shared budget refused a hedge."""

    number: int


@dataclass(frozen=True, slots=True)
class HedgeEnded(Occurrence):
    """Which of the racing calls won, counted from 0; the others were cancelled."""

    winner: int
    started: int


@dataclass(frozen=True, slots=True)
class FallbackUsed(Occurrence):
    """Something else was returned in place of a failed call's result."""

    target: str
    error: str


@dataclass(frozen=True, slots=True)
class TargetFailed(Occurrence):
    """A target of a fallback chain failed or was skipped."""

    target: str
    error: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class CacheServed(Occurrence):
    """A result came from the cache."""

    stale: bool
    age: float


@dataclass(frozen=True, slots=True)
class ChaosInjected(Occurrence):
    """A fault was injected on purpose."""

    kind: str


@dataclass(frozen=True, slots=True)
class ResultDiscarded(Occurrence):
    """A result was thrown away: a losing hedge, a late answer, a result that was retried."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Occurrence):
    """New settings are in force."""

    pipelines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DegradationChanged(Occurrence):
    """A service, or one dependency of it, was turned down or restored."""

    scope: str | None
    """The dependency, or None for the whole service."""
    old: str
    """Its own level before: `full`, `high`, `medium`, `low` or `minimal`."""
    new: str
    reason: str
    cause: str
    """What moved it: `hand`, `severity`, `error_rate`, `failures`, `latency`, `memory`,
    `memory_stalls` or `quiet`."""


# -- recovery ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecoveryStarted(Occurrence):
    """A recovery strategy began to act; others with the same trouble wait for how it ends."""

    strategy: str
    category: str
    detail: str
    """The error it is for, and the dependency."""


@dataclass(frozen=True, slots=True)
class RecoverySucceeded(Occurrence):
    """A recovery strategy has acted, and its effect was verified."""

    strategy: str
    category: str
    seconds: float
    detail: str
    """What it changed, in words; may be empty."""


@dataclass(frozen=True, slots=True)
class RecoveryFailed(Occurrence):
    """A recovery strategy failed, ran out of time, or its effect could not be verified."""

    strategy: str
    category: str
    seconds: float
    detail: str
    """Why."""


Event = (
    CallSucceeded
    | CallFailed
    | RetryScheduled
    | RetryStopped
    | RetrySuppressed
    | CircuitChanged
    | CircuitRejected
    | OutcomeDiscarded
    | TimedOut
    | WorkerAbandoned
    | Rejected
    | HedgeStarted
    | HedgeSuppressed
    | HedgeEnded
    | FallbackUsed
    | TargetFailed
    | CacheServed
    | ChaosInjected
    | ResultDiscarded
    | ConfigReloaded
    | DegradationChanged
    | RecoveryStarted
    | RecoverySucceeded
    | RecoveryFailed
)
"""Any of them. With this union a type checker sees whether a `match` forgets one."""
