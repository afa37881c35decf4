"""backon: backoff's successor, with a breaker, a limiter and attempt timeouts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import backon

from benchmarks.peers.contract import Peer


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return backon.on_exception(backon.expo, on)(fn)
    return backon.on_exception(backon.constant, on, max_tries=attempts, jitter=None, interval=0)(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return backon.on_exception(
        backon.constant, Exception, max_time=seconds, jitter=None, interval=0
    )(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return backon.on_exception(
        backon.constant, Exception, max_tries=1, attempt_timeout=seconds, interval=0
    )(fn)


def _breaker(failures: int | None, open_for: float | None) -> backon.CircuitBreaker:
    if failures is None or open_for is None:
        return backon.CircuitBreaker()
    return backon.CircuitBreaker(failure_threshold=failures, recovery_timeout=open_for)


def breaker_sync(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return functools.partial(_breaker(failures, open_for).call, fn)


def breaker_async(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return functools.partial(_breaker(failures, open_for).async_call, fn)


def limiter_sync(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    return functools.partial(backon.RateLimiter(rate, per), fn)


def limiter_async(fn: Callable[..., Any], *, rate: float, per: float) -> Callable[..., Any]:
    return backon.on_exception(
        backon.constant, Exception, max_tries=1, rate_limit=backon.RateLimiter(rate, per)
    )(fn)


def _stack() -> backon.BreakerRetrying:
    return backon.BreakerRetrying(
        backon.constant, exception=Exception, max_tries=3, jitter=None, interval=0
    )


PEER = Peer(
    name="backon",
    retry_sync=retry,
    retry_async=retry,
    deadline_async=deadline,
    breaker_sync=breaker_sync,
    breaker_async=breaker_async,
    timeout_sync=timeout,
    timeout_async=timeout,
    limiter_sync=limiter_sync,
    limiter_async=limiter_async,
    stack_sync=lambda fn: functools.partial(_stack().call, fn),
    stack_async=lambda fn: functools.partial(_stack().async_call, fn),
    sync_parts="breaker, retry",
    async_parts="breaker, retry",
)
