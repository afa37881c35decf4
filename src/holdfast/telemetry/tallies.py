"""How long calls took and what recoveries came to, by name, in bounded memory.

Laws:

- At most ``limit`` names are told apart; what comes under any further one is counted as
  `OTHER`.
- Not safe for concurrent use: callers guard a tally with their own lock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import ErrorCategory
from holdfast.machines.quantile import LatencySketch
from holdfast.telemetry.groups import OTHER

LIMIT = 200
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Durations:
    """Durations as a sketch, and the longest of them exactly."""

    __slots__ = ("_sketch", "longest")

    def __init__(self) -> None:
        self._sketch = LatencySketch()
        self.longest = 0.0
        """In seconds."""

    @property
    def count(self) -> int:
        """How many there were."""
        return self._sketch.count

    def add(self, seconds: float) -> None:
        """Count one.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        self._sketch.add(seconds)
        self.longest = max(self.longest, seconds)

    def percentiles(self) -> dict[str, float]:
        """``p50``, ``p90``, ``p95``, ``p99``, ``max``, in seconds; empty where there were none."""
        told = {name: self._sketch.quantile(share) for name, share in _QUANTILES.items()}
        # A bucket reaches past the longest in it; nobody believes a p99 above the maximum.
        known = {name: min(each, self.longest) for name, each in told.items() if each is not None}
        return known and {**known, "max": self.longest}


class Latencies:
    """The durations of each dependency."""

    __slots__ = ("_durations", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._durations: dict[str, Durations] = {}

    def add(self, dependency: str, seconds: float) -> None:
        """Count one duration.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        durations = self._durations.get(dependency)
        if durations is None:
            durations = self._made(dependency)
        durations.add(seconds)

    def _made(self, dependency: str) -> Durations:
        if len(self._durations) >= self.limit:
            dependency = OTHER
        return self._durations.setdefault(dependency, Durations())

    def percentiles(self, dependency: str) -> dict[str, float]:
        """Of one dependency; empty where nothing was seen."""
        known = self._durations.get(dependency)
        return {} if known is None else known.percentiles()

    def told(self) -> dict[str, dict[str, float]]:
        """Count and percentiles of each dependency."""
        return {
            name: {"count": each.count, **each.percentiles()}
            for name, each in sorted(self._durations.items())
        }


@dataclass(slots=True)
class RecoveryTally:
    """What one strategy was tried on, and with what result."""

    attempted: int = 0
    successful: int = 0
    categories: Counter[ErrorCategory] = field(default_factory=Counter)
    """How often it was tried on which category."""
    seconds: Durations = field(default_factory=Durations)

    @property
    def rate(self) -> float:
        """Share of attempts that were successful; 0.0 if there was none."""
        return self.successful / self.attempted if self.attempted else 0.0

    def told(self) -> dict[str, Any]:
        """The tally as JSON can hold it."""
        return {
            "attempted": self.attempted,
            "successful": self.successful,
            "rate": self.rate,
            "by_category": {category.value: n for category, n in self.categories.items()},
            "seconds": self.seconds.percentiles(),
        }


class Recoveries:
    """A tally for each strategy."""

    __slots__ = ("_tallies", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._tallies: dict[str, RecoveryTally] = {}

    def add(
        self,
        strategy: str,
        category: ErrorCategory,
        successful: bool,  # noqa: FBT001 - the one thing it says
        seconds: float,
    ) -> None:
        """Count one attempt.

        Raises:
            BadInputError: if ``seconds`` is NaN or infinite.
        """
        if strategy not in self._tallies and len(self._tallies) >= self.limit:
            strategy = OTHER
        tally = self._tallies.setdefault(strategy, RecoveryTally())
        tally.seconds.add(seconds)
        tally.attempted += 1
        tally.successful += successful
        tally.categories[category] += 1

    def rate(self, strategy: str) -> float:
        """Share of this strategy's attempts that were successful; 0.0 if there was none."""
        tally = self._tallies.get(strategy)
        return tally.rate if tally else 0.0

    def told(self) -> dict[str, dict[str, Any]]:
        """Every tally as JSON can hold it."""
        return {name: tally.told() for name, tally in sorted(self._tallies.items())}
