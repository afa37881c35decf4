"""pybreaker: a breaker for threads. Its asynchronous form needs Tornado, so it has none here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pybreaker

from benchmarks.peers.contract import Peer


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    if failures is None or open_for is None:
        return pybreaker.CircuitBreaker()(fn)
    return pybreaker.CircuitBreaker(fail_max=failures, reset_timeout=open_for)(fn)


PEER = Peer(name="pybreaker", breaker_sync=breaker)
