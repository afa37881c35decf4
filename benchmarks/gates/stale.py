"""Gate 3: a result that began before the breaker opened says nothing about the time after."""

from __future__ import annotations

import asyncio

from benchmarks.gates.circuit import UNWELL, AsyncCircuit
from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

OPEN_SECONDS = 0.2


def probe(peer: Peer) -> Result:
    """A late success while open, a late failure during the probe, and one after it."""
    if peer.breaker_async is None:
        return absent("asynchronous breaker")
    wrong = []
    if not asyncio.run(_still_open_after_late_success(peer.breaker_async)):
        wrong.append("a late success closed the open circuit")
    if not asyncio.run(_closed_by_probe_after_late_failure(peer.breaker_async)):
        wrong.append("a late failure overruled the probe's success")
    if not asyncio.run(_late_failure_forgotten_once_closed(peer.breaker_async)):
        wrong.append("a late failure counted after the circuit had closed again")
    return verdict(wrong, "late outcomes change nothing")


async def _still_open_after_late_success(factory: Factory) -> bool:
    circuit = AsyncCircuit(factory, failures=1, open_for=30.0)
    late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    slow = await circuit.begin(late)
    await circuit.fail()
    late.set_result(None)
    await slow
    return not await circuit.succeed()


async def _closed_by_probe_after_late_failure(factory: Factory) -> bool:
    circuit = AsyncCircuit(factory, failures=1, open_for=OPEN_SECONDS)
    loop = asyncio.get_running_loop()
    late: asyncio.Future[None] = loop.create_future()
    answer: asyncio.Future[None] = loop.create_future()
    slow = await circuit.begin(late)
    await circuit.fail()
    await asyncio.sleep(OPEN_SECONDS * 1.3)
    probing = await circuit.begin(answer)
    late.set_exception(UNWELL("from before"))
    await slow
    answer.set_result(None)
    await probing
    return await circuit.succeed()


async def _late_failure_forgotten_once_closed(factory: Factory) -> bool:
    circuit = AsyncCircuit(factory, failures=2, open_for=OPEN_SECONDS)
    late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    slow = await circuit.begin(late)
    await circuit.fail()
    await circuit.fail()
    await asyncio.sleep(OPEN_SECONDS * 1.3)
    await circuit.succeed()
    late.set_exception(UNWELL("from before"))
    await slow
    # Two failures open it; one late and one fresh must not.
    await circuit.fail()
    return await circuit.succeed()
