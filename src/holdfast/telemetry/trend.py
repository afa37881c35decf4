"""Whether a trouble grows: a few numbers about one group of errors, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import sqrt

from holdfast.telemetry.rates import Rates

HOUR = 3600.0
YOUNG_SECONDS = 600.0
"""Before this age nothing is said about an hour, nor about a direction."""
_SIGNIFICANT = 1.96
"""Standard deviations beyond which a difference is hardly chance (95 %)."""


class Direction(StrEnum):
    """What the newer half of the last hour is like beside the older half."""

    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"


@dataclass(frozen=True, slots=True)
class Trend:
    """How a group of errors has come along."""

    age: float
    """Seconds since its first error."""
    quiet: float
    """Seconds since its last one."""
    count: int
    """Errors of it, ever."""
    lately: int
    """Errors of it in the last hour."""
    per_hour: float
    """How many an hour there were over the last hour, or since it began."""
    direction: Direction

    def __str__(self) -> str:
        began = f"began {words_for(self.age)} ago"
        if not self.lately:
            return f"{began}, quiet for {words_for(self.quiet)}"
        if self.age < YOUNG_SECONDS:
            return f"{began}, {self.count:,} so far"
        return f"{began}, {self.per_hour:,.0f} an hour, {self.direction}"


def trend_of(rates: Rates, now: float, *, age: float, quiet: float, count: int) -> Trend:
    """Read a group's trend from its rates.

    A direction is told only where chance would make such a difference in fewer than one
    case in twenty: of events that come evenly, the newer half gets its share of them give
    or take the standard deviation of a binomial distribution.
    """
    window = min(HOUR, max(age, 60.0))
    lately = rates.count(window, now)
    if age < YOUNG_SECONDS:
        return Trend(age, quiet, count, lately, 0.0, Direction.STEADY)
    span = min(age, rates.covered(window, now))
    newer, newer_span = rates.count(window / 2, now), rates.covered(window / 2, now)
    share = newer_span / span
    spread = sqrt(lately * share * (1 - share))
    excess = newer - lately * share
    if excess > _SIGNIFICANT * spread:
        direction = Direction.RISING
    elif excess < -_SIGNIFICANT * spread:
        direction = Direction.FALLING
    else:
        direction = Direction.STEADY
    return Trend(age, quiet, count, lately, lately / span * HOUR, direction)


def words_for(seconds: float) -> str:
    """A length of time as people say it: ``12 minutes``."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            number = int(seconds // unit)
            return f"{number:,} {name}{'' if number == 1 else 's'}"
    number = max(int(seconds), 0)
    return f"{number} second{'' if number == 1 else 's'}"
