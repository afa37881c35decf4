"""Gate 13: a group of exceptions counts as its worst leaf; a cancellation leaf wins."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Backoff, CircuitBreaker, Fallback, Pipeline, Retry
from holdfast.machines.circuit import CircuitState

DOWN, WRONG = ConnectionError("down"), ValueError("wrong")
ALL_GOOD = [
    ExceptionGroup("one", [DOWN]),
    ExceptionGroup("two", [DOWN, TimeoutError("slow")]),
    ExceptionGroup("deep", [ExceptionGroup("deeper", [DOWN, OSError("disk")]), DOWN]),
]
ONE_BAD = [
    ExceptionGroup("one", [WRONG]),
    ExceptionGroup("two", [DOWN, WRONG]),
    ExceptionGroup("deep", [DOWN, ExceptionGroup("deeper", [DOWN, WRONG])]),
]
LEAVING = [
    BaseExceptionGroup("cancelled", [asyncio.CancelledError(), DOWN]),
    BaseExceptionGroup("interrupted", [DOWN, KeyboardInterrupt()]),
    BaseExceptionGroup("deep", [DOWN, BaseExceptionGroup("deeper", [asyncio.CancelledError()])]),
]


class Work:
    """Fails always with the same."""

    def __init__(self, error):
        self.error = error
        self.calls = 0

    def sync(self):
        self.calls += 1
        raise self.error

    async def later(self):
        await asyncio.sleep(0)
        self.sync()


def fail_through(pipeline, work, colour, clock):
    """What comes out."""

    async def main():
        await pipeline.execute(work.later)

    try:
        if colour == "sync":
            pipeline.call(work.sync)
        else:
            clock.run(main())
    except BaseException as error:  # what comes out is the question
        return error
    return None


colours = pytest.mark.parametrize("colour", ["sync", "async"])


@colours
@pytest.mark.parametrize("group", ALL_GOOD)
def test_a_group_is_repeated_if_every_leaf_is_worth_it(clock, path, colour, group):
    work = Work(group)

    assert fail_through(Retry(backoff=Backoff.none()), work, colour, clock) is group
    assert work.calls == 3


@colours
@pytest.mark.parametrize("group", ONE_BAD)
def test_a_group_with_one_leaf_that_is_not_worth_it_is_not_repeated(clock, path, colour, group):
    work = Work(group)

    assert fail_through(Retry(backoff=Backoff.none()), work, colour, clock) is group
    assert work.calls == 1


@colours
@pytest.mark.parametrize("group", ONE_BAD[1:])
def test_a_breaker_counts_a_group_for_its_worst_leaf(clock, path, colour, group):
    breaker = CircuitBreaker(failure_threshold=1, on=ConnectionError)

    fail_through(breaker, Work(group), colour, clock)

    assert breaker.state is CircuitState.OPEN


@colours
def test_an_exclusion_holds_only_for_groups_of_excluded_errors(clock, path, colour):
    breaker = CircuitBreaker(failure_threshold=1, exclude=ValueError)

    fail_through(breaker, Work(ONE_BAD[0]), colour, clock)
    assert breaker.state is CircuitState.CLOSED
    fail_through(breaker, Work(ONE_BAD[1]), colour, clock)
    assert breaker.state is CircuitState.OPEN


@colours
@pytest.mark.parametrize("group", ONE_BAD[1:])
def test_a_fallback_covers_no_group_with_a_leaf_it_is_not_for(clock, path, colour, group):
    fallback = Fallback("instead", on=ConnectionError)

    assert fail_through(fallback, Work(group), colour, clock) is group


@colours
@pytest.mark.parametrize("group", LEAVING)
def test_a_cancellation_leaf_is_a_cancellation(clock, path, colour, group):
    breaker, work = CircuitBreaker(failure_threshold=1), Work(group)
    pipeline = Pipeline(Fallback("instead"), Retry(on=Exception, backoff=Backoff.none()), breaker)

    assert fail_through(pipeline, work, colour, clock) is group
    assert work.calls == 1
    assert breaker.state is CircuitState.CLOSED
    assert breaker.snapshot()["failures"] == 0


@pytest.mark.parametrize("group", LEAVING)
def test_a_probe_with_a_cancellation_leaf_decides_nothing(clock, path, group):
    breaker = CircuitBreaker(timeout=60.0)
    breaker.trip()
    clock.advance(67)

    with pytest.raises(BaseExceptionGroup):
        breaker.call(Work(group).sync)

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.can_execute()


def test_a_task_group_that_failed_inside_is_repeated(clock, path):
    calls = []

    async def part():
        calls.append(None)
        await asyncio.sleep(1)
        raise ConnectionError("down")

    async def whole():
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            group.create_task(asyncio.sleep(0.5))

    async def main():
        await Retry(backoff=Backoff.none()).execute(whole)

    with pytest.raises(ExceptionGroup):
        clock.run(main())

    assert len(calls) == 3


def test_the_longest_wait_any_leaf_asks_for_is_waited(clock, path):
    def asks(seconds):
        error = ConnectionError("busy")
        error.retry_after = seconds
        return error

    work = Work(ExceptionGroup("busy", [asks(3), ExceptionGroup("more", [asks(7)]), DOWN]))

    fail_through(Retry(2, Backoff.none()), work, "sync", clock)

    assert clock.slept == [7]
