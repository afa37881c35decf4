"""Which server is far off its peers, by what its jobs came to. Pure: outcomes in, a reason out.

Jobs fail for reasons of their own, on every server alike; only a server on
which far more of them fail than elsewhere is held to be the cause. A server
that is slow from the beginning is merely slow, and routing reckons with it; one
that has become slow, and is slow for its peers as well, is ill.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Ejection:
    """When a server is left out for its results, and for how long.

    Raises:
        BadInputError: naming the field, its value and what is right.
    """

    share: float = 0.5
    """At most this share of the servers is out at a time for its results; 0 turns it off."""
    outcomes: int = 5
    """Jobs a server must have had before it is judged."""
    failure_rate: float = 0.5
    """The share of its latest jobs that must have failed..."""
    failure_margin: float = 0.35
    """... and how much that must be above its peers'."""
    slow_factor: float = 4.0
    """How many times as slow it must be as it was, and as its peers are."""
    seconds: float = 15.0
    """How long the first ejection lasts."""
    growth: float = 1.35
    """Each further one in a row lasts so many times as long."""
    maximum: float = 900.0
    """Seconds no ejection exceeds."""

    def __post_init__(self) -> None:
        """Refuse what would eject everybody, or nobody for ever."""
        if not 0 <= self.share <= 1:
            raise BadInputError(f"share is {self.share!r}; it must be from 0 to 1")
        for name in ("failure_rate", "failure_margin"):
            if not 0 < getattr(self, name) <= 1:
                raise BadInputError(
                    f"{name} is {getattr(self, name)!r}; it must be above 0 and at most 1"
                )
        if not self.slow_factor > 1:
            raise BadInputError(f"slow_factor is {self.slow_factor!r}; it must be above 1")
        if self.outcomes < 1:
            raise BadInputError(f"outcomes is {self.outcomes!r}; it must be at least 1")
        if not 1 <= self.growth <= 10:
            raise BadInputError(f"growth is {self.growth!r}; it must be from 1 to 10")
        if not 0 < self.seconds <= self.maximum:
            raise BadInputError(
                f"seconds is {self.seconds!r}; it must be above 0 and at most maximum "
                f"({self.maximum:g})"
            )

    def lasts(self, times: int) -> float:
        """Seconds of the ``times``-th ejection in a row, counted from 1."""
        return min(self.maximum, self.seconds * self.growth ** min(times - 1, 60))

    def allows(self, out: int, servers: int) -> bool:
        """Whether one more may go while ``out`` of the servers are out already."""
        if self.share <= 0 or servers < 2:
            return False
        return out + 1 <= min(max(1, int(self.share * servers)), servers - 1)


@dataclass(slots=True)
class Record:
    """What a server's latest jobs came to."""

    outcomes: int = 0
    failing: float = 0.0
    """The share that failed, the newest counting most."""
    usual: float = 1.0
    """How its speed compares with all servers' in the long run."""
    lately: float = 1.0
    """The same for its latest jobs."""
    timed: int = 0
    reasons: list[str] = field(default_factory=list)
    """The last failures, in words."""

    def outcome(self, *, failed: bool, words: str = "") -> None:
        """A job came to its end there."""
        self.outcomes += 1
        share = max(1.0 / self.outcomes, 0.25)
        self.failing += share * (float(failed) - self.failing)
        if words:
            self.reasons = [*self.reasons[-2:], words]

    def took(self, ratio: float) -> None:
        """A job was delivered, in ``ratio`` times the seconds such a job usually takes."""
        ratio = min(max(ratio, 0.01), 100.0)
        self.timed += 1
        # What is usual follows slowly: a server that is slow all of a sudden must stand out.
        usual = ratio if self.timed <= 5 else min(ratio, 2 * self.usual)
        self.usual += max(1.0 / self.timed, 0.03) * (usual - self.usual)
        self.lately += max(1.0 / self.timed, 0.5) * (ratio - self.lately)


def judge(record: Record, peers: Iterable[Record], rule: Ejection) -> str | None:
    """Why a server should be left out, or None if it should not.

    Args:
        record: of the server in question.
        peers: of the others that are at work.
        rule: what is far off.
    """
    others = list(peers)
    if record.outcomes >= rule.outcomes and record.failing >= rule.failure_rate:
        known = [each.failing for each in others if each.outcomes >= 3]
        if known and record.failing - statistics.mean(known) >= rule.failure_margin:
            last = f" (the last: {record.reasons[-1]})" if record.reasons else ""
            return (
                f"{record.failing:.0%} of its latest jobs failed, where "
                f"{statistics.mean(known):.0%} fail elsewhere{last}"
            )
    if record.timed >= 2 * rule.outcomes and record.lately >= rule.slow_factor * record.usual:
        known = [each.lately for each in others if each.timed >= 3]
        if known and record.lately >= rule.slow_factor * statistics.median(known):
            return f"it has become {record.lately / record.usual:.1f} times as slow as it was"
    return None
