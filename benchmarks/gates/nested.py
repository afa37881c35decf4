"""Gate 15: retries inside retries do not multiply."""

from __future__ import annotations

import asyncio
import contextlib
from typing import NoReturn

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

ATTEMPTS = 3
LAYERS = 3


def probe(peer: Peer) -> Result:
    """Three layers of three attempts each around a call that always fails."""
    if peer.retry_async is None:
        return absent("retry")
    calls = asyncio.run(_calls(peer.retry_async))
    told = f"{LAYERS} layers of {ATTEMPTS} make {calls} calls"
    return verdict([] if calls == ATTEMPTS else [told], told)


async def _calls(factory: Factory) -> int:
    calls = 0

    async def fail() -> NoReturn:
        nonlocal calls
        calls += 1
        raise ConnectionError("down")

    inner = factory(fail, attempts=ATTEMPTS)

    async def service() -> object:
        return await inner()

    middle = factory(service, attempts=ATTEMPTS)

    async def application() -> object:
        return await middle()

    with contextlib.suppress(Exception):
        await factory(application, attempts=ATTEMPTS)()
    return calls
