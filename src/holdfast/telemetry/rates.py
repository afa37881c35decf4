"""How often something happened lately: counts over any window, in constant time.

A ring for each resolution holds, for every bucket of time, how many events had come
before it. Counting a window is then one subtraction, and recording, while the current
bucket lasts, one addition, however many rings there are.

Laws:

- ``count(window, now)`` is at least the number of events in ``(now - window, now]`` and at
  most that of ``(now - window - width, now]``, where ``width`` is the bucket of the finest
  ring that reaches as far as the window: at most one bucket too many, never one too few.
- A ``now`` before the current bucket of the finest ring counts as its beginning, and what was
  recorded after ``now`` counts too: a clock that steps back hides nothing.
- An event in the past is counted where it belongs; one beyond the longest ring is in no window.
- Constant memory; a jump in time costs at most one step per bucket.
- Not safe for concurrent use: callers guard it with their own lock.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from math import inf

from holdfast.errors import BadInputError
from holdfast.policies import checks

MINUTES_AND_HOURS = ((1.0, 120), (60.0, 180), (3600.0, 400))
"""Two minutes by the second, three hours by the minute, sixteen days by the hour."""


class Rates:
    """Counts events in rings of buckets at several resolutions.

    The hot path of an owner is ``if until > at >= since: total += 1`` or else `record`.
    """

    __slots__ = ("_rings", "reach", "since", "total", "until")

    total: int
    """Events within reach, and some that are beyond it by now."""
    since: float
    """When the current bucket of the finest ring began, in the caller's seconds."""
    until: float
    """When it ends."""
    reach: float
    """The longest window, in seconds."""

    def __init__(self, resolutions: tuple[tuple[float, int], ...] = MINUTES_AND_HOURS) -> None:
        """Make rings of ``(width in seconds, buckets)``, the finest first.

        Raises:
            BadInputError: if there is none, or one has borders that the one before has not.
        """
        previous_width = previous_reach = 0.0
        for width, buckets in resolutions:
            checks.seconds("width", width)
            checks.whole("buckets", buckets, at_least=1)
            if width * buckets <= previous_reach or (previous_width and width % previous_width):
                raise BadInputError(
                    "resolutions must grow in reach, each width a multiple of the one before, "
                    f"got {resolutions}"
                )
            previous_width, previous_reach = width, width * buckets
        if not resolutions:
            raise BadInputError("resolutions must name at least one (width, buckets)")
        self._rings = [_Ring(width, buckets) for width, buckets in resolutions]
        self.reach = previous_reach
        self.total = 0
        self.since, self.until = inf, -inf

    def record(self, at: float) -> None:
        """Count one event at ``at``, in seconds of whatever clock the caller keeps to."""
        if at >= self.until:
            self._advance(at)
        elif at < self.since:
            for ring in self._rings:
                ring.count_late(at)
        self.total += 1

    def count(self, window: float, now: float) -> int:
        """Events in the last ``window`` seconds; see the laws for how exact that is.

        Raises:
            BadInputError: if ``window`` is not above 0 and at most `reach`.
        """
        ring = self._ring_for(window)
        now = self._seen(now)
        return self.total - ring.before(now - window)

    def rate(self, window: float, now: float) -> float:
        """Events per second over the last ``window`` seconds.

        Raises:
            BadInputError: if ``window`` is not above 0 and at most `reach`.
        """
        return self.count(window, now) / window

    def covered(self, window: float, now: float) -> float:
        """How many seconds `count` really looks at: ``window`` and up to one bucket more.

        Raises:
            BadInputError: if ``window`` is not above 0 and at most `reach`.
        """
        ring = self._ring_for(window)
        now = self._seen(now)
        return now - (now - window) // ring.width * ring.width

    def series(self, width: float, now: float) -> list[int]:
        """Counts of all buckets of the ring of that ``width``, the oldest first.

        Raises:
            BadInputError: if there is no ring of that width.
        """
        for ring in self._rings:
            if ring.width == width:
                self._seen(now)
                return ring.counts(self.total)
        raise BadInputError(f"width must be one of {[ring.width for ring in self._rings]} seconds")

    def _ring_for(self, window: float) -> _Ring:
        checks.number("window", window, above=0, at_most=self.reach, unit="seconds")
        for ring in self._rings:
            if window <= ring.reach:
                return ring
        raise AssertionError("the longest ring reaches as far as any window")

    def _seen(self, now: float) -> float:
        if now >= self.until:
            self._advance(now)
        return max(now, self.since)

    def _advance(self, now: float) -> None:
        for ring in self._rings:
            ring.advance(now, self.total)
        finest = self._rings[0]
        self.since = finest.tick * finest.width
        self.until = (finest.tick + 1) * finest.width


class _Ring:
    """For each of the last ``buckets`` + 1 ticks, how many events came before it began."""

    __slots__ = ("_before", "_begun", "reach", "tick", "width")

    def __init__(self, width: float, buckets: int) -> None:
        self.width = width
        self.reach = width * buckets
        # One more than a window spans, as the current bucket has only begun.
        self._before = array("q", bytes(8 * (buckets + 1)))
        self._begun = False
        self.tick = 0

    def advance(self, now: float, total: int) -> None:
        tick = int(now // self.width)
        before = self._before
        if not self._begun:
            self._begun = True
            self.tick = tick
        elif tick > self.tick:
            size = len(before)
            for new in range(max(self.tick + 1, tick - size + 1), tick + 1):
                before[new % size] = total
            self.tick = tick

    def count_late(self, at: float) -> None:
        """Make room for an event that belongs to an earlier bucket, or to the current one."""
        before, size = self._before, len(self._before)
        first = max(int(at // self.width) + 1, self.tick - size + 1)
        for later in range(first, self.tick + 1):
            before[later % size] += 1

    def before(self, moment: float) -> int:
        """How many events came before the bucket that ``moment`` lies in."""
        size = len(self._before)
        tick = min(max(int(moment // self.width), self.tick - size + 1), self.tick)
        return self._before[tick % size]

    def counts(self, total: int) -> list[int]:
        size = len(self._before)
        ticks = range(self.tick - size + 1, self.tick + 1)
        edges = [self._before[tick % size] for tick in ticks] + [total]
        return [after - before for before, after in pairwise(edges)]
