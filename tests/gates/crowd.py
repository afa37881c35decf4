"""Many at once: threads that start together, and tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Self

PATIENCE = 10.0
"""Real seconds after which a thread counts as wedged."""


def in_threads(*bodies: Callable[[], Any]) -> list[Any]:
    """Run each body in a thread of its own, all from the same instant; results or errors."""
    results: list[Any] = [None] * len(bodies)
    start = threading.Barrier(len(bodies))

    def run(number: int, body: Callable[[], Any]) -> None:
        start.wait(PATIENCE)
        try:
            results[number] = body()
        except BaseException as error:  # what came out is the answer
            results[number] = error

    threads = [
        threading.Thread(target=run, args=(number, body), daemon=True)
        for number, body in enumerate(bodies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread is wedged"
    return results


async def in_tasks(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run so many tasks together; results or errors."""
    return await asyncio.gather(*(call() for _ in range(count)), return_exceptions=True)


class Gauge:
    """How many calls are inside at the same time, in all threads and loops together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.peak = 0
        self.total = 0

    def __enter__(self) -> Self:
        with self._lock:
            self.now += 1
            self.total += 1
            self.peak = max(self.peak, self.now)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1
