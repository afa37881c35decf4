"""Figures in words, and what a state looks like: short, and the same on every page."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from holdfast.apps.dashboard.sources import Tone

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_TONES = {
    "queued": (Tone.PLAIN, "schedule"),
    "running": (Tone.BUSY, "play_circle"),
    "delivered": (Tone.GOOD, "check_circle"),
    "failed": (Tone.BAD, "error"),
    "cancelled": (Tone.PLAIN, "block"),
    "up": (Tone.GOOD, "check_circle"),
    "new": (Tone.PLAIN, "help"),
    "ramping": (Tone.BUSY, "trending_up"),
    "down": (Tone.BAD, "error"),
    "ejected": (Tone.WARN, "logout"),
    "draining": (Tone.WARN, "hourglass_bottom"),
    "alien": (Tone.BAD, "help"),
    "closed": (Tone.GOOD, "check_circle"),
    "open": (Tone.BAD, "error"),
    "half_open": (Tone.WARN, "pending"),
    "forced_open": (Tone.BAD, "pan_tool"),
    "disabled": (Tone.WARN, "power_off"),
    "metrics_only": (Tone.PLAIN, "visibility"),
    "full": (Tone.GOOD, "signal_cellular_alt"),
    "high": (Tone.WARN, "warning"),
    "medium": (Tone.WARN, "warning"),
    "low": (Tone.PLAIN, "info"),
    "critical": (Tone.BAD, "error"),
    "minimal": (Tone.BAD, "warning"),
    "rising": (Tone.BAD, "trending_up"),
    "steady": (Tone.PLAIN, "trending_flat"),
    "falling": (Tone.GOOD, "trending_down"),
}


def duration(seconds: float | None) -> str:
    """A length of time: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def ago(at: float | None, now: float) -> str:
    """How long ago something was, roughly: ``just now``, ``3 min ago``."""
    if at is None:
        return "-"
    seconds = now - at
    if seconds < 10:
        return "just now"
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return f"{int(seconds)} s ago"


def moment(at: float | None) -> str:
    """A moment in full, in UTC: ``2026-11-28 23:55:01 UTC``."""
    if at is None:
        return "-"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return "-"


def clock(at: float) -> str:
    """The time of day in UTC: ``23:55:01``."""
    return moment(at)[11:19]


def size(count: int | None) -> str:
    """So many bytes: ``1.2 MB``."""
    if count is None:
        return "-"
    if count < 1_000:
        return f"{count} B"
    value = float(count)
    unit = "B"
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 - the last one is told
        value /= 1_000
        if value < 999.5:
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def percent(share: float | None) -> str:
    """A share: ``97 %``; a dash for None."""
    return "-" if share is None else f"{share * 100:.0f} %"


def cut(text: str, length: int) -> str:
    """A text of at most so many characters, in one line."""
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"


def plural(count: int, one: str, many: str = "") -> str:
    """``1 job``, ``2 jobs``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def tone_of(state: str) -> Tone:
    """What a state means."""
    return _TONES.get(state, (Tone.PLAIN, ""))[0]


def icon_of(state: str) -> str:
    """The sign of a state, so that colour is never all there is."""
    return _TONES.get(state, (Tone.PLAIN, "circle"))[1]


def spoken(state: str) -> str:
    """A state's name for people: ``half open``."""
    return state.replace("_", " ")
