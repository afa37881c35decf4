"""Small plots as SVG text: no script, no font, no file of its own; colours come from the page.

What is drawn are numbers. Every text that comes from outside is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from holdfast.telemetry.trend import words_for
from holdfast.text import printable

WIDTH = 1060
_HALF = 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 24
_ROW = 26


def safe(text: object) -> str:
    """Any text, ready to stand in HTML or SVG, in an attribute too."""
    return escape(printable(str(text)), quote=True)


def over_time(counts: Sequence[float], width_seconds: float, title: str) -> str:
    """Bars over time, the latest on the right."""
    height = 180
    bottom = height - _BOTTOM
    room = _HALF - _LEFT - _RIGHT
    top_value, step = _axis(max(counts, default=0))
    scale = (bottom - _TOP) / top_value
    parts = [_open(height, title, _HALF)]
    for line in range(round(top_value / step) + 1):
        y = bottom - line * step * scale
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_HALF - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, _number(line * step), "end"))
    unit, name = (3600.0, "h") if width_seconds >= 3600.0 else (60.0, "min")
    each = room / max(len(counts), 1)
    for index, count in enumerate(counts):
        if count > 0:
            high = max(count * scale, 1.0)
            ago = (len(counts) - 1 - index) * width_seconds
            when = f"{words_for(ago)} ago" if ago else "now"
            parts.append(
                f'<rect class="bar" x="{_LEFT + index * each + each * 0.1:.1f}"'
                f' y="{bottom - high:.1f}" width="{each * 0.8:.1f}" height="{high:.1f}" rx="1.5">'
                f"<title>{safe(when)}: {_number(count)}</title></rect>"
            )
    for share in (0.0, 0.25, 0.5, 0.75):
        ago = len(counts) * (1 - share) * width_seconds / unit
        anchor = "start" if share == 0 else "middle"
        parts.append(_text(_LEFT + room * share, height - 6, f"{ago:g} {name}", anchor))
    parts.append(_text(_HALF - _RIGHT, height - 6, "now", "end"))
    return "".join([*parts, "</svg>"])


def bars(counts: Mapping[str, float], title: str, colours: Mapping[str, str] | None = None) -> str:
    """One horizontal bar for each name, with its number."""
    width, name_room, number_room = _HALF, 120, 64
    height = max(len(counts), 1) * _ROW + 4
    greatest = max(counts.values(), default=0) or 1
    parts = [_open(height, title, width)]
    for row, (name, count) in enumerate(counts.items()):
        y = row * _ROW + 3
        long = max((width - name_room - number_room) * count / greatest, 2.0)
        colour = (colours or {}).get(name, "bar")
        parts.append(_text(name_room - 8, y + 15, _short(name, 15), "end", name))
        parts.append(
            f'<rect class="{safe(colour)}" x="{name_room}" y="{y}" width="{long:.1f}"'
            f' height="{_ROW - 6}" rx="3"/>'
        )
        parts.append(_text(name_room + long + 6, y + 15, _number(count), "start"))
    return "".join([*parts, "</svg>"])


def latencies(table: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """For each dependency a line from p50 to p99 with marks, on a logarithmic axis of seconds."""
    rows = {name: found for name, found in table.items() if found.get("p50") is not None}
    name_room = 150
    height = len(rows) * 30 + _BOTTOM + 6
    values = [
        max(float(found[key]), 1e-6)
        for found in rows.values()
        for key in ("p50", "p90", "p95", "p99")
    ]
    low = math.floor(math.log10(min(values, default=0.001)))
    high = max(math.ceil(math.log10(max(values, default=1.0))), low + 1)
    room = WIDTH - name_room - 24

    def place(seconds: float) -> float:
        return name_room + room * (math.log10(max(seconds, 1e-6)) - low) / (high - low)

    parts = [_open(height, title)]
    # At most eight labels, or they run into each other.
    for power in range(low, high + 1, max(1, math.ceil((high - low) / 8))):
        x = place(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - _BOTTOM}"/>'
        )
        parts.append(_text(x, height - 6, _tick(power), "middle"))
    for row, (name, found) in enumerate(rows.items()):
        y = row * 30 + 20
        marks = [(key, float(found[key])) for key in ("p50", "p90", "p95", "p99")]
        parts.append(_text(name_room - 12, y + 4, _short(name, 18), "end", name))
        parts.append(
            f'<line class="span" x1="{place(marks[0][1]):.1f}" x2="{place(marks[-1][1]):.1f}"'
            f' y1="{y}" y2="{y}"/>'
        )
        parts.extend(
            f'<circle class="{key}" cx="{place(value):.1f}" cy="{y}" r="5">'
            f"<title>{safe(name)} {key}: {seconds_in_words(value)}</title></circle>"
            for key, value in marks
        )
    return "".join([*parts, "</svg>"])


def spark(counts: Sequence[float], title: str) -> str:
    """A line of the height of a line of text."""
    width, height = 120, 24
    greatest = max(counts, default=0) or 1
    step = width / max(len(counts) - 1, 1)
    points = " ".join(
        f"{index * step:.1f},{height - 2 - (height - 4) * count / greatest:.1f}"
        for index, count in enumerate(counts)
    )
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" aria-label="{safe(title)}">'
        f'<polyline points="{points}"/></svg>'
    )


def seconds_in_words(seconds: float) -> str:
    """A duration in the unit that suits it: ``140 ms``."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * (1 if unit != "min" else 1.5):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} \N{MICRO SIGN}s"


def _axis(greatest: float) -> tuple[float, float]:
    """The end of an axis and the distance of its lines: 1, 2 or 5 times a power of ten."""
    if greatest <= 4:
        return max(math.ceil(greatest), 1.0), 1.0
    rough = greatest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return math.ceil(greatest / step) * step, step


def _tick(power: int) -> str:
    # Round in whatever unit: 1,000 s rather than 16.7 min.
    return f"{10**power:,} s" if power >= 0 else seconds_in_words(10.0**power)


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value:,.0f}"


def _short(name: str, characters: int) -> str:
    return name if len(name) <= characters else name[: characters - 1] + "…"


def _open(height: float, title: str, width: int = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{safe(title)}">'


def _text(x: float, y: float, text: str, anchor: str, title: str = "") -> str:
    more = f"<title>{safe(title)}</title>" if title else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{more}{safe(text)}</text>'
