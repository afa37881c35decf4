"""Gate 9: what a failed call held is free once its error is handled, collector or not.

A frame that is kept alive by its own exception waits for the cyclic collector.
With pictures or latents in that frame, retrying an out-of-memory error holds
the very memory it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import NoReturn

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

ATTEMPTS = 3


class Latents:
    """Stands for gigabytes."""


class Failing:
    """A call that fails with something big in its frame, and looks back at the last one."""

    def __init__(self) -> None:
        self.held: list[weakref.ref[Latents]] = []
        self.alive_at_next_attempt = 0

    def sync(self) -> NoReturn:
        self.alive_at_next_attempt = max(self.alive_at_next_attempt, self.alive())
        latents = Latents()
        self.held.append(weakref.ref(latents))
        raise ConnectionError("out of memory")

    async def later(self) -> NoReturn:
        self.alive_at_next_attempt = max(self.alive_at_next_attempt, self.alive())
        latents = Latents()
        self.held.append(weakref.ref(latents))
        raise ConnectionError("out of memory")

    def alive(self) -> int:
        """How many failed calls still hold their memory."""
        return sum(reference() is not None for reference in self.held)


def probe(peer: Peer) -> Result:
    """Fail through retry, or through the breaker where there is no retry."""
    retries: dict[str, float] = {"attempts": ATTEMPTS}
    breaks: dict[str, float] = {"failures": 5, "open_for": 30.0}
    wrong: list[str] = []
    gc.disable()
    if peer.retry_sync or peer.breaker_sync:
        settings = retries if peer.retry_sync else breaks
        wrong += _sync(peer.retry_sync or peer.breaker_sync, settings)
    if peer.retry_async or peer.breaker_async:
        settings = retries if peer.retry_async else breaks
        wrong += asyncio.run(_async(peer.retry_async or peer.breaker_async, settings))
    if not any((peer.retry_sync, peer.breaker_sync, peer.retry_async, peer.breaker_async)):
        return absent("retry and no breaker")
    return verdict(wrong, "free as soon as the error is handled")


def _sync(factory: Factory | None, settings: dict[str, float]) -> list[str]:
    if factory is None:
        return []
    failing = Failing()
    guarded: Callable[[], object] = factory(failing.sync, **settings)
    with contextlib.suppress(Exception):
        guarded()
    return _told(failing, "sync")


async def _async(factory: Factory | None, settings: dict[str, float]) -> list[str]:
    if factory is None:
        return []
    failing = Failing()
    guarded = factory(failing.later, **settings)
    with contextlib.suppress(Exception):
        await guarded()
    return _told(failing, "async")


def _told(failing: Failing, colour: str) -> list[str]:
    wrong = []
    if failing.alive_at_next_attempt:
        wrong.append(f"{colour}: held during the next attempt")
    if failing.alive():
        wrong.append(f"{colour}: {failing.alive()} of {len(failing.held)} frames held afterwards")
    return wrong
