"""How many extra calls, retries and hedges together, a dependency is sent.

Three tries for each call are help while one server blinks, and three times the
load while all of them are down. A budget ties the extra calls to the first
ones, over a window of time.

Laws:

- An extra call is allowed while fewer than `max(floor, ratio * calls)` were spent in the
  window; so low traffic still gets its few retries, and a storm gets its share only.
- A refusal spends nothing. What is spent comes back when the window has passed.
- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- Not safe for concurrent use: callers guard a budget with their own lock.
"""

from __future__ import annotations

from math import inf

from holdfast.errors import BadInputError
from holdfast.machines.window import RollingCounts

_CALLS = 0
_SPENT = 1
_BUCKETS = 10


class BudgetMachine:
    """A retry budget over a bucketed window of time."""

    __slots__ = ("_counts", "_floor", "_ratio")

    def __init__(
        self,
        ratio: float = 0.2,
        floor_per_second: float = 0.0,
        floor: float = 3,
        seconds: float = 10.0,
    ) -> None:
        """Start with an empty window.

        Args:
            ratio: extra calls allowed for each first call.
            floor_per_second: extra calls a second that are always allowed, on average.
            floor: extra calls in a window that are always allowed; the higher floor counts.
            seconds: how long the window is.
        """
        settings = (("ratio", ratio), ("floor_per_second", floor_per_second), ("floor", floor))
        for name, value in settings:
            if not 0 <= value < inf:
                raise BadInputError(f"{name} must be at least 0 and finite, got {value}")
        self._counts = RollingCounts(seconds, _BUCKETS, kinds=2)
        self._ratio = ratio
        self._floor = max(floor, floor_per_second * seconds)

    def deposit(self, now: float) -> None:
        """Count a first call, which earns its share of an extra one."""
        counts = self._counts
        if now >= counts.until:
            counts.advance(now)
        counts.totals[_CALLS] += 1
        counts.row[_CALLS] += 1

    def try_spend(self, now: float) -> bool:
        """Spend on one extra call; False if there is nothing left to spend."""
        counts = self._counts
        if now >= counts.until:
            counts.advance(now)
        totals = counts.totals
        calls, spent = totals
        if spent >= self._floor and spent >= self._ratio * calls:
            return False
        totals[_SPENT] = spent + 1
        counts.row[_SPENT] += 1
        return True

    def balance(self, now: float) -> float:
        """What is left: an extra call is allowed while this is above 0."""
        calls = self._counts.total(now, _CALLS)
        spent = self._counts.total(now, _SPENT)
        return max(0.0, max(self._floor, self._ratio * calls) - spent)
