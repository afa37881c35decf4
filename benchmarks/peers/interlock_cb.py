"""interlock: breaker, bulkhead and timeout of its own, retry through tenacity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenacity
from interlock import CircuitBreaker, CircuitOpenError, Config, Pipeline
from interlock.integrations.tenacity import retry_unless_open

from benchmarks.peers.contract import Peer


def retry(
    fn: Callable[..., Any],
    *,
    attempts: int | None = None,
    on: type[Exception] = Exception,
) -> Callable[..., Any]:
    if attempts is None:
        return Pipeline.builder().retry().build()(fn)
    predicate, wait = retry_unless_open(on), tenacity.wait_none()
    return Pipeline.builder().retry(attempts=attempts, retry=predicate, wait=wait).build()(fn)


def deadline(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    built = Pipeline.builder().timeout(seconds).retry(attempts=1000, wait=tenacity.wait_none())
    return built.build()(fn)


def _breaker(failures: int | None, open_for: float | None) -> CircuitBreaker:
    if failures is None or open_for is None:
        return CircuitBreaker(name="bench")
    return CircuitBreaker(
        name="bench",
        config=Config(
            failure_rate_threshold=1.0,
            minimum_number_of_calls=failures,
            window_size=failures,
            wait_duration_in_open=open_for,
            permitted_calls_in_half_open=1,
        ),
    )


def breaker(
    fn: Callable[..., Any], *, failures: int | None = None, open_for: float | None = None
) -> Callable[..., Any]:
    return _breaker(failures, open_for)(fn)


def bulkhead(fn: Callable[..., Any], *, limit: int, wait: float = 0.0) -> Callable[..., Any]:
    return Pipeline.builder().bulkhead(limit, max_wait=wait).build()(fn)


def timeout(fn: Callable[..., Any], *, seconds: float) -> Callable[..., Any]:
    return Pipeline.builder().timeout(seconds).build()(fn)


def stack_sync(fn: Callable[..., Any]) -> Callable[..., Any]:
    # A thread for each call is what its timeout costs in synchronous code; its
    # docs advise against it where an event loop is at hand.
    guarded = Pipeline.builder().retry(attempts=3).circuit_breaker(_breaker(None, None))
    return guarded.bulkhead(16).build()(fn)


def stack_async(fn: Callable[..., Any]) -> Callable[..., Any]:
    guarded = Pipeline.builder().retry(attempts=3).circuit_breaker(_breaker(None, None))
    return guarded.bulkhead(16).timeout(10.0).build()(fn)


def seconds_left(error: BaseException) -> float:
    if isinstance(error, CircuitOpenError) and error.retry_after is not None:
        return error.retry_after
    raise TypeError(f"{error!r} does not say how long")


PEER = Peer(
    name="interlock-cb",
    retry_sync=retry,
    retry_async=retry,
    deadline_async=deadline,
    breaker_sync=breaker,
    breaker_async=breaker,
    bulkhead_sync=bulkhead,
    bulkhead_async=bulkhead,
    timeout_sync=timeout,
    timeout_async=timeout,
    stack_sync=stack_sync,
    stack_async=stack_async,
    seconds_left=seconds_left,
    sync_parts="retry, breaker, bulkhead",
    async_parts="retry, breaker, bulkhead, timeout",
)
