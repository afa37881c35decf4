"""Whose turn it is when several threads and event loops wait for the same fake time.

- Time moves only to the earliest moment anybody waits for, and only when nobody
  has something to do now.
- A thread that waits for fake time has nothing to do. One that is at work is
  given `patience` real seconds, one that is blocked on a lock or an event gets
  `grace`; after that, time passes it over until it has moved.
- The threads that count are the one that made the clock and all started since.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic as real_seconds

POLL = 0.001
"""Real seconds between two looks at what the others do."""
_BLOCKED = ("threading.py", "queue.py", "selectors.py")
"""Modules in which a thread that is about to be woken by another one stands."""


class Waiter:
    """Somebody who waits for a moment, or to be woken before it."""

    __slots__ = ("deadline", "least", "pause", "thread")

    def __init__(self, deadline: float, pause: Callable[[float], bool], least: float = 0.0) -> None:
        self.deadline = deadline
        """The moment in fake seconds; infinite for one who only waits to be woken."""
        self.pause = pause
        """Waits so many real seconds to be woken; was it? Any thread may ask, with 0."""
        self.least = least
        """Real seconds to wait in any case; infinite where the world outside may wake it."""
        self.thread = threading.current_thread()


class Work:
    """What was given to an executor and is awaited."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False


class Turns:
    """Everybody who waits for one clock."""

    def __init__(self, start: float, grace: float, patience: float) -> None:
        self.now = start
        self.grace = grace
        self.patience = patience
        self.over = False
        """Whether the clock is no longer in use: whoever still waits must not poll for ever."""
        self.work: set[Work] = set()
        self._strangers = set(threading.enumerate()) - {threading.current_thread()}
        self._waiters: set[Waiter] = set()
        self._passed_over: dict[threading.Thread, tuple[int, int]] = {}
        self._moves = 0
        self._lock = threading.RLock()

    def advance(self, seconds: float) -> None:
        """Let time pass without asking anybody."""
        with self._lock:
            self.now += seconds
            self._moves += 1

    def wait(self, waiter: Waiter) -> bool:
        """Wait until ``waiter`` is woken (True) or its moment has come (False).

        Raises:
            RuntimeError: nobody is left who could wake it, and no moment will come.
        """
        with self._present(waiter):
            moves, since = self._moves, real_seconds()
            while not waiter.pause(0.0):
                if self.now >= waiter.deadline:
                    return False
                if self.over:
                    return self._wait_alone(waiter)
                delay = max(waiter.least, self._delay(waiter))
                if moves != self._moves:
                    moves, since = self._moves, real_seconds()
                if real_seconds() - since >= delay and self._move(waiter, passing=delay > 0):
                    return False
                waiter.pause(POLL)
            return True

    @contextmanager
    def _present(self, waiter: Waiter) -> Iterator[None]:
        with self._lock:
            self._waiters.add(waiter)
            self._passed_over.pop(waiter.thread, None)
            self._moves += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiters.discard(waiter)
                self._moves += 1

    def _move(self, waiter: Waiter, *, passing: bool) -> bool:
        """Move time to the waiter's moment, if that is the next one and nobody was woken."""
        with self._lock:
            if any(w.deadline < waiter.deadline or w.pause(0.0) for w in self._waiters):
                return False
            if waiter.deadline == math.inf:
                raise RuntimeError(
                    "everybody waits to be woken by somebody else, and no time limit or timer "
                    "will end it: outside of this test the code would hang"
                )
            if passing:
                self._passed_over = {t: place for t, place, _ in self._others()}
                self.work.clear()
            self.now = max(self.now, waiter.deadline)
            self._moves += 1
            return True

    def _wait_alone(self, waiter: Waiter) -> bool:
        while waiter.deadline == math.inf:
            if waiter.pause(60.0):
                return True
        self.advance(max(0.0, waiter.deadline - self.now))
        return False

    def _delay(self, waiter: Waiter) -> float:
        """Real seconds of quiet to wait for, given what everybody does."""
        others = self._others()
        delay = max((seconds for _, _, seconds in others), default=0.0)
        if any(not work.begun for work in self.work):
            delay = self.patience
        if waiter.deadline == math.inf:
            # To say that nothing will ever come needs to be surer than to let time pass.
            if self.work or any(seconds == self.patience for _, _, seconds in others):
                return math.inf
            return self.patience if others or self._strangers else 0.0
        return delay

    def _others(self) -> list[tuple[threading.Thread, tuple[int, int], float]]:
        """Threads that wait for no moment: which, where they stand, what to grant them."""
        with self._lock:
            waiting = {waiter.thread for waiter in self._waiters}
        threads = [
            thread
            for thread in threading.enumerate()
            if thread not in self._strangers and thread not in waiting
        ]
        if not threads:
            return []
        frames = sys._current_frames()  # noqa: SLF001  # documented for this very purpose
        found = []
        for thread in threads:
            frame = frames.get(thread.ident or 0)
            place = (0, 0) if frame is None else (id(frame), frame.f_lasti)
            seconds = self.patience
            if self._passed_over.get(thread) == place:
                seconds = 0.0
            elif frame is not None:
                code = frame.f_code
                if code.co_name == "_worker" and code.co_filename.endswith("thread.py"):
                    seconds = 0.0  # an executor's thread without work
                elif code.co_filename.endswith(_BLOCKED):
                    seconds = self.grace
            found.append((thread, place, seconds))
            # Frames hold what their functions hold.
            del frame
        frames.clear()
        return found
