"""A report as one HTML file: no script, no resource from elsewhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.telemetry import plots
from holdfast.telemetry.plots import safe, seconds_in_words
from holdfast.telemetry.report_shape import whole

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #667085;
  --line: #e3e7ed; --bar: #3b73d9; --low: #4c9f70; --medium: #d9a21b; --high: #dd6b20;
  --critical: #c93a3a; --good: #2f855a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161c; --card: #1a2029; --ink: #e4e8ee; --soft: #93a0b4; --line: #2b3440;
    --bar: #6d9bf1; --low: #62b88a; --medium: #e0b64a; --high: #ef8a4c; --critical: #f06a6a;
    --good: #68d391; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; display: grid; gap: 1rem;
  grid-template-columns: repeat(12, minmax(0, 1fr)); }
header, .wide { grid-column: span 12; } .half { grid-column: span 6; }
h1 { margin: 0; font-size: 1.6rem; letter-spacing: -.01em; }
h2 { margin: 0 0 .75rem; font-size: 1rem; }
header p, .note { margin: .25rem 0 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.25rem; min-width: 0; }
.tiles { grid-column: span 12; display: grid; gap: 1rem; padding: 0; background: none; border: 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .85rem 1.25rem; }
.tile b { display: block; font-size: 1.55rem; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; }
.sample { display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical;
  overflow: hidden; }
.grid { stroke: var(--line); stroke-width: 1; } .bar { fill: var(--bar); }
.low { fill: var(--low); } .medium { fill: var(--medium); } .high { fill: var(--high); }
.critical { fill: var(--critical); }
.span { stroke: var(--line); stroke-width: 6; stroke-linecap: round; }
.p50 { fill: var(--low); } .p90 { fill: var(--bar); } .p95 { fill: var(--medium); }
.p99 { fill: var(--critical); }
.legend { display: flex; gap: 1.25rem; color: var(--soft); font-size: .85rem; margin-top: .5rem; }
.legend svg { display: inline; width: 10px; height: 10px; margin-right: .4rem; }
.spark { width: 120px; height: 24px; } .spark polyline { fill: none; stroke: var(--bar);
  stroke-width: 1.5; stroke-linejoin: round; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; color: var(--soft); font-weight: 500; white-space: nowrap; }
th, td { padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.message { overflow-wrap: anywhere; min-width: 16rem; } td.when { white-space: nowrap;
  width: 1%; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
td small { display: block; color: var(--soft); }
.badge { display: inline-block; padding: 0 .5em; border-radius: 99px; font-size: .8rem;
  border: 1px solid currentColor; }
.badge.low { color: var(--low); } .badge.medium { color: var(--medium); }
.badge.high { color: var(--high); } .badge.critical { color: var(--critical); }
@media (max-width: 52rem) { .half { grid-column: span 12; } }
@media print { body { padding: 0; background: none; } section { break-inside: avoid; } }
"""

_MAY = "default-src 'none'; style-src 'unsafe-inline'"
"""A hostile message that got past the escaping would still have nothing to run."""
_DEPENDENCIES = 20
_NONE = "\N{EN DASH}"
_SEVERITIES = ("critical", "high", "medium", "low")


def html(report: Mapping[str, Any], title: str = "Errors") -> str:
    """The whole page.

    Args:
        report: what `ErrorAnalytics.generate_report` or `ErrorHistory.report` gave, also after a
            journey through JSON.
        title: the page's title.
    """
    report = whole(report)
    severities = report["errors_by_severity"]
    since = f", counting since {_when(report['since'])}" if report["since"] else ""
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_MAY}">',
        f"<title>{safe(title)}</title><style>{_STYLE}</style></head><body><main>",
        f"<header><h1>{safe(title)}</h1>",
        f"<p>As of {_when(report['generated_at'])}{since}</p></header>",
        _tiles(report),
        _series(report["errors_by_minute"], 60.0, "Errors in the last hour"),
        _series(report["errors_by_hour"], 3600.0, "Errors in the last two days"),
        _section(
            "By category",
            plots.bars(report["errors_by_category"], "Errors by category"),
            "half",
            empty=not report["errors_by_category"],
        ),
        _section(
            "By severity",
            plots.bars(
                {name: severities[name] for name in _SEVERITIES if name in severities},
                "Errors by severity",
                {name: name for name in _SEVERITIES},
            ),
            "half",
            empty=not severities,
        ),
        _section("Groups", _groups(report), empty=not report["groups"]),
        _section(
            "Latest critical errors",
            _criticals(report["recent_critical_errors"]),
            empty=not report["recent_critical_errors"],
        ),
        _most_common(report["most_common_errors"]),
        _section(
            "By dependency",
            _table(
                ("dependency", "errors"),
                list(report["errors_by_dependency"].items())[:10],
                numbers={1},
            ),
            "wide" if report["most_common_errors"] is None else "half",
            empty=not report["errors_by_dependency"],
        ),
        _section(
            "Recovery by strategy",
            _strategies(report["recovery_by_strategy"]),
            empty=not report["recovery_by_strategy"],
        ),
        _latency(report["latency"]),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _tiles(report: Mapping[str, Any]) -> str:
    attempted = report["recoveries_attempted"]
    recovered = f"{report['recovery_rate']:.0%}" if attempted else _NONE
    tiles = (
        (f"{report['total_errors']:,}", "errors in all"),
        (f"{report['error_rate_per_minute']:,.2f}", f"a minute, {report['rate_over']}"),
        (_groups_seen(report), "groups seen"),
        (f"{report['errors_by_severity'].get('critical', 0):,}", "critical"),
        (recovered, f"of {attempted:,} recoveries worked" if attempted else "no recovery tried"),
    )
    told = "".join(
        f'<div class="tile"><b>{big}</b><span>{small}</span></div>' for big, small in tiles
    )
    return f'<div class="tiles">{told}</div>'


def _groups_seen(report: Mapping[str, Any]) -> str:
    count = report["group_count"]
    return _NONE if count is None else f"{count + report['evicted_groups']:,}"


def _series(counts: Sequence[float] | None, width_seconds: float, title: str) -> str:
    if counts is None:
        return ""
    return _section(title, plots.over_time(counts, width_seconds, title), "half")


def _most_common(pairs: Sequence[Any] | None) -> str:
    if pairs is None:
        return ""
    told = _table(("type", "errors"), pairs, numbers={1})
    return _section("Most common", told, "half", empty=not pairs)


def _groups(report: Mapping[str, Any]) -> str:
    rows = []
    for group in report["groups"]:
        severity = group["severity"] if group["severity"] in _SEVERITIES else "low"
        places = ", ".join(f"{name} ({number:,})" for name, number in group["dependencies"].items())
        about = f"{group['category']}, {group['trend']}{', from ' + places if places else ''}"
        sample = safe(group["sample"])
        rows.append(
            f'<tr><td class="n">{group["count"]:,}</td>'
            f'<td><span class="badge {severity}">{severity}</span></td>'
            f'<td class="message"><b>{safe(group["error_type"])}</b><small>{safe(about)}</small>'
            f'<span class="sample" title="{sample}">{sample}</span></td>'
            f"<td>{_spark(group['last_hour'])}</td>"
            f"<td><code>{safe(group['fingerprint'])}</code></td></tr>"
        )
    head = _head(("errors", "worst", "what", "last hour", "fingerprint"), {0})
    left = report["evicted_groups"]
    note = (
        f'<p class="note">{report["errors_of_evicted_groups"]:,} errors were of {left:,} groups'
        " that had to make room and are told apart no longer.</p>"
        if left
        else ""
    )
    shown = len(report["groups"])
    kept = report["group_count"] or shown
    more = f'<p class="note">The greatest {shown:,} of {kept:,}.</p>' if kept > shown else ""
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>{more}{note}'


def _spark(counts: Sequence[float] | None) -> str:
    return _NONE if counts is None else plots.spark(counts, "Errors of the last hour")


def _criticals(errors: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="when">{_when(error["timestamp"])}</td>'
        f"<td><b>{safe(error['type'])}</b></td>"
        f'<td class="message">{safe(error["message"])}</td></tr>'
        for error in errors
    )
    head = _head(("when", "type", "message"), set())
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _strategies(table: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name,
            f"{tally['attempted']:,}",
            f"{tally['successful']:,}",
            f"{tally['rate']:.0%}",
            seconds_in_words(tally["seconds"]["p50"]) if tally["seconds"] else _NONE,
        )
        for name, tally in table.items()
    ]
    return _table(
        ("strategy", "attempted", "successful", "rate", "median time"), rows, numbers={1, 2, 3, 4}
    )


def _latency(table: Mapping[str, Mapping[str, Any]] | None) -> str:
    if table is None:
        return ""
    if not table:
        return _section("Latency", "", empty=True)
    keys = ("p50", "p90", "p95", "p99")
    most_called = sorted(table, key=lambda name: -table[name]["count"])[:_DEPENDENCIES]
    shown = {name: table[name] for name in table if name in most_called}
    left = len(table) - len(shown)
    note = f'<p class="note">{left:,} more were called less often.</p>' if left else ""
    legend = "".join(
        '<span><svg viewBox="0 0 10 10">'
        f'<circle class="{key}" cx="5" cy="5" r="5"/></svg>{key}</span>'
        for key in keys
    )
    rows = [
        (name, f"{found['count']:,}", *(seconds_in_words(found[key]) for key in (*keys, "max")))
        for name, found in shown.items()
    ]
    told = _table(("dependency", "calls", *keys, "max"), rows, numbers=set(range(1, 7)))
    plot = plots.latencies(shown, "Latency percentiles")
    return _section("Latency", f'{plot}<div class="legend">{legend}</div>{told}{note}')


def _section(title: str, body: str, size: str = "wide", *, empty: bool = False) -> str:
    told = '<p class="note">None.</p>' if empty else body
    return f'<section class="{size}"><h2>{title}</h2>{told}</section>'


def _table(head: tuple[str, ...], rows: Iterable[Iterable[Any]], numbers: set[int]) -> str:
    told = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{safe(f"{cell:,}" if isinstance(cell, int) else cell)}</td>'
            if column in numbers
            else f'<td class="message">{safe(cell)}</td>'
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{_head(head, numbers)}{told}</table></div>'


def _head(names: tuple[str, ...], numbers: set[int]) -> str:
    cells = "".join(
        f'<th class="n">{name}</th>' if column in numbers else f"<th>{name}</th>"
        for column, name in enumerate(names)
    )
    return f"<tr>{cells}</tr>"


def _when(iso: str) -> str:
    return safe(iso[:19].replace("T", " ") + (" UTC" if iso.endswith("+00:00") else ""))
