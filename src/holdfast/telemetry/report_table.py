"""A report as tables for a terminal. Needs `rich`, of the extra ``cli``; imported when called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from holdfast.telemetry.plots import seconds_in_words
from holdfast.telemetry.report_shape import whole
from holdfast.text import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_COLOURS = {"low": "green", "medium": "yellow", "high": "dark_orange", "critical": "bold red"}


def table(report: Mapping[str, Any], title: str = "Errors") -> Group:
    """Everything worth a look, to be printed by a rich console.

    Args:
        report: what `ErrorAnalytics.generate_report` or `ErrorHistory.report` gave, also after a
            journey through JSON.
        title: the heading.

    Raises:
        ImportError: if `rich` is not installed.
    """
    from rich.console import Group as Renderables  # noqa: PLC0415 - an extra
    from rich.text import Text  # noqa: PLC0415 - an extra

    report = whole(report)
    attempted = report["recoveries_attempted"]
    since = f", counting since {report['since']}" if report["since"] else ""
    recovered = f"{report['recovery_rate']:.0%} of {attempted:,}" if attempted else "none attempted"
    facts = Text.assemble(
        (printable(title), "bold"),
        f"  {report['total_errors']:,} in all, {report['error_rate_per_minute']:.2f} a minute"
        f" {report['rate_over']}, recoveries that worked: {recovered}\n",
        (f"as of {report['generated_at']}{since}", "dim"),
    )
    groups = _table("Groups", ("errors", "worst", "what", "trend"), right={0})
    for group in report["groups"]:
        severity = group["severity"]
        groups.add_row(
            f"{group['count']:,}",
            Text(severity, _COLOURS.get(severity, "")),
            Text.assemble((_line(group["error_type"]), "bold"), " ", _line(group["sample"])),
            Text(group["trend"]),
        )
    parts: list[Any] = [facts]
    if report["groups"]:
        parts.append(groups)
    for heading, key in (
        ("By category", "errors_by_category"),
        ("By severity", "errors_by_severity"),
        ("By dependency", "errors_by_dependency"),
    ):
        parts += _filled(heading, ("", "errors"), report[key].items())
    parts += _filled(
        "Latest critical errors",
        ("when", "type", "message"),
        (
            (error["timestamp"][:19], error["type"], error["message"])
            for error in report["recent_critical_errors"]
        ),
        right=set(),
    )
    parts += _filled(
        "Recovery by strategy",
        ("strategy", "attempted", "successful", "rate"),
        (
            (name, tally["attempted"], tally["successful"], f"{tally['rate']:.0%}")
            for name, tally in report["recovery_by_strategy"].items()
        ),
    )
    keys = ("p50", "p90", "p95", "p99", "max")
    parts += _filled(
        "Latency",
        ("dependency", "calls", *keys),
        (
            (name, found["count"], *(seconds_in_words(found[key]) for key in keys))
            for name, found in (report["latency"] or {}).items()
        ),
    )
    return Renderables(*parts)


def _filled(
    title: str, head: tuple[str, ...], rows: Iterable[Iterable[Any]], right: set[int] | None = None
) -> list[Table]:
    from rich.text import Text  # noqa: PLC0415 - an extra

    made = _table(title, head, set(range(1, len(head))) if right is None else right)
    for row in rows:
        # As `Text`, because brackets in a plain string would be markup.
        made.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else _line(cell)) for cell in row))
    return [made] if made.row_count else []


def _table(title: str, head: tuple[str, ...], right: set[int]) -> Table:
    from rich import box  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415 - an extra

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column, name in enumerate(head):
        made.add_column(name, justify="right" if column in right else "left")
    return made


def _line(text: object) -> str:
    return " ".join(printable(str(text)).split())
