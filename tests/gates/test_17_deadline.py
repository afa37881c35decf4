"""Gate 17: the deadline interrupts what runs, shrinks what is inside, and starts no vain wait."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    DeadlineExceededError,
    Fallback,
    Hedge,
    LoadShedder,
    Pipeline,
    QueueTimeoutError,
    RateLimiter,
    RejectedError,
    Retry,
    Timeout,
)
from holdfast.outcome import report_of

NEVER = 10_000.0


async def hang():
    await asyncio.sleep(NEVER)


def elapsed(clock, coroutine):
    began = clock.now()
    clock.run(coroutine)
    return clock.now() - began


async def runs_out(pipeline, fn=hang, kind=DeadlineExceededError):
    with pytest.raises(kind) as failed:
        await pipeline.execute(fn)
    return failed.value


TOTALS = {
    "alone": lambda: [Timeout(10)],
    "around a retry": lambda: [Timeout(10), Retry()],
    "around a breaker": lambda: [Timeout(10), CircuitBreaker()],
    "around a bulkhead": lambda: [Timeout(10), Bulkhead(1)],
    "around a hedge": lambda: [Timeout(10), Hedge(3.0)],
    "around a fallback": lambda: [Timeout(10), Fallback(None, on=KeyError)],
    "around everything": lambda: [
        Timeout(10),
        Retry(99, Backoff.none()),
        CircuitBreaker(failure_threshold=99),
        Bulkhead(1),
        Timeout(4),
    ],
}

totals = pytest.mark.parametrize("make", TOTALS.values(), ids=TOTALS)


@totals
def test_a_running_attempt_is_interrupted(clock, path, make):
    assert elapsed(clock, runs_out(Pipeline(*make()))) == pytest.approx(10)


@totals
def test_a_deadline_around_a_pipeline_is_its_own(clock, path, make):
    async def main():
        with Deadline.after(6):
            await runs_out(Pipeline(*make()))

    assert elapsed(clock, main()) == pytest.approx(6)


@totals
def test_a_deadline_further_in_is_not_stretched_by_one_further_out(clock, path, make):
    async def main():
        with Deadline.after(500):
            await runs_out(Pipeline(*make()))

    assert elapsed(clock, main()) == pytest.approx(10)


def test_a_nested_pipeline_inherits_it(clock, path):
    outer, inner = Pipeline(Timeout(10)), Pipeline(Timeout(500), Retry(), Timeout(100))

    assert elapsed(clock, runs_out(outer, lambda: inner.execute(hang))) == pytest.approx(10)


@pytest.mark.parametrize("colour", ["gather", "task", "thread"])
def test_it_is_inherited_through_tasks_and_threads(clock, colour):
    outer, inner, seen = Pipeline(Timeout(10)), Pipeline(Retry(), Timeout(500)), []

    def look():
        seen.append(Deadline.current().remaining())

    async def nested():
        if colour == "gather":
            await asyncio.gather(inner.execute(look), inner.execute(look))
        elif colour == "task":
            await asyncio.create_task(inner.execute(look))
        else:
            await asyncio.to_thread(inner.call, look)

    clock.run(outer.execute(nested))

    assert seen
    assert all(left <= 10 for left in seen)


def test_the_attempt_limit_shrinks_to_what_is_left(clock, path):
    """Two attempts of at most 8 s in 10 s: the second one gets 2."""
    starts, began = [], clock.now()
    pipeline = Pipeline(Timeout(10), Retry(9, Backoff.none()), Timeout(8))

    async def attempt():
        starts.append((clock.now() - began, Deadline.current().remaining()))
        await hang()

    assert elapsed(clock, runs_out(pipeline, attempt)) == pytest.approx(10)
    assert starts == [(0.0, pytest.approx(8)), (pytest.approx(8), pytest.approx(2))]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_no_wait_starts_that_would_outlast_it(clock, path, colour):
    """It fails at once with the last error, and not at the deadline with another."""
    pipeline = Pipeline(Timeout(10), Retry(9, Backoff.fixed(4.0)))

    def fail():
        raise ConnectionError("down")

    async def later():
        fail()

    began = clock.now()
    if colour == "sync":
        with pytest.raises(ConnectionError) as failed:
            pipeline.call(fail)
        error = failed.value
    else:
        error = clock.run(runs_out(pipeline, later, ConnectionError))

    assert clock.now() - began == pytest.approx(8)
    assert len(report_of(error).history) == 3
    assert any("deadline" in step for step in report_of(error).steps)


def test_a_wait_the_server_asked_for_beyond_it_is_not_begun(clock, path):
    pipeline = Pipeline(Timeout(10), Retry(9, Backoff.none()))

    def busy():
        error = ConnectionError("busy")
        error.retry_after = 30
        raise error

    with pytest.raises(ConnectionError):
        pipeline.call(busy)

    assert clock.slept == []


def test_waiting_in_line_ends_with_it(clock, path):
    bulkhead = Bulkhead(1, max_queue=5)
    assert bulkhead.try_take()

    took = elapsed(clock, runs_out(Pipeline(Timeout(10), bulkhead), hang, QueueTimeoutError))

    assert took == pytest.approx(10)
    assert bulkhead.waiting == 0


@pytest.mark.parametrize(
    "make",
    [lambda: RateLimiter(1, per=100, wait=True), lambda: LoadShedder(1)],
    ids=["rate limiter", "load shedder"],
)
def test_a_line_that_is_too_long_is_not_joined_or_left_in_time(clock, path, make):
    policy = make()
    pipeline = Pipeline(Timeout(10), policy)

    async def main():
        first = asyncio.create_task(policy.execute(asyncio.sleep, 50))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        began = clock.now()
        with pytest.raises((RejectedError, DeadlineExceededError)):
            await pipeline.execute(hang)
        assert clock.now() - began <= 10.001
        await first

    clock.run(main())


def test_after_it_no_attempt_is_begun(clock, path):
    calls = []
    pipeline = Pipeline(Retry(9, Backoff.none()), Timeout(5))

    with Deadline.after(3):
        clock.advance(3)
        outcome = pipeline.call_outcome(lambda: calls.append(None))

    assert isinstance(outcome.error, DeadlineExceededError)
    assert calls == []


def test_sync_work_can_read_it_and_what_came_too_late_does_not_count(clock, path):
    seen = []

    def work():
        seen.append(Deadline.current().remaining())
        clock.advance(6)
        return "late"

    with pytest.raises(DeadlineExceededError):
        Pipeline(Timeout(10), Retry(2, Backoff.none()), Timeout(5)).call(work)

    assert seen == [pytest.approx(5), pytest.approx(4)]


def test_it_is_not_inherited_by_what_comes_after(clock, path):
    with pytest.raises(DeadlineExceededError):
        clock.run(Pipeline(Timeout(10)).execute(hang))

    assert Deadline.current() is None


def test_a_fallback_outside_it_still_has_time(clock, path):
    async def instead():
        await asyncio.sleep(5)
        return "instead"

    pipeline = Pipeline(Fallback(instead), Timeout(10))

    async def main():
        assert await pipeline.execute(hang) == "instead"

    assert elapsed(clock, main()) == pytest.approx(15)


def test_hooks_inside_it_are_interrupted_too(clock, path):
    pipeline = Pipeline(Timeout(10), Retry(9, Backoff.none(), on_retry=lambda attempt: hang()))

    def fail():
        raise ConnectionError("down")

    assert elapsed(clock, runs_out(pipeline, fail)) == pytest.approx(10)
