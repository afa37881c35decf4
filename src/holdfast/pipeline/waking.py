"""How somebody who waits in an event loop is woken, from whatever thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def waker(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> Callable[[], bool]:
    """A function that ends the wait for ``over``; False if the loop is closed."""

    def wake() -> bool:
        try:
            loop.call_soon_threadsafe(resolve, over)
        except RuntimeError:
            return False  # the loop is closed, and so nobody waits any more
        return True

    return wake


def resolve(over: asyncio.Future[None]) -> None:
    """End the wait, unless it has ended; in the loop's own thread."""
    if not over.done():
        over.set_result(None)
