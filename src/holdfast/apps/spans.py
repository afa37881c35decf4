"""Spans of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``seconds`` as people say it, such as ``2 h 05 min``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
