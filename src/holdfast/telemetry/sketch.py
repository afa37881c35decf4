"""Quantiles of any numbers without keeping the numbers: DDSketch.

Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees" (VLDB 2019). Values are counted in buckets whose borders grow
by a constant factor. `holdfast.machines.quantile` has the smaller one, of durations
alone, that decisions are made with; this one takes negative numbers too and is reported.

Laws:

- A quantile is within ``accuracy`` of the value at that rank, relative to it, while no more
  than ``limit`` buckets are in use. Beyond that the lowest two become one: the high end,
  which people ask about, stays right.
- Merging is the same as having added everything to one sketch, in whatever order.
- NaN and the infinities are refused.
- Not safe for concurrent use: callers guard a sketch with their own lock.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from math import ceil, exp, inf, log
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies import checks

_LARGEST_EXPONENT = log(sys.float_info.max)
_SHIFT = 1 << 40
"""Lies beyond every index a float can have, so that one key tells sign and index, in order: the key
of a positive value is ``_SHIFT + index``, of its negative ``-(_SHIFT + index)``, of zero 0."""


class DDSketch:
    """Counts values in buckets of equal relative width."""

    __slots__ = ("_buckets", "_lowest", "_scale", "accuracy", "count", "limit", "maximum")

    accuracy: float
    """Relative error of a quantile: 0.01 is 1 %."""
    limit: int
    """Most buckets kept."""
    count: int
    """Values added."""
    maximum: float
    """The greatest of them, exactly; minus infinity while empty."""

    def __init__(self, accuracy: float = 0.01, limit: int = 2048) -> None:
        """Make an empty sketch.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.number("accuracy", accuracy, at_least=1e-4, at_most=0.5)
        checks.whole("limit", limit, at_least=1)
        self.accuracy = accuracy
        self.limit = limit
        self._scale = 1.0 / log((1.0 + accuracy) / (1.0 - accuracy))
        self._buckets: dict[int, int] = {}
        self._lowest: int | None = None
        """The lowest key, once all buckets are in use."""
        self.count = 0
        self.maximum = -inf

    def add(self, value: float) -> None:
        """Count one value.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        if 0.0 < value < inf:
            key = _SHIFT + ceil(log(value) * self._scale)
        elif value == 0.0:
            key = 0
        elif -inf < value < 0.0:
            key = -_SHIFT - ceil(log(-value) * self._scale)
        else:
            raise BadInputError(f"value must be a finite number, got {value}")
        buckets = self._buckets
        if key in buckets:
            buckets[key] += 1
        else:
            self._put(key, 1)
        self.count += 1
        self.maximum = max(self.maximum, value)

    def quantile(self, q: float) -> float | None:
        """The value at rank ``q * (count - 1)``, rounded down; None while empty.

        Raises:
            BadInputError: if ``q`` is not from 0 to 1.
        """
        found = self.quantiles((q,))
        return found[0] if found else None

    def quantiles(self, wanted: Iterable[float]) -> list[float]:
        """Several quantiles in one pass, in the order asked for; empty while the sketch is.

        Raises:
            BadInputError: if one of them is not from 0 to 1.
        """
        shares = list(wanted)
        for share in shares:
            checks.number("q", share, at_least=0, at_most=1)
        if not self.count:
            return []
        ranks = sorted({int(share * (self.count - 1)) for share in shares}, reverse=True)
        values: dict[int, float] = {}
        seen = 0
        for key in sorted(self._buckets):
            seen += self._buckets[key]
            while ranks and ranks[-1] < seen:
                values[ranks.pop()] = self._value(key)
        return [values[int(share * (self.count - 1))] for share in shares]

    def merge(self, other: DDSketch) -> None:
        """Count everything ``other`` has counted, too.

        Raises:
            BadInputError: if the two differ in accuracy or limit; the sum would be neither's.
        """
        if (other.accuracy, other.limit) != (self.accuracy, self.limit):
            raise BadInputError(
                "accuracy and limit must be the same to merge, got "
                f"{self.accuracy}, {self.limit} and {other.accuracy}, {other.limit}"
            )
        # Read first, so that merging a sketch with itself doubles it.
        count = other.count
        for key, number in list(other._buckets.items()):
            self._put(key, number)
        self.count += count
        self.maximum = max(self.maximum, other.maximum)

    def to_dict(self) -> dict[str, Any]:
        """The sketch as JSON can hold it."""
        return {
            "accuracy": self.accuracy,
            "limit": self.limit,
            "maximum": self.maximum if self.count else None,
            "buckets": [[key, number] for key, number in sorted(self._buckets.items())],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DDSketch:
        """The sketch that `to_dict` described.

        Raises:
            BadInputError: if it did not describe one.
        """
        try:
            sketch = cls(float(data["accuracy"]), int(data["limit"]))
            buckets = [(int(key), int(number)) for key, number in data["buckets"]]
            maximum = data["maximum"]
            sketch.maximum = -inf if maximum is None else float(maximum)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInputError(f"not a sketch: {error!r}") from error
        if any(number < 1 for _, number in buckets):
            raise BadInputError("not a sketch: counts must be above 0")
        if bool(buckets) != (sketch.maximum > -inf):
            raise BadInputError("not a sketch: a maximum without values, or none with them")
        for key, number in buckets:
            sketch._put(key, number)
            sketch.count += number
        return sketch

    def _put(self, key: int, number: int) -> None:
        buckets = self._buckets
        if key in buckets:
            buckets[key] += number
            return
        if self._lowest is not None:
            if key < self._lowest:
                buckets[self._lowest] += number
                return
            # The lowest bucket falls into the next one, whichever that is with the new key.
            fallen = buckets.pop(self._lowest)
            buckets[key] = number
            self._lowest = min(buckets)
            buckets[self._lowest] += fallen
            return
        buckets[key] = number
        if len(buckets) == self.limit:
            self._lowest = min(buckets)

    def _value(self, key: int) -> float:
        if key == 0:
            return 0.0
        index = abs(key) - _SHIFT
        middle = index / self._scale + log(1.0 - self.accuracy)
        size = exp(min(middle, _LARGEST_EXPONENT))
        # A bucket reaches past the greatest value in it; nobody believes a p99 above the maximum.
        return min(size, self.maximum) if key > 0 else min(-size, self.maximum)
