"""Event loops on fake time: asyncio's own selector loop, with its clock and its waiting replaced.

- When nothing is left to do at this moment, time jumps to the next timer.
- It does not jump over work in an executor. Where sockets, pipes or
  subprocesses are open, they get a moment of real time before each jump.
- A loop that is running already can be put on fake time and back: its timers
  stay where they are, because its time goes on from where it was.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from holdfast.testing.turns import Turns, Waiter, Work

_REPLACED = ("_selector", "time", "run_in_executor", "shutdown_default_executor")


class JumpingSelector(selectors.BaseSelector):
    """Never blocks for a timer: it lets the fake time pass instead."""

    def __init__(self, inner: selectors.BaseSelector, turns: Turns) -> None:
        self.inner = inner
        self.real = False
        """Whether to wait in real time, as a loop that is closing must."""
        self._turns = turns

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; time passes only if nothing is."""
        found = self.inner.select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.real:
            return self.inner.select(timeout)

        def pause(seconds: float) -> bool:
            found[:] = self.inner.select(seconds)
            return bool(found)

        deadline = math.inf if timeout is None else self._turns.now + timeout
        least = 0.0
        if len(self.inner.get_map()) > 1:  # the first one is the loop's own, for waking it
            least = math.inf if timeout is None else self._turns.grace
        self._turns.wait(Waiter(deadline, pause, least))
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the real one."""
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the real one."""
        return self.inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """As the real one."""
        return self.inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As the real one."""
        return self.inner.get_map()

    def close(self) -> None:
        """As the real one."""
        self.inner.close()


class Adoption:
    """One loop on fake time, for a while."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turns: Turns, start: float) -> None:
        """Put ``loop`` on fake time; its own time is ``start`` now.

        Raises:
            RuntimeError: the loop is not asyncio's selector loop.
        """
        selector = getattr(loop, "_selector", None)
        if not isinstance(selector, selectors.BaseSelector):
            raise RuntimeError(  # noqa: TRY004  # the loop is given, not chosen by an argument
                f"only asyncio's own selector event loop can run on fake time, "
                f"and this one is a {type(loop).__name__}: use FakeClock.run"
            )
        while isinstance(selector, JumpingSelector):
            selector = selector.inner
        self._loop: Any = loop
        self._turns = turns
        self._behind = turns.now - start
        self._selector = JumpingSelector(selector, turns)
        self._class: Any = type(loop)
        self._before = {name: vars(loop)[name] for name in _REPLACED if name in vars(loop)}
        # asyncio has no other way in, and its methods look these up on the loop each time.
        vars(loop).update({name: getattr(self, name) for name in _REPLACED})

    def end(self) -> None:
        """Give the loop back its own time."""
        for name in _REPLACED:
            vars(self._loop).pop(name, None)
        vars(self._loop).update(self._before)

    def time(self) -> float:
        """The loop's time, in seconds."""
        return self._turns.now - self._behind

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As the loop does, but remembered as work that time must not jump over."""
        work = Work()

        def begin(*given: Any) -> Any:
            work.begun = True
            return func(*given)

        # What goes to another process must be picklable, so it is not wrapped.
        threads = executor is None or isinstance(executor, ThreadPoolExecutor)
        future: asyncio.Future[Any] = self._class.run_in_executor(
            self._loop, executor, begin if threads else func, *args
        )
        self._turns.work.add(work)
        future.add_done_callback(lambda _: self._turns.work.discard(work))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002  # asyncio's
        """As the loop does, waiting in real time: what still runs there cannot be hurried."""
        self._selector.real = True
        await self._class.shutdown_default_executor(self._loop)


def new_loop(turns: Turns) -> asyncio.AbstractEventLoop:
    """A new event loop on fake time."""
    loop = asyncio.SelectorEventLoop()
    # It stays adopted until it is closed.
    Adoption(loop, turns, turns.now)
    return loop
