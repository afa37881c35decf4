"""The circuit breaker's state machine: closed, open, half-open.

Laws:

- Time is an argument. `now` is any monotonic count of seconds; a `now` earlier
  than the last one seen counts as no time passed.
- Every permission is a *permit* that carries the era it was given in. An
  outcome from an earlier era changes nothing: a call that began before the
  breaker opened says nothing about the world after it.
- A probe in the half-open state is a lease. It ends as success, failure or
  abandoned, and expires by itself, so a hung probe never wedges the breaker.
- Not safe for concurrent use: callers guard a circuit with their own lock, or
  use it from one event loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.machines.backoff import exponential


class CircuitState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """When a circuit opens, for how long, and what closes it again."""

    failure_threshold: int = 5
    """Consecutive failures that open the circuit."""
    success_threshold: int = 1
    """Consecutive successful probes that close it."""
    open_seconds: float = 60.0
    """Seconds the first opening lasts."""
    open_growth: float = 2.0
    """Each opening without a success in between lasts this much longer."""
    open_maximum: float = 600.0
    """Seconds no opening exceeds."""
    half_open_max_calls: int = 1
    """Probes allowed at the same time while half-open."""
    probe_seconds: float = 600.0
    """Seconds after which an unanswered probe no longer counts as running."""

    def __post_init__(self) -> None:
        """Refuse settings with which the circuit could never open or never close, NaN included.

        Raises:
            ValueError: naming the field, its value and what is right.
        """
        for name in ("failure_threshold", "success_threshold", "half_open_max_calls"):
            if not (value := getattr(self, name)) >= 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("open_seconds", "open_maximum", "probe_seconds"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name} must be above 0 seconds, got {value}")
        if not self.open_growth >= 1:
            raise ValueError(f"open_growth must be at least 1, got {self.open_growth}")


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call."""

    era: int
    probe: int | None = None
    """The probe's number, or None for a call through a closed circuit."""


@dataclass(slots=True)
class Circuit:
    """One breaker's state. Starts closed."""

    settings: CircuitSettings = field(default_factory=CircuitSettings)
    era: int = 0
    """Counts the state changes; permits of another era are stale."""
    _state: CircuitState = CircuitState.CLOSED
    _failures: int = 0
    _successes: int = 0
    _openings: int = 0
    _open_until: float = 0.0
    _probes: dict[int, float] = field(default_factory=dict)
    _next_probe: int = 0
    _latest: float = float("-inf")

    def state(self, now: float) -> CircuitState:
        """The state at `now`; an open circuit whose time is up is half-open."""
        now = self._onwards(now)
        if self._state is CircuitState.OPEN and now >= self._open_until:
            self._enter(CircuitState.HALF_OPEN)
        return self._state

    def retry_after(self, now: float) -> float:
        """Seconds until `admit` may say yes; 0 if it may at once."""
        state, now = self.state(now), self._onwards(now)
        if state is CircuitState.OPEN:
            return self._open_until - now
        if state is CircuitState.HALF_OPEN and self._live_probes(now) >= (
            self.settings.half_open_max_calls
        ):
            return max(0.0, min(self._probes.values()) - now)
        return 0.0

    def admit(self, now: float) -> Permit | None:
        """A permit for one call, or None if the circuit refuses it."""
        state, now = self.state(now), self._onwards(now)
        if state is CircuitState.CLOSED:
            return Permit(self.era)
        if state is CircuitState.OPEN:
            return None
        if self._live_probes(now) >= self.settings.half_open_max_calls:
            return None
        self._next_probe += 1
        self._probes[self._next_probe] = now + self.settings.probe_seconds
        return Permit(self.era, self._next_probe)

    def success(self, permit: Permit, now: float) -> bool:
        """Record a good outcome; False if the permit was stale and nothing changed."""
        if not self._claim(permit, now):
            return False
        self._failures = 0
        if self._state is CircuitState.HALF_OPEN:
            self._successes += 1
            if self._successes >= self.settings.success_threshold:
                self._openings = 0
                self._enter(CircuitState.CLOSED)
        return True

    def failure(self, permit: Permit, now: float) -> bool:
        """Record a bad outcome; False if the permit was stale and nothing changed."""
        if not self._claim(permit, now):
            return False
        self._failures += 1
        if (
            self._state is CircuitState.HALF_OPEN
            or self._failures >= self.settings.failure_threshold
        ):
            self.trip(now)
        return True

    def abandon(self, permit: Permit, now: float) -> bool:
        """Give a permit back without an outcome: the call was cancelled or proved nothing."""
        return self._claim(permit, now)

    def close(self, now: float) -> None:
        """Close at once: whoever says so has seen it work."""
        self._onwards(now)
        self._openings = 0
        if self._state is not CircuitState.CLOSED:
            self._enter(CircuitState.CLOSED)

    def trip(self, now: float) -> None:
        """Open at once: one failure was proof enough."""
        settings = self.settings
        self._openings += 1
        self._open_until = self._onwards(now) + exponential(
            self._openings,
            initial=settings.open_seconds,
            base=settings.open_growth,
            maximum=settings.open_maximum,
        )
        self._enter(CircuitState.OPEN)

    def _claim(self, permit: Permit, now: float) -> bool:
        if permit.era != self.era:
            return False
        if permit.probe is None:
            return True
        lease = self._probes.pop(permit.probe, None)
        return lease is not None and lease > self._onwards(now)

    def _onwards(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest

    def _live_probes(self, now: float) -> int:
        for number in [n for n, until in self._probes.items() if until <= now]:
            del self._probes[number]
        return len(self._probes)

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self.era += 1
        self._failures = 0
        self._successes = 0
        self._probes.clear()
