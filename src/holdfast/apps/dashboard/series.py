"""From jobs that ended to figures by the minute: how many, and how long they took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from holdfast.apps.dashboard.sources import Series

MINUTE = 60.0
MINUTES = 60
"""How far back the figures go."""


class Ended(NamedTuple):
    """How one job ended."""

    at: float
    """Seconds since 1970."""
    seconds: float
    """From acceptance to the end."""
    delivered: bool


def series_of(jobs: Iterable[Ended], now: float, minutes: int = MINUTES) -> Series:
    """Figures of the last ``minutes``, the last one being that which has begun.

    What ended after ``now``, by a clock that was set back since, counts as of now.
    """
    first = (now // MINUTE - minutes + 1) * MINUTE
    delivered, failed = [0] * minutes, [0] * minutes
    times: list[list[float]] = [[] for _ in range(minutes)]
    for job in jobs:
        place = int((min(job.at, now) - first) // MINUTE)
        if place < 0:
            continue
        if job.delivered:
            delivered[place] += 1
            times[place].append(max(job.seconds, 0.0))
        else:
            failed[place] += 1
    for each in times:
        each.sort()
    return Series(
        tuple(first + MINUTE * place for place in range(minutes)),
        tuple(delivered),
        tuple(failed),
        tuple(quantile(each, 0.5) for each in times),
        tuple(quantile(each, 0.95) for each in times),
    )


def quantile(ordered: list[float], share: float) -> float | None:
    """The least of the values that so large a share of them does not exceed; None of none."""
    if not ordered:
        return None
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
