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
from holdfast.telemetry.groups import OTHER
from holdfast.telemetry.sketch import DDSketch

LIMIT = 200
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def percentiles_of(sketch: DDSketch | None) -> dict[str, float]:
    """``p50``, ``p90``, ``p95``, ``p99`` and ``max``, in seconds; empty where nothing was seen."""
    if sketch is None or not sketch.count:
        return {}
    values = sketch.quantiles(_QUANTILES.values())
    return {**dict(zip(_QUANTILES, values, strict=True)), "max": sketch.maximum}


class Latencies:
    """A sketch of durations for each dependency."""

    __slots__ = ("_sketches", "limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._sketches: dict[str, DDSketch] = {}

    def add(self, dependency: str, seconds: float) -> None:
        """Count one duration.

        Raises:
            BadInputError: if it is NaN or infinite.
        """
        sketch = self._sketches.get(dependency)
        if sketch is None:
            sketch = self.sketch(dependency)
        sketch.add(seconds)

    def sketch(self, dependency: str) -> DDSketch:
        """The dependency's sketch, or that of all others if there is no room."""
        if dependency not in self._sketches and len(self._sketches) >= self.limit:
            dependency = OTHER
        return self._sketches.setdefault(dependency, DDSketch())

    def percentiles(self, dependency: str) -> dict[str, float]:
        """Of one dependency; empty where nothing was seen."""
        return percentiles_of(self._sketches.get(dependency))

    def told(self) -> dict[str, dict[str, float]]:
        """Count and percentiles of each dependency."""
        return {
            name: {"count": sketch.count, **percentiles_of(sketch)}
            for name, sketch in sorted(self._sketches.items())
        }


@dataclass(slots=True)
class RecoveryTally:
    """What one strategy was tried on, and with what result."""

    attempted: int = 0
    successful: int = 0
    categories: Counter[ErrorCategory] = field(default_factory=Counter)
    """How often it was tried on which category."""
    seconds: DDSketch = field(default_factory=DDSketch)

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
            "seconds": percentiles_of(self.seconds),
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
