"""Clocks that a probe can move, put in place before any library is imported.

Libraries take `time.monotonic` or `datetime` at import, so this must come first;
the runner sees to that. Nothing outside the probe's own process is touched.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Self

_wall, _monotonic, _sleep = time.time, time.monotonic, time.sleep
_Real = dt.datetime


class Moved:
    """How far the clocks of this process are ahead of the machine's."""

    wall = 0.0
    """Seconds; what an operator, a time server or a resume from sleep does."""
    both = 0.0
    """Seconds by which wall and monotonic clock moved; time that passes without waiting."""


class MovedDatetime(_Real):
    """`datetime` by the moved wall clock."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Self:
        return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)


def install_wall() -> None:
    """Let `Moved.wall` move `time.time` and `datetime`."""
    time.time = lambda: _wall() + Moved.wall + Moved.both
    dt.datetime = MovedDatetime  # type: ignore[misc]


def install_all() -> None:
    """Let time pass by `pass_time` and by `time.sleep`, at once."""
    install_wall()
    time.monotonic = lambda: _monotonic() + Moved.both
    time.sleep = pass_time


def pass_time(seconds: float) -> None:
    """Seconds go by on every clock."""
    Moved.both += seconds


def settle_in(zone: str) -> None:
    """Move this process to a time zone."""
    os.environ["TZ"] = zone
    time.tzset()
