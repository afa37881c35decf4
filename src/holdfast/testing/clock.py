"""A clock that stands still until somebody waits, for sync and async code alike.

::

    with FakeClock() as clock:
        clock.run(main())       # asyncio: every sleep and timeout passes at once
        retry.call(upload)      # sync: every wait passes at once
        clock.advance(60)       # or move it by hand

    async with FakeClock():     # puts the loop that is running on fake time
        await main()

While it is installed, all of Holdfast reads it. In an event loop on fake time,
so does all of asyncio: when nothing is left to do at this moment, time jumps to
the next timer. Threads and loops that wait for the same clock wake in the order
of their moments. It is meant for code that waits for time and not for the
network: an answer from outside that takes longer than ``grace`` comes too late.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine
from time import sleep as real_sleep
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.policies import checks
from holdfast.testing.loops import Adoption, new_loop
from holdfast.testing.places import clock_place
from holdfast.testing.turns import Turns, Waiter

T = TypeVar("T")


class FakeClock:
    """Monotonic seconds under the control of a test."""

    def __init__(
        self,
        start: float = 1_000.0,
        wall: float = 1_750_000_000.0,
        *,
        grace: float = 0.05,
        patience: float = 5.0,
    ) -> None:
        """Make a clock that stands still.

        Args:
            start: monotonic seconds at the beginning.
            wall: seconds since 1970 at the beginning.
            grace: real seconds that a thread blocked on a lock, and open sockets, get before
                time passes them over.
            patience: real seconds that a thread at work gets.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.number("start", start)
        checks.number("wall", wall)
        checks.seconds("grace", grace, zero=True)
        checks.seconds("patience", patience, zero=True)
        self._turns = Turns(start, grace, patience)
        self._wall_offset = wall - start
        self._adoptions: list[Adoption] = []
        self.slept: list[float] = []
        """What sync code slept, in seconds, in order."""

    def now(self) -> float:
        """Monotonic seconds."""
        return self._turns.now

    def wall(self) -> float:
        """Seconds since 1970."""
        return self._turns.now + self._wall_offset

    def advance(self, seconds: float) -> None:
        """Let time pass; in async code timers go off at the next turn of the loop.

        Raises:
            BadInputError: ``seconds`` is negative or not finite.
        """
        checks.seconds("seconds", seconds, zero=True)
        self._turns.advance(seconds)

    def set_wall(self, wall: float) -> None:
        """Change the date, as an administrator would; monotonic time goes on."""
        self._wall_offset = wall - self._turns.now

    def sleep(self, seconds: float) -> None:
        """Let the time pass: at once, unless other threads have something to do before.

        Raises:
            ValueError: ``seconds`` is negative, as with `time.sleep`.
        """
        checks.seconds("seconds", seconds, zero=True)
        self.slept.append(seconds)
        if seconds > 0:
            self._turns.wait(Waiter(self._turns.now + seconds, _doze))

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Let the time pass until another thread sets ``event``, or until it is over.

        Raises:
            RuntimeError: there is no time limit, and nobody left who could set the event.
        """

        def pause(real: float) -> bool:
            return event.is_set() or (real > 0 and event.wait(real))

        deadline = math.inf if seconds is None else self._turns.now + seconds
        if self._turns.wait(Waiter(deadline, pause)):
            return True
        if seconds is not None and seconds > 0:
            self.slept.append(seconds)
        return event.is_set()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Like `asyncio.run`, in a loop whose time is this clock's.

        Raises:
            RuntimeError: an event loop is running already; use ``async with`` there.
        """
        if asyncio._get_running_loop() is None:  # noqa: SLF001  # the public one raises
            with asyncio.Runner(loop_factory=self.new_loop) as runner:
                return runner.run(main)
        main.close()
        raise RuntimeError(
            "FakeClock.run was called where an event loop is running already: await the "
            "coroutine inside `async with clock:` instead, or make the test a plain `def`"
        )

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop on this clock's time, for whoever takes a loop factory."""
        return new_loop(self._turns)

    def __enter__(self) -> Self:
        self._turns.over = False
        clock_place.put(self, (self.now, self.wall, self.sleep, self.wait))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._turns.over = not clock_place.take(self)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._adoptions.append(Adoption(loop, self._turns, loop.time()))
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
        self._adoptions.pop().end()


def _doze(real: float) -> bool:
    """What a sleeper does between two looks; nobody can wake it."""
    if real > 0:
        real_sleep(real)
    return False
