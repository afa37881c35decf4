"""One shape for all that can be rendered: reports of `ErrorAnalytics` and of `ErrorHistory`.

A history knows less than analytics do: it has no latencies, no series for each group, and its most
common errors are groups. What a report does not tell is None here, and a renderer leaves it
out; that there is nothing of it is empty, and a renderer says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.telemetry.trend import HOUR, words_for


def whole(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with every key that a renderer reads."""
    strategies = report["recovery_by_strategy"]
    return {
        "since": None,
        "recoveries_attempted": sum(tally["attempted"] for tally in strategies.values()),
        "group_count": None,
        "evicted_groups": 0,
        "errors_of_evicted_groups": 0,
        "errors_by_minute": None,
        "errors_by_hour": None,
        "latency": None,
        **report,
        "errors_by_dependency": {
            name or "(none)": number for name, number in report["errors_by_dependency"].items()
        },
        "rate_over": _span(report.get("rate_seconds", HOUR)),
        "most_common_errors": _pairs(report["most_common_errors"]),
        "groups": [_group(group) for group in report["groups"]],
        "recovery_by_strategy": {
            name: {"seconds": {}, **tally} for name, tally in strategies.items()
        },
    }


def _span(seconds: float) -> str:
    return f"over the last {'hour' if seconds == HOUR else words_for(seconds)}"


def _pairs(counted: list[Any]) -> list[Any] | None:
    # As groups they are told already.
    return None if any(isinstance(one, Mapping) for one in counted) else counted


def _group(group: Mapping[str, Any]) -> dict[str, Any]:
    service = group.get("service")
    return {
        "dependencies": {service: group["count"]} if service else {},
        "last_hour": None,
        **group,
        "error_type": group.get("error_type", group.get("type", "")),
        "sample": group.get("sample", group.get("message", "")),
    }
