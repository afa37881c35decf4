"""The five levels of service, what each is worth, and what moves a service from one to another."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from holdfast.errors import BadInputError


class DegradationLevel(StrEnum):
    """How much of the service is given. As texts they do not sort by severity; `rank` does."""

    FULL = "full"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    MINIMAL = "minimal"

    @property
    def rank(self) -> int:
        """From 0 for the full service to 4 for the least."""
        return _RANKS[self]

    @property
    def quality(self) -> float:
        """The share of the full quality: 1.0, 0.8, 0.6, 0.4, 0.2."""
        return _QUALITIES[self]

    @property
    def features(self) -> str:
        """Which features are kept: all, most, core, basic, essential."""
        return _FEATURES[self]


LEVELS = tuple(DegradationLevel)
"""By rank."""
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
_QUALITIES = dict(zip(LEVELS, (1.0, 0.8, 0.6, 0.4, 0.2), strict=True))
_FEATURES = dict(zip(LEVELS, ("all", "most", "core", "basic", "essential"), strict=True))


class Cause(StrEnum):
    """What moved a level."""

    HAND = "hand"
    """Somebody called `degrade`, `restore` or `reset`, or assigned the level."""
    SEVERITY = "severity"
    """A grave error."""
    ERROR_RATE = "error_rate"
    """Errors a minute."""
    FAILURES = "failures"
    """The share of calls that failed."""
    LATENCY = "latency"
    """Calls that took too long."""
    MEMORY = "memory"
    """Too little memory left."""
    MEMORY_STALLS = "memory_stalls"
    """Time lost waiting for memory."""
    QUIET = "quiet"
    """Nothing went wrong for a while."""


def level_of(field: str, value: Any) -> DegradationLevel:
    """The level of that name.

    Raises:
        BadInputError: there is none; the message names those there are.
    """
    try:
        return DegradationLevel(value)
    except ValueError:
        names = ", ".join(LEVELS)
        raise BadInputError(f"{field} must be one of {names}, got {value!r:.100}") from None
