"""Gate 12: whatever can be awaited when called gets its attempts, whatever it looks like."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer


class Job:
    """Fails once, then succeeds; callable in four shapes."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> str:
        return await self.method()

    async def method(self) -> str:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError("first call")
        return "done"


SHAPES: dict[str, Callable[[Job], Callable[[], Any]]] = {
    "async callable object": lambda job: job,
    "functools.partial": lambda job: functools.partial(Job.method, job),
    "bound method": lambda job: job.method,
    "lambda that returns a coroutine": lambda job: lambda: job.method(),  # noqa: PLW0108
}


def probe(peer: Peer) -> Result:
    """Retry each shape through the asynchronous way of the library."""
    if peer.retry_async is None:
        return absent("asynchronous retry")
    wrong = []
    for shape, make in SHAPES.items():
        if told := asyncio.run(_retried(peer.retry_async, make)):
            wrong.append(f"{shape}: {told}")
    return verdict(wrong, f"all {len(SHAPES)} shapes are retried")


async def _retried(factory: Factory, make: Callable[[Job], Callable[[], Any]]) -> str:
    job = Job()
    try:
        answer = factory(make(job), attempts=3)()
        while inspect.isawaitable(answer):
            answer = await answer
    except ConnectionError:
        return f"only {job.calls} attempt"
    except Exception as error:  # noqa: BLE001  a library that breaks on a shape says how
        return type(error).__name__
    return "" if answer == "done" else f"returned {answer!r}"
