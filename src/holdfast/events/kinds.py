"""What there is to tell: one frozen record for each thing a policy can do.

They hold no exception objects, frames, arguments or results.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """What all events have."""

    policy: str
    """Name of the policy or pipeline that speaks."""
    at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class CallSucceeded(Event):
    """A call through a pipeline ended with a result."""

    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CallFailed(Event):
    """A call through a pipeline ended with an error."""

    attempts: int
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """An attempt failed and another will follow."""

    attempt: int
    """The attempt that failed, from 1."""
    delay: float
    """Seconds until the next one."""
    error: str


@dataclass(frozen=True, slots=True)
class RetryStopped(Event):
    """A failure was not repeated, and why."""

    attempt: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class RetrySuppressed(Event):
    """The shared budget refused an extra call; the call itself ends as it would have anyway."""

    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class CircuitChanged(Event):
    """A breaker went from one state to another."""

    old: str
    new: str
    era: int
    reason: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class CircuitRejected(Event):
    """A breaker refused a call."""

    state: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class OutcomeDiscarded(Event):
    """A result came from an earlier era of a breaker and changed nothing."""

    era: int
    failed: bool


@dataclass(frozen=True, slots=True)
class TimedOut(Event):
    """A time limit ended an attempt or a call."""

    seconds: float
    kind: str
    """`running`, `idle` or `queued`."""


@dataclass(frozen=True, slots=True)
class WorkerAbandoned(Event):
    """A thread runs on after its time limit; it cannot be stopped from outside."""

    abandoned: int
    """How many there are now."""


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A bulkhead, rate limiter, load shedder or throttle refused a call."""

    reason: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class HedgeStarted(Event):
    """A call was slow, so another one was started beside it."""

    number: int
    after: float


@dataclass(frozen=True, slots=True)
class HedgeSuppressed(Event):
    """The shared budget refused a hedge."""

    number: int


@dataclass(frozen=True, slots=True)
class HedgeEnded(Event):
    """Which of the racing calls won, counted from 0; the others were cancelled."""

    winner: int
    started: int


@dataclass(frozen=True, slots=True)
class FallbackUsed(Event):
    """Something else was returned in place of a failed call's result."""

    target: str
    error: str


@dataclass(frozen=True, slots=True)
class TargetFailed(Event):
    """A target of a fallback chain failed or was skipped."""

    target: str
    error: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class CacheServed(Event):
    """A result came from the cache."""

    stale: bool
    age: float


@dataclass(frozen=True, slots=True)
class ChaosInjected(Event):
    """A fault was injected on purpose."""

    kind: str


@dataclass(frozen=True, slots=True)
class ResultDiscarded(Event):
    """A result was thrown away: a losing hedge, a late answer, a result that was retried."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Event):
    """New settings are in force."""

    pipelines: tuple[str, ...]


# -- recovery ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecoveryStarted(Event):
    """A recovery strategy began to act; others with the same trouble wait for how it ends."""

    strategy: str
    category: str
    detail: str
    """The error it is for, and the dependency."""


@dataclass(frozen=True, slots=True)
class RecoverySucceeded(Event):
    """A recovery strategy has acted, and its effect was verified."""

    strategy: str
    category: str
    seconds: float
    detail: str
    """What it changed, in words; may be empty."""


@dataclass(frozen=True, slots=True)
class RecoveryFailed(Event):
    """A recovery strategy failed, ran out of time, or its effect could not be verified."""

    strategy: str
    category: str
    seconds: float
    detail: str
    """Why."""
