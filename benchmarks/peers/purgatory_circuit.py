"""purgatory: breakers from a factory, one for each colour of function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

from benchmarks.peers.contract import Peer


def breaker_sync(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return SyncCircuitBreakerFactory()("bench", threshold=failures, ttl=open_for)(fn)


def breaker_async(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return AsyncCircuitBreakerFactory()("bench", threshold=failures, ttl=open_for)(fn)


PEER = Peer(name="purgatory", breaker_sync=breaker_sync, breaker_async=breaker_async)
