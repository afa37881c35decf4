"""Gate 19: time spent in a queue never trips a timeout of the call, or a breaker."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    BulkheadFullError,
    CircuitBreaker,
    LoadShedder,
    Pipeline,
    QueueTimeoutError,
    RateLimiter,
    RejectedError,
    Retry,
    Timeout,
)
from holdfast.events import TimedOut
from holdfast.machines.circuit import CircuitState
from tests.gates.crowd import PATIENCE, in_tasks, in_threads

QUEUES = {
    "bulkhead": lambda: Bulkhead(1, max_queue=50),
    "load shedder": lambda: LoadShedder(1, max_queue=50),
    "rate limiter": lambda: RateLimiter(1, per=4, wait=True),
}

queues = pytest.mark.parametrize("make", QUEUES.values(), ids=QUEUES)


async def work():
    await asyncio.sleep(4)
    return "done"


@queues
def test_the_limit_of_the_attempt_begins_when_it_begins(clock, path, make):
    """20 calls of 4 s one after the other, each limited to 5 s: the last waits 76 s."""
    breaker = CircuitBreaker(failure_threshold=1)
    pipeline = Pipeline(breaker, make(), Timeout(5))

    async def main():
        return await in_tasks(20, lambda: pipeline.execute(work))

    assert clock.run(main()) == ["done"] * 20
    assert breaker.state is CircuitState.CLOSED


@queues
def test_an_idle_limit_begins_when_it_begins(clock, path, make):
    pipeline = Pipeline(make(), Timeout(idle=5))

    async def main():
        return await in_tasks(10, lambda: pipeline.execute(work))

    assert clock.run(main()) == ["done"] * 10


@queues
def test_slow_is_how_long_it_ran_and_not_how_long_it_waited(clock, path, make):
    breaker = CircuitBreaker(
        failure_threshold=None, slow_rate=0.1, slow_seconds=5.0, minimum_calls=5
    )
    pipeline = Pipeline(make(), breaker)

    async def main():
        return await in_tasks(20, lambda: pipeline.execute(work))

    assert clock.run(main()) == ["done"] * 20
    assert breaker.state is CircuitState.CLOSED


@queues
def test_a_total_limit_that_ends_a_wait_is_counted_by_no_breaker(clock, path, make):
    breaker, queue = CircuitBreaker(failure_threshold=1), make()

    async def main():
        first = asyncio.create_task(queue.execute(asyncio.sleep, 100))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pipeline = Pipeline(Timeout(3), breaker, queue)
        with pytest.raises((RejectedError, QueueTimeoutError)):
            await pipeline.execute(work)
        assert breaker.state is CircuitState.CLOSED
        assert breaker.snapshot()["failures"] == 0
        await first

    clock.run(main())


def test_a_wait_that_was_too_long_says_that_it_never_ran(clock, heard):
    bulkhead, calls = Bulkhead(1, max_queue=5), []
    assert bulkhead.try_take()

    async def never():
        calls.append(None)

    async def main():
        outcome = await Pipeline(Timeout(3), bulkhead).outcome(never)
        assert isinstance(outcome.error, QueueTimeoutError)
        assert outcome.attempts == 0

    clock.run(main())

    assert calls == []
    assert [event.kind for event in heard if isinstance(event, TimedOut)] == ["queued"]


@pytest.mark.parametrize("settings", [{}, {"max_queue": 1, "max_wait": 2.0}])
def test_refusals_of_a_queue_never_open_a_breaker_around_it(clock, path, settings):
    breaker, bulkhead = CircuitBreaker(failure_threshold=1), Bulkhead(1, **settings)
    assert bulkhead.try_take()
    pipeline = Pipeline(breaker, bulkhead)

    async def main():
        return await in_tasks(5, lambda: pipeline.execute(work))

    assert all(isinstance(e, BulkheadFullError | QueueTimeoutError) for e in clock.run(main()))
    assert breaker.state is CircuitState.CLOSED


def test_a_call_that_waited_and_then_failed_is_counted(clock, path):
    """Having waited is no excuse."""
    breaker, bulkhead = CircuitBreaker(failure_threshold=1), Bulkhead(1, max_queue=5)
    pipeline = Pipeline(Timeout(30), breaker, bulkhead, Timeout(10))

    async def main():
        holder = asyncio.create_task(bulkhead.execute(asyncio.sleep, 5))
        await asyncio.sleep(0)
        outcome = await pipeline.outcome(asyncio.sleep, 100)
        await holder
        return outcome

    outcome = clock.run(main())

    assert not isinstance(outcome.error, QueueTimeoutError)
    assert breaker.state is CircuitState.OPEN


def test_a_hung_call_in_a_worker_thread_does_not_make_the_next_one_wait():
    """There is no pool of a few threads, whose queue would be billed to healthy calls."""
    release = threading.Event()
    pipeline = Pipeline(Timeout(0.2, thread=True))

    hung = [lambda: pipeline.call_outcome(release.wait, PATIENCE)] * 8

    def healthy():
        time.sleep(0.05)
        began = time.monotonic()
        assert pipeline.call(str) == ""
        return time.monotonic() - began

    try:
        *_, took = in_threads(*hung, healthy)
    finally:
        release.set()

    assert took < 0.15


def test_a_retry_waits_its_turn_again_without_harm(clock, path):
    calls = []
    pipeline = Pipeline(
        Retry(3, Backoff.fixed(1.0)), CircuitBreaker(), Bulkhead(1, max_queue=9), Timeout(5)
    )

    async def flaky():
        await asyncio.sleep(4)
        calls.append(None)
        if len(calls) <= 3:
            raise ConnectionError("down")

    async def main():
        return await in_tasks(4, lambda: pipeline.execute(flaky))

    assert clock.run(main()) == [None] * 4


def test_silence_in_a_queue_inside_is_no_silence(clock, path):
    breaker = CircuitBreaker(failure_threshold=1)
    pipeline = Pipeline(breaker, Timeout(idle=2), Bulkhead(1, max_queue=5))

    async def main():
        return await asyncio.gather(*(pipeline.outcome(asyncio.sleep, 1.5, n) for n in range(4)))

    assert [outcome.value for outcome in clock.run(main())] == [0, 1, 2, 3]
    assert breaker.state is CircuitState.CLOSED


def test_waiting_for_a_turn_makes_no_call_slow(clock, path):
    breaker = CircuitBreaker(slow_rate=0.5, slow_seconds=1.0, window_calls=4, minimum_calls=2)
    limiter = RateLimiter(1, per=10.0, burst=1, wait=True)
    pipeline = Pipeline(breaker, limiter)
    for _ in range(4):
        pipeline.call(lambda: None)
    assert breaker.state is CircuitState.CLOSED


def test_waiting_in_the_queue_of_a_pipeline_inside_is_not_running(clock, path):
    breaker, inner = CircuitBreaker(failure_threshold=1), Pipeline(Bulkhead(1, max_queue=5))
    outer = Pipeline(breaker, Timeout(2))

    async def main():
        busy = asyncio.create_task(inner.execute(asyncio.sleep, 10))
        await asyncio.sleep(0)
        outcome = await outer.outcome(inner.execute, asyncio.sleep, 0)
        busy.cancel()
        return outcome

    assert isinstance(clock.run(main()).error, QueueTimeoutError)
    assert breaker.state is CircuitState.CLOSED
