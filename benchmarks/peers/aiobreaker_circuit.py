"""aiobreaker: pybreaker's port to asyncio; its last release is of 2021."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aiobreaker import CircuitBreaker
from aiobreaker.state import CircuitBreakerError

from benchmarks.peers.contract import Peer


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    if failures is None or open_for is None:
        return CircuitBreaker()()(fn)
    return CircuitBreaker(fail_max=failures, timeout_duration=timedelta(seconds=open_for))()(fn)


def seconds_left(error: BaseException) -> float:
    if isinstance(error, CircuitBreakerError):
        return error.time_remaining.total_seconds()
    raise TypeError(f"{error!r} does not say how long")


PEER = Peer(
    name="aiobreaker", breaker_sync=breaker, breaker_async=breaker, seconds_left=seconds_left
)
