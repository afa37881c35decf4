"""A history's report in the shape that the renderers of reports know: that of the analytics.

What lies on disk is told by `holdfast.stores`, and how reports look by `holdfast.telemetry`; the
two do not know each other, so what each of them calls a thing is matched here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.stores import ErrorHistory

MINUTES, HOURS = 60, 48
"""How far back the two plots over time reach."""
MOST_GROUPS = 10_000


def report_of(history: ErrorHistory, since: float | None) -> dict[str, Any]:
    """Everything there is to know, as `ErrorAnalytics.generate_report` would tell it.

    The most common types are those of the groups that are told, the greatest 20.

    Raises:
        HistoryUnavailableError: the database cannot be read now.
    """
    told = history.report(since)
    now = time.time()
    minutes = _series(history, "minute", 60, MINUTES, now, since)
    recovered = told["recovery_by_strategy"].values()
    groups = [_group(each) for each in told["groups"]]
    count = len(groups)
    if told["total_errors"] > sum(group["count"] for group in groups):
        count = max(count, len(history.groups(MOST_GROUPS, since)))
    began = since if since is not None else _first(history, now)
    types: Counter[str] = Counter()
    for group in groups:
        types[group["error_type"]] += group["count"]
    return told | {
        "since": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "error_rate_per_minute": sum(minutes) / MINUTES,
        "errors_by_minute": minutes,
        "errors_by_hour": _series(history, "hour", 3600, HOURS, now, since),
        "most_common_errors": [list(pair) for pair in types.most_common(10)],
        "recoveries_attempted": sum(tally["attempted"] for tally in recovered),
        "recoveries_successful": sum(tally["successful"] for tally in recovered),
        "recovery_by_strategy": {
            name: {"seconds": {}, **tally} for name, tally in told["recovery_by_strategy"].items()
        },
        "groups": groups,
        "group_count": count,
        # In a history no group has to make room for another.
        "evicted_groups": 0,
        "errors_of_evicted_groups": 0,
        # Calls that succeed are not in it, so neither is how long calls take.
        "latency": {},
    }


def _group(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **told,
        "error_type": told["type"],
        "sample": told["message"],
        "dependencies": {},
        "last_hour": [],
    }


def _series(  # noqa: PLR0917  # of one kind, and called from here alone
    history: ErrorHistory, by: str, width: int, number: int, now: float, since: float | None
) -> list[int]:
    """Errors in each of the last ``number`` spans, the latest last."""
    last = int(now) // width * width
    first = last - (number - 1) * width
    begin = first if since is None else max(float(first), since)
    found = history.counts(since=begin, by=by)
    counted = {int(moment.timestamp()): count for moment, count in found.items()}
    return [counted.get(first + index * width, 0) for index in range(number)]


def _first(history: ErrorHistory, now: float) -> float:
    hours = history.counts(by="hour")
    return min(moment.timestamp() for moment in hours) if hours else now
