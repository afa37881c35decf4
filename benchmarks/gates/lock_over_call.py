"""Gate 2: no lock is held over the call, so twenty calls of 0.1 s take 0.1 s."""

from __future__ import annotations

import asyncio
import threading
import time

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

CALLERS = 20
CALL_SECONDS = 0.1
LIMIT_SECONDS = CALL_SECONDS * 5


def probe(peer: Peer) -> Result:
    """Through one closed breaker, threads and tasks."""
    seen = {}
    if peer.breaker_sync is not None:
        seen["threads"] = _threads(peer.breaker_sync)
    if peer.breaker_async is not None:
        seen["tasks"] = asyncio.run(_tasks(peer.breaker_async))
    if not seen:
        return absent("breaker")
    told = {
        what: f"{CALLERS} {what} x {CALL_SECONDS} s took {spent:.1f} s"
        for what, spent in seen.items()
    }
    return verdict(
        [told[what] for what, spent in seen.items() if spent > LIMIT_SECONDS],
        ", ".join(told.values()),
    )


def _threads(factory: Factory) -> float:
    guarded = factory(lambda: time.sleep(CALL_SECONDS))
    threads = [threading.Thread(target=guarded) for _ in range(CALLERS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


async def _tasks(factory: Factory) -> float:
    async def sleep() -> None:
        await asyncio.sleep(CALL_SECONDS)

    guarded = factory(sleep)
    began = time.monotonic()
    await asyncio.gather(*(guarded() for _ in range(CALLERS)))
    return time.monotonic() - began
