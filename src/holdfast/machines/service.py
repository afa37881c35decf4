"""How long a piece of work takes: what is usual, and what covers most of it.

The estimate of TCP's retransmission timer (Jacobson, RFC 6298): a mean and a
mean deviation, both forgetting slowly. Work that always takes the same time has
no deviation, and then the two answers are the same.

Laws:

- Nothing is known before `warmup` durations; until then every answer is 0.
- A duration that is below 0, infinite or not a number is not learned.
- Not safe for concurrent use: callers guard an estimate with their own lock.
"""

from __future__ import annotations

from math import inf

from holdfast.errors import BadInputError


class ServiceTime:
    """Mean and deviation of durations, learned as they come."""

    __slots__ = ("_deviation", "_known", "_mean", "_memory", "_warmup")

    def __init__(self, warmup: int = 3, memory: int = 16) -> None:
        """Start with nothing learned.

        Args:
            warmup: durations before it answers.
            memory: durations it remembers, roughly; until then it is a plain mean.
        """
        if not warmup >= 1:
            raise BadInputError(f"warmup must be at least 1, got {warmup}")
        if not memory >= 1:
            raise BadInputError(f"memory must be at least 1, got {memory}")
        self._warmup = warmup
        self._memory = max(memory, warmup)
        self._known = 0
        self._mean = self._deviation = 0.0

    def learn(self, seconds: float) -> None:
        """Take one duration in."""
        if not 0.0 <= seconds < inf:
            return
        if self._known < self._memory:
            self._known += 1
        if self._known == 1:
            self._mean = seconds
            return
        off = seconds - self._mean
        self._mean += off / self._known
        self._deviation += (abs(off) - self._deviation) / self._known

    def learn_at_least(self, seconds: float) -> None:
        """Take in a duration that was cut short: it says something only above the mean."""
        if seconds > self._mean:
            self.learn(seconds)

    @property
    def known(self) -> bool:
        """Whether enough was learned to answer."""
        return self._known >= self._warmup

    @property
    def usual(self) -> float:
        """The mean, in seconds."""
        return self._mean if self.known else 0.0

    def most(self, deviations: float = 2.0) -> float:
        """The mean and so many deviations, in seconds.

        Two deviations cover nine in ten when durations are spread as widely as those of
        a Poisson process.
        """
        return self._mean + deviations * self._deviation if self.known else 0.0
