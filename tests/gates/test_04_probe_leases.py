"""Gate 4: a probe ends as success, failure, ignored or abandoned, and expires by itself."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    Pipeline,
    Retry,
    Timeout,
    progress,
)
from holdfast.events import listen
from holdfast.machines.circuit import CircuitState

OPEN, HALF_OPEN, CLOSED = CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED


@pytest.fixture
def half_open(clock):
    """Makes breakers whose next call is a probe."""

    def make(**settings):
        breaker = CircuitBreaker("api", timeout=60.0, **settings)
        breaker.trip()
        clock.advance(67)
        assert breaker.state is HALF_OPEN
        return breaker

    return make


def hangs():
    return asyncio.Event().wait()


def has_room(breaker):
    """Whether the next probe is admitted; it is given back at once."""
    room = breaker.can_execute()
    breaker.reset()
    return room


async def cancelled(awaitable, turns=3):
    task = asyncio.ensure_future(awaitable)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def test_success_closes_it_when_there_are_enough(clock, half_open):
    breaker = half_open(success_threshold=2)

    breaker.call(str)
    assert breaker.state is HALF_OPEN
    breaker.call(str)

    assert breaker.state is CLOSED


def test_failure_opens_it_again(half_open):
    breaker = half_open()

    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)

    assert breaker.state is OPEN


def test_an_excluded_error_gives_the_place_back_and_decides_nothing(half_open):
    breaker = half_open(exclude=KeyError)

    for _ in range(10):
        with pytest.raises(KeyError):
            breaker.call({}.__getitem__, "absent")

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)


def test_an_error_that_is_not_counted_gives_the_place_back_and_decides_nothing(half_open):
    breaker = half_open(on=ConnectionError)

    for _ in range(10):
        with pytest.raises(KeyError):
            breaker.call({}.__getitem__, "absent")

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)


def test_a_cancelled_probe_gives_the_place_back_and_decides_nothing(clock, half_open):
    breaker = half_open(success_threshold=1)

    async def main():
        for _ in range(10):
            await cancelled(breaker.execute(hangs))
            assert breaker.state is HALF_OPEN
            assert breaker.snapshot()["probes"] == 0
        await breaker.execute(asyncio.sleep, 0)

    clock.run(main())

    assert breaker.state is CLOSED


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_program_gives_the_place_back_and_decides_nothing(half_open, leaving):
    breaker = half_open()

    def leave():
        raise leaving

    for _ in range(3):
        with pytest.raises(leaving):
            breaker.call(leave)

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)


def test_a_hung_probe_loses_its_place_after_its_lease(clock, half_open):
    breaker = half_open(success_threshold=1, probe_seconds=30.0)

    async def main():
        hung = asyncio.create_task(breaker.execute(hangs))
        await asyncio.sleep(29)
        with pytest.raises(CircuitBreakerOpenError) as refused:
            await breaker.execute(asyncio.sleep, 0)
        assert refused.value.retry_after == pytest.approx(1)
        await asyncio.sleep(1.5)
        await breaker.execute(asyncio.sleep, 0)
        hung.cancel()
        await asyncio.wait([hung])

    clock.run(main())

    assert breaker.state is CLOSED


def test_a_probe_asked_for_by_hand_and_forgotten_expires(clock, half_open):
    breaker = half_open(success_threshold=1, probe_seconds=30.0)
    assert breaker.can_execute()
    assert not breaker.can_execute()

    clock.advance(31)

    assert breaker.can_execute()
    breaker.record_success()


def test_what_an_expired_probe_says_late_decides_nothing(clock, half_open):
    breaker = half_open(success_threshold=1, probe_seconds=30.0)

    def dawdle():
        clock.advance(31)
        raise ConnectionError("late")

    with pytest.raises(ConnectionError):
        breaker.call(dawdle)

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)


def test_progress_keeps_the_place(clock, half_open):
    breaker = half_open(success_threshold=1, probe_seconds=30.0)

    async def renders():
        for _ in range(10):
            await asyncio.sleep(20)
            progress()
            assert not breaker.can_execute()

    clock.run(breaker.execute(renders))

    assert breaker.state is CLOSED


@pytest.mark.parametrize(
    "around",
    [
        lambda breaker: Pipeline(breaker, Timeout(5)),
        lambda breaker: Pipeline(Timeout(5), breaker),
        lambda breaker: Pipeline(Timeout(5), Retry(backoff=Backoff.none()), breaker),
        lambda breaker: Pipeline(breaker, Timeout(idle=5)),
    ],
)
def test_a_probe_our_own_limit_ended_is_a_failure(clock, half_open, around):
    breaker = half_open()

    with pytest.raises(DeadlineExceededError):
        clock.run(around(breaker).execute(hangs))

    assert breaker.state is OPEN


def test_a_probe_refused_further_in_gives_the_place_back(clock, half_open):
    breaker, bulkhead = half_open(), Bulkhead(1)
    pipeline = Pipeline(breaker, bulkhead)
    assert bulkhead.try_take()

    for _ in range(5):
        assert not pipeline.call_outcome(str).ok

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)


def test_a_probe_cancelled_in_a_queue_further_in_gives_the_place_back(clock, half_open):
    breaker, bulkhead = half_open(), Bulkhead(1, max_queue=5)
    assert bulkhead.try_take()

    clock.run(cancelled(Pipeline(breaker, bulkhead).execute(hangs)))

    assert breaker.state is HALF_OPEN
    assert bulkhead.waiting == 0
    assert has_room(breaker)


def test_a_probe_settled_twice_counts_once(clock, half_open):
    breaker, events = half_open(success_threshold=2), []
    permit = breaker.circuit.admit(clock.now())

    with listen(events.append):
        breaker.settle(permit, failed=False)
        breaker.settle(permit, failed=False)

    assert breaker.state is HALF_OPEN
    assert [type(e).__name__ for e in events] == ["OutcomeDiscarded"]


def test_a_breaker_that_closed_in_an_open_loop_is_no_ones_prisoner(half_open):
    """The probe's event loop is closed while it hangs: nobody will ever finish it."""
    breaker = half_open(success_threshold=1, probe_seconds=30.0)

    async def main():
        task = asyncio.create_task(breaker.execute(hangs))
        await asyncio.sleep(0)
        return task

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())

    assert breaker.state is HALF_OPEN
    assert has_room(breaker)
