"""pyresilience: seven patterns behind one decorator, in an order of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyresilience import (
    BulkheadConfig,
    CircuitBreakerConfig,
    RateLimiterConfig,
    RetryConfig,
    TimeoutConfig,
    resilient,
)

from benchmarks.peers.contract import Peer


def _retries(attempts: int, on: type[Exception] = Exception) -> RetryConfig:
    return RetryConfig(max_attempts=attempts, delay=0.0, jitter=False, retry_on=(on,))


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    return resilient(retry=RetryConfig() if attempts is None else _retries(attempts, on))(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    whole = TimeoutConfig(seconds=seconds, per_attempt=False)
    return resilient(retry=_retries(1000), timeout=whole)(fn)


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    if failures is None or open_for is None:
        return resilient(circuit_breaker=CircuitBreakerConfig())(fn)
    settings = CircuitBreakerConfig(
        failure_threshold=failures, recovery_timeout=open_for, success_threshold=1
    )
    return resilient(circuit_breaker=settings)(fn)


def bulkhead(fn: Callable[..., Any], *, limit: int, wait: float = 0.0) -> Callable[..., Any]:
    return resilient(bulkhead=BulkheadConfig(max_concurrent=limit, max_wait=wait))(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return resilient(timeout=TimeoutConfig(seconds=seconds))(fn)


def limiter(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    return resilient(rate_limiter=RateLimiterConfig(max_calls=int(rate), period=per))(fn)


def stack_sync(fn: Callable[..., Any]) -> Callable[..., Any]:
    return resilient(
        retry=_retries(3),
        circuit_breaker=CircuitBreakerConfig(),
        bulkhead=BulkheadConfig(max_concurrent=16),
    )(fn)


def stack_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    return resilient(
        retry=_retries(3),
        circuit_breaker=CircuitBreakerConfig(),
        bulkhead=BulkheadConfig(max_concurrent=16),
        timeout=TimeoutConfig(seconds=10.0),
    )(fn)


PEER = Peer(
    name="pyresilience",
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
    sync_parts="retry, breaker, bulkhead",
    async_parts="retry, breaker, bulkhead, timeout",
)
