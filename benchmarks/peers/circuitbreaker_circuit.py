"""circuitbreaker: one class, no lock, both colours of function."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from circuitbreaker import CircuitBreaker, CircuitBreakerError

from benchmarks.peers.contract import Peer

_numbers = itertools.count()


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    # Every breaker goes into a register of the whole process under its name.
    name = f"bench-{next(_numbers)}"
    return CircuitBreaker(failure_threshold=failures, recovery_timeout=open_for, name=name)(fn)


def seconds_left(error: BaseException) -> float:
    if isinstance(error, CircuitBreakerError):
        return float(error._circuit_breaker.open_remaining)  # noqa: SLF001  no public way
    raise TypeError(f"{error!r} does not say how long")


PEER = Peer(
    name="circuitbreaker",
    breaker_sync=breaker,
    breaker_async=breaker,
    seconds_left=seconds_left,
)
