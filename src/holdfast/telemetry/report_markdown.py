"""A report as Markdown, for an issue, a chat or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.telemetry.plots import seconds_in_words
from holdfast.telemetry.report_shape import whole
from holdfast.text import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$@:-])")


def markdown(report: Mapping[str, Any], title: str = "Errors") -> str:
    """The whole text.

    Args:
        report: what `ErrorAnalytics.generate_report` or `ErrorHistory.report` gave, also after a
            journey through JSON.
        title: the heading.
    """
    report = whole(report)
    attempted = report["recoveries_attempted"]
    since = f", counting since {report['since']}" if report["since"] else ""
    recovered = f"{report['recovery_rate']:.0%} of {attempted:,}" if attempted else "none attempted"
    evicted = report["evicted_groups"]
    left, groups = report["errors_of_evicted_groups"], report["group_count"]
    gone = f", and {left:,} errors of {evicted:,} that made room" if evicted else ""
    lines = [
        f"# {plain(title)}",
        "",
        f"- As of: {report['generated_at']}{since}",
        f"- Errors: {report['total_errors']:,}",
        f"- A minute, {report['rate_over']}: {report['error_rate_per_minute']:.2f}",
        f"- Recoveries that worked: {recovered}",
        *([] if groups is None else [f"- Groups: {groups:,}{gone}"]),
        *_counts("Most common", "type", report["most_common_errors"] or ()),
        *_counts("By category", "category", report["errors_by_category"].items()),
        *_counts("By severity", "severity", report["errors_by_severity"].items()),
        *_counts("By dependency", "dependency", report["errors_by_dependency"].items()),
        *_table(
            "Groups",
            ("errors", "worst", "type", "message", "trend", "fingerprint"),
            (
                (
                    f"{group['count']:,}",
                    group["severity"],
                    group["error_type"],
                    group["sample"],
                    group["trend"],
                    group["fingerprint"],
                )
                for group in report["groups"]
            ),
        ),
        *_table(
            "Latest critical errors",
            ("when", "type", "message"),
            (
                (error["timestamp"], error["type"], error["message"])
                for error in report["recent_critical_errors"]
            ),
        ),
        *_table(
            "Recovery by strategy",
            ("strategy", "attempted", "successful", "rate"),
            (
                (
                    name,
                    f"{tally['attempted']:,}",
                    f"{tally['successful']:,}",
                    f"{tally['rate']:.0%}",
                )
                for name, tally in report["recovery_by_strategy"].items()
            ),
        ),
        *_table(
            "Latency",
            ("dependency", "calls", "p50", "p90", "p95", "p99", "max"),
            (
                (
                    name,
                    f"{found['count']:,}",
                    *(seconds_in_words(found[key]) for key in ("p50", "p90", "p95", "p99", "max")),
                )
                for name, found in (report["latency"] or {}).items()
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def plain(text: object) -> str:
    """Any text on one line, in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(str(text)).split()))


def _counts(title: str, name: str, pairs: Iterable[Iterable[Any]]) -> list[str]:
    return _table(title, (name, "errors"), ((what, f"{number:,}") for what, number in pairs))


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    told = ["| " + " | ".join(plain(cell) for cell in row) + " |" for row in rows]
    if not told:
        return []
    return ["", f"## {title}", "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *told]
