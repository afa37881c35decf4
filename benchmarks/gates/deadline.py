"""Gate 17: the total deadline interrupts the attempt that is running."""

from __future__ import annotations

import asyncio
import contextlib
import time

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

DEADLINE_SECONDS = 0.2
ATTEMPT_SECONDS = 1.0


def probe(peer: Peer) -> Result:
    """Retries with a total of 0.2 s around an attempt of 1 s."""
    if peer.deadline_async is None:
        return absent("total deadline")
    spent = asyncio.run(_spent(peer.deadline_async))
    told = f"came back after {spent:.1f} s of {DEADLINE_SECONDS} s"
    return verdict([told] if spent > DEADLINE_SECONDS * 2 else [], told)


async def _spent(factory: Factory) -> float:
    async def attempt() -> None:
        await asyncio.sleep(ATTEMPT_SECONDS)
        raise ConnectionError("late and failed")

    began = time.monotonic()
    with contextlib.suppress(Exception):
        await factory(attempt, seconds=DEADLINE_SECONDS)()
    return time.monotonic() - began
