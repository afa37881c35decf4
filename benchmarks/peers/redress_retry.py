"""redress: errors are classified, then dispatched to a strategy for their class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from redress import AsyncPolicy, AsyncRetry, CircuitBreaker, ErrorClass, Policy, Retry
from redress import retry as redress_retry

from benchmarks.peers.contract import Peer


def _at_once(_context: object) -> float:
    return 0.0


def _only(on: type[Exception]) -> Callable[[BaseException], ErrorClass]:
    def classify(error: BaseException) -> ErrorClass:
        return ErrorClass.TRANSIENT if isinstance(error, on) else ErrorClass.PERMANENT

    return classify


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return redress_retry(fn)
    return redress_retry(classifier=_only(on), strategy=_at_once, max_attempts=attempts)(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return redress_retry(
        classifier=_only(Exception), strategy=_at_once, max_attempts=1000, deadline_s=seconds
    )(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return redress_retry(
        classifier=_only(Exception), strategy=_at_once, max_attempts=1, attempt_timeout_s=seconds
    )(fn)


def _breaker(failures: int | None, open_for: float | None) -> CircuitBreaker:
    if failures is None or open_for is None:
        return CircuitBreaker()
    return CircuitBreaker(failure_threshold=failures, recovery_timeout_s=open_for)


def _through(call: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """A policy calls functions without arguments, as in its docs."""
    return lambda *args: call(functools.partial(fn, *args))


def breaker_sync(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return _through(Policy(circuit_breaker=_breaker(failures, open_for)).call, fn)


def breaker_async(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return _through(AsyncPolicy(circuit_breaker=_breaker(failures, open_for)).call, fn)


def outcome_sync(fn: Callable[..., Any], *, failures: int, open_for: float) -> Callable[..., Any]:
    return _through(Policy(circuit_breaker=_breaker(failures, open_for)).execute, fn)


def outcome_async(fn: Callable[..., Any], *, failures: int, open_for: float) -> Callable[..., Any]:
    return _through(AsyncPolicy(circuit_breaker=_breaker(failures, open_for)).execute, fn)


def stack_sync(fn: Callable[..., Any]) -> Callable[..., Any]:
    retries = Retry(classifier=_only(Exception), strategy=_at_once, max_attempts=3)
    return _through(Policy(retry=retries, circuit_breaker=CircuitBreaker()).call, fn)


def stack_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    retries = AsyncRetry(
        classifier=_only(Exception), strategy=_at_once, max_attempts=3, attempt_timeout_s=10.0
    )
    return _through(AsyncPolicy(retry=retries, circuit_breaker=CircuitBreaker()).call, fn)


PEER = Peer(
    name="redress",
    retry_sync=retry,
    retry_async=retry,
    deadline_async=deadline,
    breaker_sync=breaker_sync,
    breaker_async=breaker_async,
    timeout_sync=timeout,
    timeout_async=timeout,
    stack_sync=stack_sync,
    stack_async=stack_async,
    outcome_sync=outcome_sync,
    outcome_async=outcome_async,
    sync_parts="breaker, retry",
    async_parts="breaker, retry, timeout",
)
