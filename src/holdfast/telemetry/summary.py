"""From counts to a report: one dict of plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.errors import ErrorSeverity
from holdfast.telemetry.groups import ErrorGroup, Totals
from holdfast.telemetry.kept import KeptErrors

MOST_COMMON = 10
CRITICAL = 10
MINUTES = 60
HOURS = 48


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of, taken at one moment."""

    wall: float
    started: float
    totals: Totals
    kept: KeptErrors
    groups: list[ErrorGroup]
    group_count: int
    evicted_groups: int
    evicted_errors: int
    restored: int
    attempted: int
    successful: int
    late_resolutions: int
    recoveries: dict[str, dict[str, Any]]
    latencies: dict[str, dict[str, float]]
    last_hour: int
    minutes: list[int]
    hours: list[int]


def summarise(material: Material) -> dict[str, Any]:
    """The report, as `ErrorAnalytics.generate_report` gives it."""
    totals = material.totals
    attempted = material.attempted
    return {
        "generated_at": _iso(material.wall),
        "since": _iso(material.started),
        "total_errors": totals.errors,
        "restored_errors": material.restored,
        "kept_errors": len(material.kept),
        "error_rate_per_minute": material.last_hour / 60.0,
        "rate_seconds": 3600.0,
        "most_common_errors": [list(pair) for pair in ranked(totals.types)[:MOST_COMMON]],
        "errors_by_category": dict(ranked(totals.categories)),
        "errors_by_severity": dict(ranked(totals.severities)),
        "errors_by_dependency": dict(ranked(totals.dependencies)),
        "errors_by_minute": material.minutes[-MINUTES:],
        "errors_by_hour": material.hours[-HOURS:],
        "recovery_rate": material.successful / attempted if attempted else 0.0,
        "recoveries_attempted": attempted,
        "recoveries_successful": material.successful,
        "late_resolutions": material.late_resolutions,
        "recovery_by_strategy": material.recoveries,
        "recent_critical_errors": [
            {
                "timestamp": info.timestamp.isoformat(),
                "type": info.error_type,
                "message": info.error_message,
                "category": info.category.value,
                "dependency": info.dependency,
            }
            for info in material.kept.latest(ErrorSeverity.CRITICAL, CRITICAL)
        ],
        "groups": [group.to_dict() for group in material.groups],
        "group_count": material.group_count,
        "evicted_groups": material.evicted_groups,
        "errors_of_evicted_groups": material.evicted_errors,
        "latency": material.latencies,
    }


def ranked(counts: Mapping[Any, int]) -> list[tuple[str, int]]:
    """Names with their counts, the greatest first, those with equal counts by name."""
    return sorted(
        ((str(name), number) for name, number in counts.items()),
        key=lambda pair: (-pair[1], pair[0]),
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
