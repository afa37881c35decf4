"""Ctrl-C and SIGTERM: stop once, in order, and only what is ours.

The task that is inside the `with` block is cancelled; what it cleans up while
it is cancelled (our jobs on the servers) is bounded in time, so a second
Ctrl-C changes nothing.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What asks us to stop; SIGHUP comes when the terminal is closed."""


class Stopping:
    """Turns the first signal into the cancellation of the block, and swallows that cancellation."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.asked = False
        """Whether somebody asked to stop."""
        self._tell = tell
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        if _may_handle_signals():
            loop = asyncio.get_running_loop()
            for number in SIGNALS:
                loop.add_signal_handler(number, self._stop)
        return self

    def _stop(self) -> None:
        if self.asked or self._task is None:
            return
        self.asked = True
        self._tell()
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if _may_handle_signals():
            loop = asyncio.get_running_loop()
            for number in SIGNALS:
                loop.remove_signal_handler(number)
        if not self.asked or self._task is None or not isinstance(error, asyncio.CancelledError):
            return False
        self._task.uncancel()
        return True


def _may_handle_signals() -> bool:
    # Only the main thread may, and Windows' event loops cannot; there asyncio.run does its own.
    return threading.current_thread() is threading.main_thread() and sys.platform != "win32"
