"""Gate 13: a group of errors counts as its worst leaf, and a cancellation in it wins."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

PASSING, LASTING = ConnectionError("busy"), ValueError("bad request")
GROUPS: dict[str, tuple[BaseExceptionGroup, int]] = {
    "all worth a retry": (ExceptionGroup("two", [PASSING, PASSING]), 3),
    "one of them permanent": (ExceptionGroup("two", [PASSING, LASTING]), 1),
    "a cancellation among them": (
        BaseExceptionGroup("two", [PASSING, asyncio.CancelledError()]),
        1,
    ),
}


def probe(peer: Peer) -> Result:
    """Retry on ConnectionError, up to three attempts, and raise groups."""
    if peer.retry_async is None:
        return absent("retry")
    wrong = []
    for name, (group, expected) in GROUPS.items():
        calls = asyncio.run(_calls(peer.retry_async, group))
        if calls != expected:
            wrong.append(f"{name}: {calls} calls, {expected} expected")
    return verdict(wrong, "worst leaf decides")


async def _calls(factory: Factory, group: BaseExceptionGroup) -> int:
    calls = 0

    async def fail() -> NoReturn:
        nonlocal calls
        calls += 1
        raise group

    try:
        await factory(fail, attempts=3, on=ConnectionError)()
    except (BaseExceptionGroup, Exception):  # noqa: BLE001  only the number of calls matters
        return calls
    return calls
