"""Holding back calls to a server that refuses most of them, before they are sent.

The client-side throttle of Google's SRE book: of the last two minutes, compare
what was asked with what was accepted. While the server accepts at least one
in `k`, everything passes; below that the surplus is refused here, where it is
cheap, and just enough gets through to notice that things are better.

Laws:

- Time and chance are arguments; a `now` earlier than the last one seen counts as no time.
- A call counts when it is refused here or has its answer. Calls under way count as nothing
  yet: a hundred jobs of an hour are not a hundred refusals.
- The chance of refusal is `max(0, (requests - k * accepts) / (requests + 1))`, so it is
  never 1: no history shuts the door for good.
- Not safe for concurrent use: callers guard a throttle with their own lock.
"""

from __future__ import annotations

from math import inf

from holdfast.errors import BadInputError
from holdfast.machines.window import RollingCounts

_REQUESTS = 0
_ACCEPTS = 1
_BUCKETS = 12


class ThrottleMachine:
    """Refuses a share of the calls that grows with the share the server refuses."""

    __slots__ = ("_counts", "_k", "_minimum")

    def __init__(self, k: float = 2.0, seconds: float = 120.0, *, minimum: int = 0) -> None:
        """Start with an empty history.

        Args:
            k: calls asked for each one accepted that are still fine; at least 1.
            seconds: how far back it remembers.
            minimum: requests in that time before anything is refused: a few say little.
        """
        if not 1 <= k < inf:
            raise BadInputError(f"k must be at least 1 and finite, got {k}")
        if not minimum >= 0:
            raise BadInputError(f"minimum must be at least 0 requests, got {minimum}")
        self._k = k
        self._minimum = minimum
        self._counts = RollingCounts(seconds, _BUCKETS, kinds=2)

    def admit(self, now: float, chance: float) -> bool:
        """Whether to send this call. `chance` is a random number in [0, 1)."""
        counts = self._counts
        if now >= counts.until:
            counts.advance(now)
        requests, accepts = counts.totals
        surplus = requests - self._k * accepts
        if surplus <= 0 or requests < self._minimum or chance * (requests + 1) >= surplus:
            return True
        counts.totals[_REQUESTS] = requests + 1
        counts.row[_REQUESTS] += 1
        return False

    def answered(self, now: float, accepted: bool) -> None:  # noqa: FBT001 - hot path
        """Count a call that was sent: did the server take it on, well or badly?"""
        counts = self._counts
        if now >= counts.until:
            counts.advance(now)
        counts.totals[_REQUESTS] += 1
        counts.row[_REQUESTS] += 1
        if accepted:
            counts.totals[_ACCEPTS] += 1
            counts.row[_ACCEPTS] += 1

    def probability(self, now: float) -> float:
        """How likely the next call is to be refused, from 0 to below 1."""
        requests = self._counts.total(now, _REQUESTS)
        accepts = self._counts.total(now, _ACCEPTS)
        if requests < self._minimum:
            return 0.0
        return max(0.0, (requests - self._k * accepts) / (requests + 1))
