"""hyx: asyncio only. Asked by its decorators; some need a running loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hyx.bulkhead import bulkhead as hyx_bulkhead
from hyx.circuitbreaker import consecutive_breaker
from hyx.ratelimit import tokenbucket
from hyx.retry import retry as hyx_retry
from hyx.timeout import timeout as hyx_timeout

from benchmarks.peers.contract import Peer


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return hyx_retry(on=on)(fn)
    # It counts retries, not calls.
    return hyx_retry(on=on, attempts=attempts - 1, backoff=0.0)(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return timeout(retry(fn, attempts=1000), seconds=seconds)


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    if failures is None or open_for is None:
        return consecutive_breaker()(fn)
    return consecutive_breaker(
        failure_threshold=failures, recovery_time_secs=open_for, recovery_threshold=1
    )(fn)


def bulkhead(fn: Callable[..., Any], *, limit: int, wait: float = 0.0) -> Callable[..., Any]:
    # Its queue is bounded by length and not by time.
    return hyx_bulkhead(max_concurrency=limit, max_capacity=100_000 if wait else limit)(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return hyx_timeout(seconds)(fn)


def limiter(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    return tokenbucket(rate, per)(fn)


def stack(fn: Callable[..., Any]) -> Callable[..., Any]:
    return retry(breaker(bulkhead(timeout(fn, seconds=10.0), limit=16)), attempts=3)


PEER = Peer(
    name="hyx",
    retry_async=retry,
    deadline_async=deadline,
    breaker_async=breaker,
    bulkhead_async=bulkhead,
    timeout_async=timeout,
    limiter_async=limiter,
    stack_async=stack,
    async_parts="retry, breaker, bulkhead, timeout",
)
