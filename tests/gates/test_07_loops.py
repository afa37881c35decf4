"""Gate 7: one object serves run after run, and several live loops at once, within its limits."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    DeadlineExceededError,
    Pipeline,
    QueueTimeoutError,
    Retry,
    RetryBudget,
    Timeout,
)
from tests.gates.crowd import PATIENCE, Gauge, in_tasks, in_threads

LIMIT = 2
TASKS = 8


def bare():
    return Pipeline(Bulkhead(LIMIT, max_queue=100))


def stack():
    return Pipeline(
        Timeout(8),
        Retry(backoff=Backoff.none(), budget=RetryBudget()),
        CircuitBreaker("api"),
        Bulkhead(LIMIT, max_queue=100),
        Timeout(5),
    )


wraps = pytest.mark.parametrize("wrap", [bare, stack])


async def until(there):
    """Wait for what another loop does; an event of this loop would not hear of it."""
    while not there():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Work:
    """Counts who is inside."""

    def __init__(self):
        self.gauge = Gauge()

    async def later(self):
        with self.gauge:
            await asyncio.sleep(0.005)

    def sync(self):
        with self.gauge:
            time.sleep(0.005)

    def run(self, pipeline):
        """A whole run of asyncio with contention in it."""

        async def main():
            return await in_tasks(TASKS, lambda: pipeline.execute(self.later))

        return asyncio.run(main())


@wraps
def test_two_runs_one_after_the_other(path, wrap):
    pipeline, work = wrap(), Work()

    assert [work.run(pipeline) for _ in range(3)] == [[None] * TASKS] * 3
    assert work.gauge.peak == LIMIT
    assert pipeline.in_flight == 0


@wraps
def test_two_live_loops_share_one_limit(path, wrap):
    pipeline, work = wrap(), Work()

    results = in_threads(*[lambda: work.run(pipeline)] * 2)

    assert results == [[None] * TASKS] * 2
    assert work.gauge.peak == LIMIT
    assert pipeline.in_flight == 0


@wraps
def test_loops_and_plain_threads_share_one_limit(path, wrap):
    pipeline, work = wrap(), Work()

    results = in_threads(
        *[lambda: work.run(pipeline)] * 2,
        *[lambda: [pipeline.call(work.sync) for _ in range(TASKS)]] * 3,
    )

    assert results == [[None] * TASKS] * 5
    assert work.gauge.peak == LIMIT
    assert pipeline.in_flight == 0


def test_a_slot_freed_in_one_loop_goes_to_the_first_in_line_in_another():
    bulkhead, holds, order = Bulkhead(1, max_queue=5), threading.Event(), []

    def holder():
        async def hold():
            holds.set()
            await until(lambda: bulkhead.waiting == 2)

        asyncio.run(bulkhead.execute(hold))

    def waiter():
        async def enter(number):
            order.append(number)

        async def main():
            await until(holds.is_set)
            first = asyncio.create_task(bulkhead.execute(enter, 1))
            await asyncio.sleep(0)
            await asyncio.gather(first, bulkhead.execute(enter, 2))

        asyncio.run(main())

    assert in_threads(holder, waiter) == [None, None]
    assert order == [1, 2]
    assert bulkhead.running == 0


def test_a_breaker_opened_in_one_loop_is_open_in_the_other(path):
    breaker, opened = CircuitBreaker("api", failure_threshold=1), threading.Event()

    async def fail():
        raise ConnectionError("down")

    def one():
        asyncio.run(in_tasks(1, lambda: breaker.execute(fail)))
        opened.set()

    def other():
        assert opened.wait(PATIENCE)
        return asyncio.run(in_tasks(1, lambda: breaker.execute(asyncio.sleep, 0)))

    _, [error] = in_threads(one, other)

    assert type(error).__name__ == "CircuitBreakerOpenError"


@pytest.mark.parametrize(
    "wrap", [lambda: Pipeline(Timeout(0.05)), lambda: Pipeline(Timeout(idle=0.05))]
)
def test_time_limits_hold_in_every_loop(path, wrap):
    """One queue of alarms must not wait for another loop's timer."""
    pipeline = wrap()

    def run():
        async def main():
            await pipeline.execute(asyncio.sleep, 0)
            began = time.monotonic()
            with pytest.raises(DeadlineExceededError):
                await pipeline.execute(asyncio.sleep, 5)
            return time.monotonic() - began

        return asyncio.run(main())

    took = [run(), run(), *in_threads(*[run] * 3)]

    assert max(took) < 1.0, took


def test_a_limit_set_in_a_loop_that_was_closed_early_does_not_hold_up_the_next(path):
    """The first loop is closed with its alarm's timer still running."""
    pipeline = Pipeline(Timeout(0.05))
    asyncio.run(pipeline.execute(asyncio.sleep, 0))

    async def main():
        with pytest.raises(DeadlineExceededError):
            await pipeline.execute(asyncio.sleep, 5)

    began = time.monotonic()
    asyncio.run(main())

    assert time.monotonic() - began < 1.0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_waiters_of_a_loop_that_was_closed_take_nobodys_place():
    bulkhead = Bulkhead(1, max_queue=5)
    assert bulkhead.try_take()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    pipeline = Pipeline(bulkhead)
    task = loop.create_task(pipeline.execute(asyncio.sleep, 0))
    loop.run_until_complete(asyncio.sleep(0))
    assert bulkhead.waiting == 1
    loop.close()

    bulkhead.give_back()

    assert bulkhead.running == 0, "the dead waiter holds the slot"
    # Now its coroutine is thrown away, too, and closes in its own good time.
    del task, loop, pipeline
    gc.collect()
    assert (bulkhead.running, bulkhead.waiting) == (0, 0), "it gave back what it did not have"
    assert [bulkhead.try_take(), bulkhead.try_take()] == [True, False]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_slot_held_in_a_loop_that_was_closed_comes_back_with_its_coroutine():
    bulkhead = Bulkhead(1)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    pipeline = Pipeline(bulkhead)
    task = loop.create_task(pipeline.execute(asyncio.sleep, 100))
    loop.run_until_complete(asyncio.sleep(0))
    assert bulkhead.running == 1
    loop.close()

    del task, loop, pipeline
    gc.collect()

    assert bulkhead.running == 0


def test_a_waiter_cut_off_at_the_end_of_a_run_leaves_the_line():
    bulkhead = Bulkhead(1, max_queue=1, max_wait=100)
    assert bulkhead.try_take()

    async def main():
        task = asyncio.create_task(bulkhead.execute(asyncio.sleep, 0))
        await asyncio.sleep(0)
        assert bulkhead.waiting == 1
        return task

    asyncio.run(main())

    assert bulkhead.waiting == 0


def test_a_waiter_times_out_by_the_clock_of_its_own_loop():
    bulkhead = Bulkhead(1, max_queue=10, max_wait=0.05)
    assert bulkhead.try_take()

    def run():
        return asyncio.run(in_tasks(2, lambda: bulkhead.execute(asyncio.sleep, 0)))

    results = in_threads(run, run)

    assert [type(error) for pair in results for error in pair] == [QueueTimeoutError] * 4
    assert bulkhead.waiting == 0


def test_counting_what_is_in_flight_stands_loops_that_come_and_go():
    pipeline, over = Pipeline(Timeout(5)), threading.Event()
    before = sys.getswitchinterval()

    def come_and_go():
        for _ in range(40):
            asyncio.run(pipeline.execute(asyncio.sleep, 0))

    def count():
        seen = set()
        while not over.is_set():
            seen.add(pipeline.in_flight)
        return max(seen)

    def runners():
        try:
            return in_threads(*[come_and_go] * 3)
        finally:
            over.set()

    sys.setswitchinterval(1e-6)
    try:
        results = in_threads(count, runners)
    finally:
        sys.setswitchinterval(before)

    assert results[1] == [None] * 3
    assert 0 <= results[0] <= 3
    assert pipeline.in_flight == 0
