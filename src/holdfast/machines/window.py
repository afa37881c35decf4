"""What happened lately: counts over the last so many calls, or the last so many seconds.

Laws:

- Constant time and memory, whatever the traffic. Totals are kept, never summed up.
- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- A window of time forgets by whole buckets: what happened is remembered for at least
  `seconds * (1 - 1 / buckets)` and for less than `seconds`. A jump in time, however
  far, costs at most one step per bucket.
- Not safe for concurrent use: callers guard a window with their own lock.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from holdfast.errors import BadInputError

_FAILED = 1
_SLOW = 2


class Window(Protocol):
    """What both kinds of window can do."""

    def record(self, now: float, failed: bool, slow: bool) -> None:  # noqa: FBT001 - hot path
        """Count one finished call."""

    def calls(self, now: float) -> int:
        """Calls remembered."""

    def failures(self, now: float) -> int:
        """Calls remembered that failed."""

    def slow(self, now: float) -> int:
        """Calls remembered that were slow, failed or not."""

    def clear(self) -> None:
        """Forget everything."""


class RollingCounts:
    """Counts of several kinds of event over the last `seconds`, in a ring of buckets.

    The hot path of an owner is two additions, to `row` and to `totals`, after
    `if now >= until: advance(now)`.
    """

    __slots__ = ("_rows", "_tick", "_width", "row", "totals", "until")

    row: list[int]
    """Counts of the current bucket, one for each kind."""
    totals: list[int]
    """Counts of the whole window, one for each kind. True as of the last `advance`."""
    until: float
    """The moment at which the current bucket ends, in the caller's seconds."""

    def __init__(self, seconds: float, buckets: int, kinds: int) -> None:
        if not 0 < seconds < inf:
            raise BadInputError(f"seconds must be above 0 and finite, got {seconds}")
        if not buckets >= 1:
            raise BadInputError(f"buckets must be at least 1, got {buckets}")
        self._width = seconds / buckets
        self._rows = [[0] * kinds for _ in range(buckets)]
        self._tick = 0
        self.row = self._rows[0]
        self.totals = [0] * kinds
        self.until = -inf

    def advance(self, now: float) -> None:
        """Begin the bucket that `now` belongs to and forget those that are too old."""
        tick = int(now // self._width)
        rows, totals = self._rows, self.totals
        # Only the first `now` of all can lie before the tick it starts with.
        steps = min(abs(tick - self._tick), len(rows))
        for old in range(tick - steps + 1, tick + 1):
            row = rows[old % len(rows)]
            for kind, count in enumerate(row):
                totals[kind] -= count
                row[kind] = 0
        self._tick = tick
        self.row = rows[tick % len(rows)]
        self.until = (tick + 1) * self._width

    def total(self, now: float, kind: int) -> int:
        """How many events of this kind the window holds."""
        if now >= self.until:
            self.advance(now)
        return self.totals[kind]

    def clear(self) -> None:
        """Forget all counts; time stays where it is."""
        for row in (*self._rows, self.totals):
            row[:] = [0] * len(row)


class CountWindow:
    """The outcomes of the last `size` calls, however long ago they were."""

    __slots__ = ("_calls", "_failures", "_next", "_ring", "_slow")

    def __init__(self, size: int) -> None:
        if not size >= 1:
            raise BadInputError(f"size must be at least 1, got {size}")
        self._ring = bytearray(size)
        self._next = self._calls = self._failures = self._slow = 0

    def record(self, now: float, failed: bool, slow: bool) -> None:  # noqa: ARG002, FBT001 - as `Window`
        """Count one finished call; the oldest one makes room."""
        ring, at = self._ring, self._next
        # A place not used yet holds 0, so there is nothing to take away for it.
        outcome = (_FAILED if failed else 0) | (_SLOW if slow else 0)
        old = ring[at]
        if outcome != old:
            ring[at] = outcome
            self._failures += (outcome & _FAILED) - (old & _FAILED)
            self._slow += (outcome >> 1) - (old >> 1)
        if self._calls < len(ring):
            self._calls += 1
        at += 1
        self._next = at if at < len(ring) else 0

    def calls(self, now: float) -> int:  # noqa: ARG002 - as `Window`
        """Calls remembered, `size` at most."""
        return self._calls

    def failures(self, now: float) -> int:  # noqa: ARG002 - as `Window`
        """Calls remembered that failed."""
        return self._failures

    def slow(self, now: float) -> int:  # noqa: ARG002 - as `Window`
        """Calls remembered that were slow, failed or not."""
        return self._slow

    def clear(self) -> None:
        """Forget everything."""
        self._ring[:] = bytes(len(self._ring))
        self._next = self._calls = self._failures = self._slow = 0


class TimeWindow:
    """The outcomes of the last `seconds`, in `buckets` of equal width."""

    __slots__ = ("_counts",)

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self._counts = RollingCounts(seconds, buckets, kinds=3)

    def record(self, now: float, failed: bool, slow: bool) -> None:  # noqa: FBT001 - as `Window`
        """Count one finished call."""
        counts = self._counts
        if now >= counts.until:
            counts.advance(now)
        row, totals = counts.row, counts.totals
        row[0] += 1
        totals[0] += 1
        if failed:
            row[1] += 1
            totals[1] += 1
        if slow:
            row[2] += 1
            totals[2] += 1

    def calls(self, now: float) -> int:
        """Calls remembered."""
        return self._counts.total(now, 0)

    def failures(self, now: float) -> int:
        """Calls remembered that failed."""
        return self._counts.total(now, 1)

    def slow(self, now: float) -> int:
        """Calls remembered that were slow, failed or not."""
        return self._counts.total(now, 2)

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
