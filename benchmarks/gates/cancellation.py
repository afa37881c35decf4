"""Gate 5: a cancellation is not a failure: never retried, never counted, never swallowed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NoReturn

from benchmarks.gates.circuit import AsyncCircuit, SyncCircuit
from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

LEAVING = (KeyboardInterrupt, SystemExit, GeneratorExit)


def probe(peer: Peer) -> Result:
    """Cancel tasks and raise what ends a program, inside retries and breakers."""
    wrong: list[str] = []
    if peer.retry_async is not None:
        wrong += asyncio.run(_retried(peer.retry_async))
    if peer.retry_sync is not None:
        wrong += _retried_leaving(peer.retry_sync)
    if peer.breaker_async is not None:
        wrong += asyncio.run(_counted(peer.breaker_async))
    if peer.breaker_sync is not None:
        wrong += _counted_leaving(peer.breaker_sync)
    if not any((peer.retry_async, peer.retry_sync, peer.breaker_async, peer.breaker_sync)):
        return absent("retry and no breaker")
    return verdict(wrong, "passes through everything untouched")


async def _retried(factory: Factory) -> list[str]:
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.3)

    task = asyncio.create_task(factory(hang, attempts=3)())
    await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
    wrong = [f"a cancelled call was made {calls} times"] if calls != 1 else []
    if not task.cancelled():
        wrong.append("retry swallowed the cancellation")
    return wrong


def _retried_leaving(factory: Factory) -> list[str]:
    wrong = []
    for kind in LEAVING:
        calls, seen = _calls_until(factory, kind)
        if calls != 1 or seen is not kind:
            wrong.append(f"{kind.__name__}: {calls} calls, {seen.__name__} came out")
    return wrong


def _calls_until(factory: Factory, kind: type[BaseException]) -> tuple[int, type[BaseException]]:
    calls = 0

    def leave() -> NoReturn:
        nonlocal calls
        calls += 1
        raise kind

    try:
        factory(leave, attempts=3)()
    except BaseException as error:  # noqa: BLE001  what comes out is the question
        return calls, type(error)
    return calls, type(None)  # type: ignore[return-value]


async def _counted(factory: Factory) -> list[str]:
    async def cancelled_call(circuit: AsyncCircuit) -> None:
        task = await circuit.begin(asyncio.get_running_loop().create_future())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    wrong = []
    circuit = AsyncCircuit(factory, failures=2, open_for=30.0)
    await cancelled_call(circuit)
    await cancelled_call(circuit)
    if not await circuit.succeed():
        wrong.append("two cancelled calls opened the circuit")
    circuit = AsyncCircuit(factory, failures=2, open_for=30.0)
    await circuit.fail()
    await cancelled_call(circuit)
    await circuit.fail()
    if await circuit.succeed():
        wrong.append("a cancelled call between two failures counted as a success")
    return wrong


def _counted_leaving(factory: Factory) -> list[str]:
    wrong = []
    for kind in LEAVING:
        circuit = SyncCircuit(factory, failures=2, open_for=30.0)

        def leave(kind: type[BaseException] = kind) -> NoReturn:
            raise kind

        for _ in range(2):
            with contextlib.suppress(kind, Exception):
                circuit.call(leave)
        if not circuit.succeed():
            wrong.append(f"two {kind.__name__} opened the circuit")
    return wrong
