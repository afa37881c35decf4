"""What a circuit gives out: its states' names, permits, probe leases, and a view of itself.

- A permit belongs to the era it was given in and to nothing else.
- A probe's number is given once in its era, so it is settled at most once.
- A lease ends when it is settled or when its time is up, whichever is first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CircuitState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    """Admits it."""
    OPEN = "open"
    """Refuses it, for a time."""
    HALF_OPEN = "half_open"
    """Admits it as a probe, if there is room for one."""
    FORCED_OPEN = "forced_open"
    """Refuses it until somebody says otherwise. By hand."""
    DISABLED = "disabled"
    """Admits it and counts nothing. By hand."""
    METRICS_ONLY = "metrics_only"
    """Admits it, and keeps account of what it would have done. By hand."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call."""

    era: int
    """The circuit's era when it was given; in any other era it is stale."""
    probe: int | None = None
    """The probe's number, or None for a call through a closed circuit."""
    shadow: bool = False
    """Whether only `metrics_only` let the call pass: a live breaker would have refused it."""


@dataclass(frozen=True, slots=True)
class CircuitSnapshot:
    """How a circuit stood at one moment."""

    state: CircuitState
    would_be: CircuitState
    """The state the rules alone lead to; differs from `state` only where that was set by hand."""
    reason: str
    """What led to the state, in words."""
    era: int
    failures: int
    """Consecutive failures on record."""
    calls: int
    """Calls in the window; 0 without a window."""
    failure_rate: float | None
    """Share of failed calls in the window, None while there are none."""
    slow_rate: float | None
    """Share of slow calls in the window, None while there are none."""
    openings: int
    """Openings not yet forgotten; the next one lasts accordingly."""
    retry_after: float
    """Seconds until a call may be admitted, `inf` when only somebody's hand can do that."""
    probes: int
    """Probes in flight."""


@dataclass(slots=True)
class ProbeLeases:
    """The probes of one half-open era."""

    _given: int = 0
    _until: dict[int, float] = field(default_factory=dict)

    def live(self, now: float) -> int:
        """Count the probes still running at `now`."""
        for number in [each for each, until in self._until.items() if until <= now]:
            del self._until[number]
        return len(self._until)

    def grant(self, until: float) -> int:
        """Begin a probe whose lease ends at `until`; return its number."""
        self._given += 1
        self._until[self._given] = until
        return self._given

    def renew(self, number: int, now: float, until: float) -> bool:
        """Let a live probe run until `until`; False if it is settled or expired."""
        if self._until.get(number, now) <= now:
            return False
        self._until[number] = until
        return True

    def runs(self, number: int, now: float) -> bool:
        """Whether a probe is neither settled nor expired."""
        return self._until.get(number, now) > now

    def settle(self, number: int, now: float) -> bool:
        """End a probe; False if it was settled before or has expired."""
        return self._until.pop(number, now) > now

    def room_at(self, room: int) -> float:
        """The moment at which fewer than `room` are left, if none is settled.

        There must be at least `room` live probes.
        """
        return sorted(self._until.values())[len(self._until) - room]
