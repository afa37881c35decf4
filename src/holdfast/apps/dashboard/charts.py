"""Plots, as options for ECharts: plain data, drawn alike on dark and on light ground.

No option here is a function, and no name in one comes from a job. Every plot has an equal in
words, for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.apps.dashboard.phrases import clock, duration, percent, plural
from holdfast.apps.dashboard.sources import Series, StrategyView

GREEN, RED, BLUE, VIOLET, GREY = "#22a06b", "#e5484d", "#3b82f6", "#8b5cf6", "#8a93a6"
_LINE = "rgba(138,147,166,0.22)"
_FONT = "Roboto, system-ui, -apple-system, 'Segoe UI', sans-serif"


def throughput(series: Series) -> dict[str, Any]:
    """Jobs that ended, by the minute."""
    return _by_minute(
        series,
        [
            _bars("Delivered", series.delivered, GREEN, stack="jobs"),
            _bars("Failed", series.failed, RED, stack="jobs"),
        ],
        whole=True,
    )


def throughput_words(series: Series) -> str:
    """The same in words."""
    return (
        f"In the last {plural(len(series.minutes), 'minute')}: "
        f"{plural(sum(series.delivered), 'job')} delivered, {sum(series.failed):,} failed"
    )


def latency(series: Series) -> dict[str, Any]:
    """How long jobs took, by the minute."""
    return _by_minute(
        series,
        [_line("p50", _rounded(series.p50), BLUE), _line("p95", _rounded(series.p95), VIOLET)],
        unit="s",
    )


def latency_words(series: Series) -> str:
    """The same in words."""
    p50 = next((each for each in reversed(series.p50) if each is not None), None)
    p95 = next((each for each in reversed(series.p95) if each is not None), None)
    if p50 is None:
        return "Nothing was delivered in the last hour"
    return (
        f"Of the last minute with deliveries: half within {duration(p50)}, "
        f"95 % within {duration(p95)}"
    )


def errors_by_category(categories: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Errors by category, the most at the top."""
    shown = list(reversed(categories[:8]))
    return _across([name for name, _ in shown], [count for _, count in shown], RED)


def categories_words(categories: Sequence[tuple[str, int]]) -> str:
    """The same in words."""
    return ", ".join(f"{name}: {count:,}" for name, count in categories[:8]) or "No errors"


def errors_by_minute(minutes: Sequence[int]) -> dict[str, Any]:
    """Errors of the last hour, by the minute."""
    count = len(minutes)
    labels = [f"-{count - 1 - place} min" for place in range(count)]
    return _frame(labels, [_bars("Errors", minutes, RED)], whole=True)


def recovery_rates(strategies: Sequence[StrategyView]) -> dict[str, Any]:
    """How often each strategy helped, in per cent."""
    shown = list(reversed(strategies[:8]))
    options = _across(
        [each.name.replace("_", " ") for each in shown],
        [round(each.rate * 100) for each in shown],
        GREEN,
    )
    options["xAxis"] |= {
        "max": 100,
        "splitNumber": 2,
        "axisLabel": {"color": GREY, "formatter": "{value} %"},
    }
    options["series"][0]["label"]["formatter"] = "{c} %"
    return options


def recovery_words(strategies: Sequence[StrategyView]) -> str:
    """The same in words."""
    return (
        ", ".join(
            f"{each.name.replace('_', ' ')}: {each.successful} of {each.attempted}, "
            f"{percent(each.rate)}"
            for each in strategies[:8]
        )
        or "No recovery was tried yet"
    )


def sparkline(values: Sequence[int]) -> dict[str, Any]:
    """A small one without axes."""
    return {
        "animation": False,
        "grid": {"left": 0, "right": 0, "top": 2, "bottom": 0},
        "xAxis": {"type": "category", "show": False},
        "yAxis": {"type": "value", "show": False, "min": 0},
        "series": [_bars("Errors", values, RED)],
    }


def _by_minute(series: Series, lines: list[dict[str, Any]], **how: Any) -> dict[str, Any]:
    return _frame([clock(at)[:5] for at in series.minutes], lines, **how)


def _frame(
    labels: list[str], lines: list[dict[str, Any]], *, whole: bool = False, unit: str = ""
) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "type": "value",
        "min": 0,
        "splitNumber": 3,
        "axisLabel": {"color": GREY, "formatter": f"{{value}} {unit}".strip()},
        "splitLine": {"lineStyle": {"color": _LINE}},
    }
    if whole:
        axis["minInterval"] = 1
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FONT},
        "aria": {"enabled": True},
        "grid": {"left": 8, "right": 12, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "left": 0, "icon": "roundRect", "itemWidth": 12, "itemHeight": 8,
                   "textStyle": {"color": GREY}, "show": len(lines) > 1},
        "tooltip": {"trigger": "axis", "confine": True, "axisPointer": {"type": "shadow"}},
        "xAxis": {
            "type": "category",
            "data": labels,
            "axisLabel": {
                "color": GREY,
                "hideOverlap": True,
                "alignMinLabel": "left",
                "alignMaxLabel": "right",
            },
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": _LINE}},
        },
        "yAxis": axis,
        "series": lines,
    }  # fmt: skip


def _across(labels: list[str], values: list[int], colour: str) -> dict[str, Any]:
    return {
        "animation": False,
        "textStyle": {"fontFamily": _FONT},
        "aria": {"enabled": True},
        "grid": {"left": 8, "right": 48, "top": 4, "bottom": 4, "containLabel": True},
        "xAxis": {
            "type": "value",
            "min": 0,
            "minInterval": 1,
            "splitNumber": 4,
            "axisLabel": {"color": GREY, "hideOverlap": True},
            "splitLine": {"lineStyle": {"color": _LINE}},
        },
        "yAxis": {
            "type": "category",
            "data": labels,
            "axisLabel": {"color": GREY, "width": 110, "overflow": "truncate"},
            "axisTick": {"show": False},
            "axisLine": {"show": False},
        },
        "series": [
            {
                "type": "bar",
                "data": values,
                "barMaxWidth": 18,
                "itemStyle": {"color": colour, "borderRadius": [0, 4, 4, 0]},
                "label": {"show": True, "position": "right", "color": GREY},
            }
        ],
    }


def _bars(
    name: str, values: Sequence[int], colour: str, stack: str | None = None
) -> dict[str, Any]:
    bars: dict[str, Any] = {
        "name": name,
        "type": "bar",
        "data": list(values),
        "barCategoryGap": "25%",
        "itemStyle": {"color": colour, "borderRadius": 2},
    }
    return bars | {"stack": stack} if stack else bars


def _line(name: str, values: Sequence[float | None], colour: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "data": list(values),
        "connectNulls": True,
        # A lone minute is no line yet.
        "showSymbol": sum(each is not None for each in values) < 12,
        "symbolSize": 6,
        "lineStyle": {"width": 2, "type": "solid" if name == "p50" else "dashed"},
        "itemStyle": {"color": colour},
        "areaStyle": {"opacity": 0.08},
    }


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if each is None else round(each, 2) for each in values]
