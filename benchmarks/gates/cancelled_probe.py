"""Gate 4: a cancelled probe neither wedges the breaker nor closes it."""

from __future__ import annotations

import asyncio
import contextlib

from benchmarks.gates.circuit import AsyncCircuit
from benchmarks.gates.contract import Result, Status, absent
from benchmarks.peers.contract import Factory, Peer

OPEN_SECONDS = 0.2


def probe(peer: Peer) -> Result:
    """Cancel the probe, then see who gets through, now and after another open period."""
    if peer.breaker_async is None:
        return absent("asynchronous breaker")
    return asyncio.run(_cancel_a_probe(peer.breaker_async))


async def _cancel_a_probe(factory: Factory) -> Result:
    circuit = AsyncCircuit(factory, failures=2, open_for=OPEN_SECONDS)
    await circuit.fail()
    await circuit.fail()
    await asyncio.sleep(OPEN_SECONDS * 1.3)
    probing = await circuit.begin(asyncio.get_running_loop().create_future())
    probing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await probing

    # Half-open, one failure opens the circuit again; closed, it takes two.
    if await circuit.fail():
        if await circuit.succeed():
            return Result(Status.FAILED, "the cancelled probe closed the circuit")
        return Result(Status.PASSED, "the probe's place is free again at once")
    await asyncio.sleep(OPEN_SECONDS * 1.3)
    if await circuit.succeed():
        return Result(Status.PASSED, "free again, after another open period")
    return Result(Status.FAILED, "the breaker rejects for ever")
