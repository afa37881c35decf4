"""Whether a server process lives, and whether it is frozen.

A thread cannot be killed and a process inside ours cannot be stopped, so both
threads of a stand-in (its event loop and its worker) ask here at every point
where a real one could have been struck.

- Death is final: a new life has a new pulse.
- A frozen thread wakes at once when the process dies.
- Safe to use from any thread.
"""

from __future__ import annotations

import threading
import time


class Gone(BaseException):
    """The server died; unwind the worker without a word.

    A `BaseException`, so that a node's own ``except Exception`` cannot catch it.
    """


class Pulse:
    """The life sign of one server process."""

    def __init__(self) -> None:
        self._gone = threading.Event()
        self._thaw_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether the process still lives."""
        return not self._gone.is_set()

    def end(self) -> None:
        """Die. Everybody who waits here wakes up."""
        self._gone.set()

    def freeze(self, seconds: float) -> None:
        """Stop both threads at their next `hold` or `beat`, until ``seconds`` have passed."""
        self._thaw_at = max(self._thaw_at, time.monotonic() + seconds)

    def hold(self) -> None:
        """Wait here while frozen. Returns early if the process dies."""
        while self.alive and (left := self._thaw_at - time.monotonic()) > 0:
            self._gone.wait(left)

    def beat(self) -> None:
        """Wait while frozen, then go on, or raise `Gone` if the process is dead."""
        self.hold()
        if not self.alive:
            raise Gone

    def sleep(self, seconds: float) -> None:
        """Spend ``seconds`` working; raise `Gone` as soon as the process dies."""
        if seconds > 0:
            self._gone.wait(seconds)
        self.beat()
