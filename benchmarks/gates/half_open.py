"""Gate 1: at the end of the open period one probe is let through, not the whole crowd."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

from benchmarks.gates.circuit import UNWELL, AsyncCircuit, SyncCircuit
from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

CALLERS = 20
OPEN_SECONDS = 0.2
PROBE_SECONDS = 0.1


def probe(peer: Peer) -> Result:
    """Twenty callers at once; the dependency is still down."""
    seen = {}
    if peer.breaker_async is not None:
        seen["tasks"] = asyncio.run(_tasks(peer.breaker_async))
    if peer.breaker_sync is not None:
        seen["threads"] = _threads(peer.breaker_sync)
    if not seen:
        return absent("breaker")
    told = [f"{admitted} of {CALLERS} {what}" for what, admitted in seen.items()]
    wrong = [text for text, admitted in zip(told, seen.values(), strict=True) if admitted != 1]
    return verdict([f"admitted {text}" for text in wrong], f"admitted {', '.join(told)}")


async def _tasks(factory: Factory) -> int:
    circuit = AsyncCircuit(factory, failures=1, open_for=OPEN_SECONDS)
    await circuit.fail()
    await asyncio.sleep(OPEN_SECONDS * 1.3)
    before = circuit.reached

    async def action() -> None:
        await asyncio.sleep(PROBE_SECONDS)
        raise UNWELL("still down")

    async def caller() -> None:
        with contextlib.suppress(Exception):
            await circuit.call(action)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return circuit.reached - before


def _threads(factory: Factory) -> int:
    circuit = SyncCircuit(factory, failures=1, open_for=OPEN_SECONDS)
    circuit.fail()
    time.sleep(OPEN_SECONDS * 1.3)
    before, together = circuit.reached, threading.Barrier(CALLERS)

    def action() -> None:
        time.sleep(PROBE_SECONDS)
        raise UNWELL("still down")

    def caller() -> None:
        together.wait()
        with contextlib.suppress(Exception):
            circuit.call(action)

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return circuit.reached - before
