"""Holdfast itself, under the same contract as its peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import holdfast
from benchmarks.peers.contract import Peer
from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerOpenError,
    Pipeline,
    Retry,
    Timeout,
)

AT_ONCE = Backoff.exponential(initial=0.0, maximum=0.0, jitter=0.0)


def _retries(attempts: int, on: type[Exception] = Exception) -> Retry:
    return Retry(max_attempts=attempts, backoff=AT_ONCE, on=(on,))


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    return Pipeline(Retry() if attempts is None else _retries(attempts, on))(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return Pipeline(Timeout(seconds), _retries(1000))(fn)


def _breaker(failures: int | None, open_for: float | None) -> CircuitBreaker:
    if failures is None or open_for is None:
        return CircuitBreaker("bench")
    return CircuitBreaker(
        "bench", failure_threshold=failures, success_threshold=1, timeout=open_for
    )


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return Pipeline(_breaker(failures, open_for))(fn)


def bulkhead(fn: Callable[..., Any], *, limit: int, wait: float = 0.0) -> Callable[..., Any]:
    if not wait:
        return Pipeline(Bulkhead(limit))(fn)
    return Pipeline(Bulkhead(limit, max_queue=100_000, max_wait=wait))(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return Pipeline(Timeout(seconds))(fn)


def limiter(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    return Pipeline(holdfast.RateLimiter(rate, per, burst=rate))(fn)


def stack_sync(fn: Callable[..., Any]) -> Callable[..., Any]:
    return Pipeline(_retries(3), CircuitBreaker("bench"), Bulkhead(16))(fn)


def stack_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    guarded = _retries(3), CircuitBreaker("bench"), Bulkhead(16)
    return Pipeline(Timeout(60.0), *guarded, Timeout(10.0))(fn)


def outcome_sync(fn: Callable[..., Any], *, failures: int, open_for: float) -> Callable[..., Any]:
    pipeline = Pipeline(_breaker(failures, open_for))
    return lambda *args: pipeline.call_outcome(fn, *args)


def outcome_async(fn: Callable[..., Any], *, failures: int, open_for: float) -> Callable[..., Any]:
    pipeline = Pipeline(_breaker(failures, open_for))
    return lambda *args: pipeline.outcome(fn, *args)


def seconds_left(error: BaseException) -> float:
    if isinstance(error, CircuitBreakerOpenError) and error.retry_after is not None:
        return error.retry_after
    raise TypeError(f"{error!r} does not say how long")


PEER = Peer(
    name="holdfast",
    retry_sync=retry,
    retry_async=retry,
    deadline_async=deadline,
    breaker_sync=breaker,
    breaker_async=breaker,
    bulkhead_sync=bulkhead,
    bulkhead_async=bulkhead,
    timeout_sync=timeout,
    timeout_async=timeout,
    limiter_sync=limiter,
    limiter_async=limiter,
    stack_sync=stack_sync,
    stack_async=stack_async,
    outcome_sync=outcome_sync,
    outcome_async=outcome_async,
    seconds_left=seconds_left,
    sync_parts="retry, breaker, bulkhead",
    async_parts="timeout, retry, breaker, bulkhead, timeout",
)
