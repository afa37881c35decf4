"""Gate 7: one object serves two runs of asyncio, and two loops at once, within its limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

LIMIT = 2
TASKS = 6
CALL_SECONDS = 0.03
RATE = 4
PER_SECONDS = 0.2


class Gauge:
    """How many calls run at the same time, in all loops together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.peak = 0

    async def call(self) -> None:
        with self._lock:
            self._running += 1
            self.peak = max(self.peak, self._running)
        await asyncio.sleep(CALL_SECONDS)
        with self._lock:
            self._running -= 1


def probe(peer: Peer) -> Result:
    """A contended bulkhead, or a contended limiter where there is no bulkhead."""
    if peer.bulkhead_async is not None:
        return _bulkhead(peer.bulkhead_async)
    if peer.limiter_async is not None:
        return _limiter(peer.limiter_async)
    return absent("asynchronous bulkhead or limiter")


def _bulkhead(factory: Factory) -> Result:
    gauge = Gauge()
    wrong = _two_runs(factory(gauge.call, limit=LIMIT, wait=10.0))
    if gauge.peak > LIMIT:
        wrong.append(f"{gauge.peak} at once in one loop, limit {LIMIT}")
    gauge = Gauge()
    wrong += _two_live_loops(factory(gauge.call, limit=LIMIT, wait=10.0))
    if gauge.peak > LIMIT:
        wrong.append(f"{gauge.peak} at once in two live loops, limit {LIMIT}")
    return verdict(wrong, "two runs and two live loops share one bulkhead")


def _limiter(factory: Factory) -> Result:
    wrong = _two_runs(factory(_nothing, rate=RATE, per=PER_SECONDS))
    began = time.monotonic()
    wrong += _two_live_loops(factory(_nothing, rate=RATE, per=PER_SECONDS))
    least = (2 * TASKS - RATE) / RATE * PER_SECONDS
    if not wrong and time.monotonic() - began < least * 0.7:
        wrong.append("two live loops each had the whole rate")
    return verdict(wrong, "two runs and two live loops share one limiter")


async def _nothing() -> None:
    return None


def _run(guarded: Callable[[], Awaitable[Any]]) -> str:
    async def crowd() -> list[Any]:
        calls = (guarded() for _ in range(TASKS))
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = [error for error in asyncio.run(crowd()) if isinstance(error, BaseException)]
    if not errors:
        return ""
    return f"{len(errors)} of {TASKS} calls raised {type(errors[0]).__name__}"


def _two_runs(guarded: Callable[[], Awaitable[Any]]) -> list[str]:
    told = {number: _run(guarded) for number in ("first", "second")}
    return [f"{number} run: {text}" for number, text in told.items() if text]


def _two_live_loops(guarded: Callable[[], Awaitable[Any]]) -> list[str]:
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda: told.append(_run(guarded)), daemon=True) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5.0)
    wrong = [f"two live loops: {text}" for text in told if text]
    if any(thread.is_alive() for thread in threads):
        wrong.append("two live loops: a call never came back")
    return wrong
