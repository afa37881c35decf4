"""Gate 10: the last error keeps its type and tells of every attempt before it."""

from __future__ import annotations

import asyncio
import traceback
from typing import NoReturn

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

ATTEMPTS = 3


class RefusedError(ConnectionError):
    """The caller's own type of error."""


def probe(peer: Peer) -> Result:
    """Fail three times with three messages and read what a log would show."""
    if peer.retry_async is None:
        return absent("retry")
    error = asyncio.run(_exhausted(peer.retry_async))
    wrong = []
    if type(error) is not RefusedError:
        wrong.append(f"{type(error).__name__} instead of the caller's error")
    shown = "".join(traceback.format_exception(error))
    earlier = range(1, ATTEMPTS)
    if missing := [number for number in earlier if f"refusal number {number}" not in shown]:
        wrong.append(f"nothing about {len(missing)} of {len(earlier)} earlier attempts")
    return verdict(wrong, "own type, every attempt on it")


async def _exhausted(factory: Factory) -> BaseException:
    calls = 0

    async def refuse() -> NoReturn:
        nonlocal calls
        calls += 1
        raise RefusedError(f"refusal number {calls}")

    try:
        await factory(refuse, attempts=ATTEMPTS)()
    except Exception as error:  # noqa: BLE001  what comes out is the question
        return error
    return AssertionError("nothing was raised")
