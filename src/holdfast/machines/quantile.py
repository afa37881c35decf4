"""Quantiles of durations without keeping the durations.

A sketch counts values in buckets whose borders grow by a constant factor, so
every quantile is right to within a relative `accuracy`, and sketches of many
processes add up to the sketch of all (DDSketch, VLDB 2019).

Laws:

- A quantile is within `accuracy` of the value at that rank, while the values span no
  more than `limit` buckets. Beyond that the *lowest* are lumped together: the
  slow end is what people ask about.
- Zero and less count as 0. NaN and the infinities are refused: they are no durations.
- Merging is the same as having added everything to one sketch.
- Not safe for concurrent use: callers guard a sketch with their own lock.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import ceil, exp, inf, log
from typing import Any

from holdfast.errors import BadInputError

_LARGEST_EXPONENT = log(sys.float_info.max)
_NONE_YET = -(1 << 62)


class LatencySketch:
    """Counts values in buckets of equal relative width."""

    __slots__ = ("_buckets", "_floor", "_highest", "_scale", "accuracy", "count", "limit", "zeros")

    accuracy: float
    """Relative error of a quantile: 0.01 is 1 %."""
    limit: int
    """Most buckets kept."""
    count: int
    """Values added."""
    zeros: int
    """How many of them were 0 or less."""

    def __init__(self, accuracy: float = 0.01, limit: int = 2048) -> None:
        if not 1e-4 <= accuracy < 1:
            raise BadInputError(f"accuracy must be from 0.0001 to below 1, got {accuracy}")
        if not limit >= 1:
            raise BadInputError(f"limit must be at least 1 bucket, got {limit}")
        self.accuracy = accuracy
        self.limit = limit
        self._scale = 1.0 / log((1.0 + accuracy) / (1.0 - accuracy))
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._buckets: dict[int, int] = {}
        self._highest = self._floor = _NONE_YET
        self.zeros = self.count = 0

    def add(self, value: float) -> None:
        """Count one value.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        if 0.0 < value < inf:
            index = ceil(log(value) * self._scale)
            if index > self._highest:
                self._rise(index)
            elif index < self._floor:
                index = self._floor
            buckets = self._buckets
            buckets[index] = buckets.get(index, 0) + 1
        elif -inf < value <= 0.0:
            self.zeros += 1
        else:
            raise BadInputError(f"value must be a finite number, got {value}")
        self.count += 1

    def quantile(self, q: float) -> float | None:
        """The value at rank `q * (count - 1)`, rounded down; None while empty."""
        return _at_rank((self,), q)

    def merge(self, other: LatencySketch) -> None:
        """Count everything `other` has counted, too.

        Raises:
            BadInputError: if the two differ in accuracy; their borders would not match.
        """
        if other.accuracy != self.accuracy:
            raise BadInputError(
                f"accuracy must be the same to merge, got {self.accuracy} and {other.accuracy}"
            )
        # The count is read first, so that merging a sketch with itself doubles it.
        zeros, count, added = other.zeros, other.count, list(other._buckets.items())
        if other._highest > self._highest:
            self._rise(other._highest)
        self._put(added)
        self.zeros += zeros
        self.count += count

    def to_dict(self) -> dict[str, Any]:
        """The sketch as JSON can hold it."""
        return {
            "accuracy": self.accuracy,
            "limit": self.limit,
            "zeros": self.zeros,
            "buckets": [[index, count] for index, count in sorted(self._buckets.items())],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatencySketch:
        """The sketch that `to_dict` described.

        Raises:
            BadInputError: if it did not describe one.
        """
        try:
            sketch = cls(float(data["accuracy"]), int(data["limit"]))
            zeros = int(data["zeros"])
            buckets = [(int(index), int(count)) for index, count in data["buckets"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInputError(f"not a sketch: {error!r}") from error
        if zeros < 0 or any(count < 1 for _, count in buckets):
            raise BadInputError("not a sketch: counts must not be negative")
        if buckets:
            sketch._rise(max(index for index, _ in buckets))
            sketch._put(buckets)
        sketch.zeros = zeros
        sketch.count = zeros + sum(count for _, count in buckets)
        return sketch

    def _put(self, added: list[tuple[int, int]]) -> None:
        buckets = self._buckets
        for index, count in added:
            kept = max(index, self._floor)
            buckets[kept] = buckets.get(kept, 0) + count

    def _rise(self, highest: int) -> None:
        """Make room at the slow end; what falls out at the fast end joins the new lowest."""
        self._highest = highest
        floor = highest - self.limit + 1
        fallen = [index for index in self._buckets if index < floor]
        self._floor = floor
        self._put([(index, self._buckets.pop(index)) for index in fallen])


class LiveQuantile:
    """Quantiles of recent values: of the last `seconds`, and at least of the last half of them."""

    __slots__ = ("_half", "_newer", "_older", "_until")

    def __init__(self, seconds: float = 300.0, accuracy: float = 0.02) -> None:
        if not 0 < seconds < inf:
            raise BadInputError(f"seconds must be above 0 and finite, got {seconds}")
        self._half = seconds / 2
        self._newer = LatencySketch(accuracy)
        self._older = LatencySketch(accuracy)
        self._until = -inf

    def add(self, now: float, value: float) -> None:
        """Count one value seen at `now`; NaN and the infinities are refused."""
        if now >= self._until:
            self._rotate(now)
        self._newer.add(value)

    def quantile(self, now: float, q: float) -> float | None:
        """The value at rank `q * (count - 1)` of the recent ones; None if there are none."""
        if now >= self._until:
            self._rotate(now)
        return _at_rank((self._newer, self._older), q)

    def count(self, now: float) -> int:
        """How many recent values there are."""
        if now >= self._until:
            self._rotate(now)
        return self._newer.count + self._older.count

    def _rotate(self, now: float) -> None:
        self._newer, self._older = self._older, self._newer
        self._newer.clear()
        if now >= self._until + self._half:
            self._older.clear()
            self._until = now + self._half
        else:
            self._until += self._half


def _at_rank(sketches: tuple[LatencySketch, ...], q: float) -> float | None:
    if not 0 <= q <= 1:
        raise BadInputError(f"q must be from 0 to 1, got {q}")
    count = sum(sketch.count for sketch in sketches)
    if not count:
        return None
    rank = int(q * (count - 1))
    if rank < sum(sketch.zeros for sketch in sketches):
        return 0.0
    buckets = sketches[0]._buckets  # noqa: SLF001 - this module's own
    for sketch in sketches[1:]:
        buckets = buckets.copy()
        for index, number in sketch._buckets.items():  # noqa: SLF001 - this module's own
            buckets[index] = buckets.get(index, 0) + number
    # People ask for the slow end, and there are fewer values to pass on the way.
    index = 0
    left = count - rank
    for index in sorted(buckets, reverse=True):
        left -= buckets[index]
        if left <= 0:
            break
    middle = index / sketches[0]._scale + log(1.0 - sketches[0].accuracy)  # noqa: SLF001
    return exp(min(middle, _LARGEST_EXPONENT))
