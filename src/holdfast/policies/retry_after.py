"""When a server asked to be called again: its Retry-After, wherever an error carries it.

RFC 9110, section 10.2.3: a number of seconds, or an HTTP date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from holdfast.policies.matching import leaves


def retry_after_of(error: Any, wall_time: float | None = None) -> float | None:
    """Seconds the error asks for, or None.

    Read from its ``retry_after`` (seconds, a timedelta or the header's text), or from the
    Retry-After of its ``headers`` or its ``response.headers``. A group asks for its longest.

    Args:
        error: any exception, or a response.
        wall_time: seconds since 1970, to make sense of dates; without it dates are not read.
    """
    if not isinstance(error, BaseExceptionGroup):
        return _of_one(error, wall_time)
    told = [_of_one(leaf, wall_time) for leaf in leaves(error)]
    return max((seconds for seconds in told if seconds is not None), default=None)


def _of_one(error: Any, wall_time: float | None) -> float | None:
    own = getattr(error, "retry_after", None)
    if own is not None and not callable(own):
        return read(own, wall_time)
    for holder in (error, getattr(error, "response", None)):
        headers = getattr(holder, "headers", None)
        if isinstance(headers, Mapping) or hasattr(headers, "get"):
            for name in ("Retry-After", "retry-after"):
                value = headers.get(name)  # type: ignore[union-attr]
                if value is not None:
                    return read(value, wall_time)
    return None


def read(value: Any, wall_time: float | None = None) -> float | None:
    """Seconds from a number, a timedelta or the header's text; None if it says nothing."""
    if isinstance(value, bool):
        return None
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.strip()
        try:
            value = float(value)
        except ValueError:
            return _date(value, wall_time)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(0.0, float(value))


def _date(text: str, wall_time: float | None) -> float | None:
    if wall_time is None:
        return None
    from email.utils import mktime_tz, parsedate_tz  # noqa: PLC0415  # slow to import, rarely used

    parsed = parsedate_tz(text[:100])
    if parsed is None:
        return None
    try:
        return max(0.0, mktime_tz(parsed) - wall_time)
    except (OverflowError, ValueError):
        return None
