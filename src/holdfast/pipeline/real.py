"""The real clock, the real chance, and where a listener's own errors go.

This is the one place that reads them; `holdfast.testing` replaces them.
"""

from __future__ import annotations

import logging
import random
import threading
import time

from holdfast import events
from holdfast.events import Listener, hub
from holdfast.ports import ambient


class SystemClock:
    """The time of this machine."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)

    @staticmethod
    def wait(event: threading.Event, seconds: float | None) -> bool:
        """Block until ``event`` is set or the seconds are over; is it set?"""
        # A longer wait than the platform can express is for ever.
        return event.wait(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))


def _log_fault(listener: Listener, event: events.Event, error: Exception) -> None:
    logging.getLogger("holdfast").error(
        "listener %r failed on %s", listener, type(event).__name__, exc_info=error
    )


def install() -> None:
    """Put the real parts in place."""
    ambient.use(SystemClock())
    ambient.chance = random.random
    hub.fault = _log_fault
