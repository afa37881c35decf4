"""What is a normal duration for this piece of work, learned from the work itself.

A fixed limit for "slow" is wrong for somebody: 75 seconds are normal for a
picture and a catastrophe for a lookup. This keeps a running estimate of the
usual duration, and calls slow what takes several times as long.

Laws:

- Nothing is slow before `warmup` durations are known. A constant duration never is.
- One sample moves the estimate by at most `pace * reach`, in logarithms: by a fixed
  small share, however slow it was. While fewer than half are slow the estimate stays
  near the usual duration; what most samples agree on becomes usual in the end.
- Durations below `least` seconds all count as `least`: noise is no slowness.
- Not safe for concurrent use: callers guard a baseline with their own lock.
"""

from __future__ import annotations

from math import exp, inf, log

from holdfast.errors import BadInputError


class SlowBaseline:
    """Learns the usual duration of one piece of work and tells what is slow beside it."""

    __slots__ = ("_centre", "_factor", "_first", "_least", "_limit", "_pace", "_reach", "_warmup")

    def __init__(
        self,
        factor: float = 3.0,
        warmup: int = 20,
        *,
        pace: float = 0.05,
        reach: float = 0.25,
        least: float = 0.001,
    ) -> None:
        """Start knowing nothing.

        Args:
            factor: times the usual duration beyond which a call is slow.
            warmup: samples needed before anything is slow.
            pace: share of the way to a sample that the estimate goes; above 0, at most 1.
            reach: how far away a sample counts, as a logarithm: 0.25 is 28 %.
            least: seconds below which durations are not told apart.
        """
        if not 1 < factor < inf:
            raise BadInputError(f"factor must be above 1 and finite, got {factor}")
        if not 1 <= warmup <= 10_000:
            raise BadInputError(f"warmup must be from 1 to 10000 samples, got {warmup}")
        if not 0 < pace <= 1:
            raise BadInputError(f"pace must be above 0 and at most 1, got {pace}")
        for name, value in (("reach", reach), ("least", least)):
            if not 0 < value < inf:
                raise BadInputError(f"{name} must be above 0 and finite, got {value}")
        self._factor = factor
        self._warmup = warmup
        self._pace = pace
        self._reach = reach
        self._least = least
        self._first: list[float] = []
        self._centre = 0.0
        self._limit = inf

    def is_slow(self, seconds: float) -> bool:
        """Whether a call of this duration took much longer than usual."""
        return seconds > self._limit

    def learn(self, seconds: float) -> None:
        """Take one duration into account, slow or not.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        if not -inf < seconds < inf:
            raise BadInputError(f"seconds must be a finite number, got {seconds}")
        sample = log(max(self._least, seconds))
        if self._limit == inf:
            self._begin(sample)
            return
        away = sample - self._centre
        reach = self._reach
        if away > reach:
            away = reach
        elif away < -reach:
            away = -reach
        if away:
            self._centre += self._pace * away
            self._limit = self._factor * exp(self._centre)

    def expected(self) -> float | None:
        """The usual duration in seconds; None until `warmup` samples are known."""
        return None if self._limit == inf else exp(self._centre)

    def _begin(self, sample: float) -> None:
        self._first.append(sample)
        if len(self._first) >= self._warmup:
            first = sorted(self._first)
            middle = len(first) // 2
            # The median; `statistics` would bring `random` and half a dozen others along.
            self._centre = (first[middle] + first[~middle]) / 2
            self._limit = self._factor * exp(self._centre)
            self._first.clear()
