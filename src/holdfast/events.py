"""The one vocabulary in which every policy says what it did, and the hub that carries it.

- Events are frozen and hold no exception objects, frames, arguments or results.
- With no listener, nothing is built and nothing is sent: whoever emits asks
  `hub.active` first.
- A listener can neither slow down others by raising nor change a call: what it
  raises is handed to `hub.fault` and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


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


Listener = Callable[[Event], object]


class Subscription:
    """A listener's place in the hub; close it, or use it in a `with` block."""

    __slots__ = ("_hub", "_listener")

    def __init__(self, hub: Hub, listener: Listener) -> None:
        self._hub = hub
        self._listener: Listener | None = listener

    def close(self) -> None:
        """Hear no more."""
        if self._listener is not None:
            self._hub.remove(self._listener)
            self._listener = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Hub:
    """Carries every event to every listener, in the thread where it happens."""

    __slots__ = ("_listeners", "active", "fault")

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self.active = False
        """Whether anybody listens."""
        self.fault: Callable[[Listener, Event, Exception], object] = lambda *_: None
        """What is told of a listener that raised."""

    def add(self, listener: Listener) -> Subscription:
        """Tell ``listener`` every event from now on."""
        self._listeners = (*self._listeners, listener)
        self.active = True
        return Subscription(self, listener)

    def remove(self, listener: Listener) -> None:
        """Tell ``listener`` no more; nothing happens if it is unknown."""
        kept = list(self._listeners)
        for index, known in enumerate(kept):
            if known is listener:
                del kept[index]
                break
        self._listeners = tuple(kept)
        self.active = bool(kept)

    def emit(self, event: Event) -> None:
        """Tell everybody; never raises an `Exception`."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # a listener must never fail a call
                self.fault(listener, event, error)


hub = Hub()
"""The process's own."""


def listen(listener: Listener) -> Subscription:
    """Call ``listener`` with every event of every policy in this process, in the acting thread."""
    return hub.add(listener)
