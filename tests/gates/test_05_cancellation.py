"""Gate 5: what ends a call from outside is never retried, never counted, never swallowed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Deadline,
    DeadlineExceededError,
    Fallback,
    FallbackChain,
    Hedge,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
    Timeout,
)
from holdfast.machines.circuit import CircuitState

LEAVING = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]

PIPELINES = {
    "retry": lambda: [Retry(on=Exception, backoff=Backoff.none())],
    "breaker": lambda: [CircuitBreaker(failure_threshold=1)],
    "timeout": lambda: [Timeout(5)],
    "idle timeout": lambda: [Timeout(idle=5)],
    "bulkhead": lambda: [Bulkhead(1, max_queue=3)],
    "fallback": lambda: [Fallback("instead")],
    "rate limiter": lambda: [RateLimiter(100)],
    "load shedder": lambda: [LoadShedder(1)],
    "adaptive throttle": lambda: [AdaptiveThrottle()],
    "hedge": lambda: [Hedge(30.0, on=Exception)],
    "fallback chain": lambda: [FallbackChain("chain").add_fallback(lambda: "instead")],
    "cache": lambda: [Cache(60, stale_if_error=60)],
    "latency": lambda: [Chaos.latency(0.1, rate=1.0)],
    "stack": lambda: [
        Fallback("instead"),
        Timeout(60),
        Retry(on=Exception, backoff=Backoff.none()),
        CircuitBreaker(failure_threshold=1),
        Bulkhead(4),
        Timeout(10),
    ],
}

pipelines = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
timeouts = pytest.mark.parametrize(
    "make",
    [
        lambda: [Timeout(5)],
        lambda: [Timeout(idle=5)],
        lambda: [Timeout(5), Retry(backoff=Backoff.none())],
        lambda: [Timeout(60), Retry(max_attempts=1), CircuitBreaker(), Bulkhead(4), Timeout(5)],
        lambda: [Timeout(5), Bulkhead(1, max_queue=2), Timeout(3)],
    ],
    ids=["timeout", "idle", "total", "stack", "two"],
)


def breakers(pipeline):
    return [policy for policy in pipeline.policies if isinstance(policy, CircuitBreaker)]


def unharmed(pipeline):
    """No failure was counted, no slot is taken, and nothing is on its way."""
    for breaker in breakers(pipeline):
        assert breaker.state is CircuitState.CLOSED
        assert breaker.snapshot()["failures"] == 0
    for policy in pipeline.policies:
        if isinstance(policy, Bulkhead):
            assert (policy.running, policy.waiting) == (0, 0)
    assert pipeline.in_flight == 0
    assert Deadline.current() is None


@pipelines
@pytest.mark.parametrize("leaving", LEAVING)
def test_what_ends_a_sync_call_comes_out_after_one_call(clock, path, make, leaving):
    pipeline, calls = Pipeline(*make()), []

    def leave():
        calls.append(None)
        raise leaving

    with pytest.raises(leaving):
        pipeline.call(leave)

    assert len(calls) == 1
    unharmed(pipeline)


@pipelines
@pytest.mark.parametrize("leaving", LEAVING)
def test_what_ends_a_sync_call_comes_out_of_an_outcome_too(clock, make, leaving):
    pipeline, calls = Pipeline(*make()), []

    def leave():
        calls.append(None)
        raise leaving

    with pytest.raises(leaving):
        pipeline.call_outcome(leave)

    assert len(calls) == 1
    unharmed(pipeline)


@pipelines
@pytest.mark.parametrize("leaving", [GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("way", ["execute", "outcome"])
def test_what_ends_an_async_call_comes_out_after_one_call(clock, path, make, leaving, way):
    pipeline, calls = Pipeline(*make()), []

    async def leave():
        calls.append(None)
        await asyncio.sleep(1)
        raise leaving

    async def main():
        with pytest.raises(leaving):
            await getattr(pipeline, way)(leave)
        unharmed(pipeline)

    clock.run(main())

    assert len(calls) == 1


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_ends_the_loop(clock, path, leaving):
    pipeline, calls = Pipeline(*PIPELINES["stack"]()), []

    async def leave():
        calls.append(None)
        await asyncio.sleep(1)
        raise leaving

    with pytest.raises(leaving):
        clock.run(pipeline.execute(leave))

    assert len(calls) == 1
    unharmed(pipeline)


@pipelines
def test_a_cancelled_call_is_cancelled(clock, path, make):
    pipeline, calls = Pipeline(*make()), []

    async def hang():
        calls.append(None)
        await asyncio.sleep(3)

    async def main():
        task = asyncio.create_task(pipeline.execute(hang))
        await asyncio.sleep(1)
        task.cancel("because")
        with pytest.raises(asyncio.CancelledError, match="because"):
            await task
        assert task.cancelled()
        assert task.cancelling() == 1
        unharmed(pipeline)

    clock.run(main())

    assert len(calls) == 1


@pytest.mark.parametrize("make", [make for name, make in PIPELINES.items() if name != "latency"])
def test_an_interrupted_wait_between_attempts_ends_the_call(clock, make, monkeypatch):
    calls = []
    pipeline = Pipeline(*make(), Retry(on=ConnectionError, allow_nested=True))

    def interrupt(seconds):
        raise KeyboardInterrupt

    def fail():
        calls.append(None)
        raise ConnectionError("down")

    monkeypatch.setattr("holdfast.ports.ambient.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline.call(fail)

    assert len(calls) == 1
    unharmed(pipeline)


@pipelines
def test_a_cancelled_call_whose_clean_up_fails_is_not_repeated(clock, path, make):
    """The task has been told to end; a connection that breaks on closing changes nothing."""
    pipeline, calls = Pipeline(*make()), []

    async def dirty():
        calls.append(None)
        try:
            await asyncio.sleep(3)
        finally:
            raise ConnectionError("while closing")

    async def main():
        task = asyncio.create_task(pipeline.execute(dirty))
        await asyncio.sleep(1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task

    clock.run(main())

    assert len(calls) == 1


# -- our own timeout, and the caller's cancel ---------------------------------------------------


@timeouts
def test_our_own_timeout_leaves_no_cancellation_behind(clock, path, make):
    pipeline = Pipeline(*make())

    async def main():
        with pytest.raises(DeadlineExceededError):
            await pipeline.execute(asyncio.sleep, 100)
        assert asyncio.current_task().cancelling() == 0
        # A cancellation left over would strike here.
        await asyncio.sleep(1)

    clock.run(main())


@timeouts
@pytest.mark.parametrize("pending", [1, 2])
def test_cancellations_that_were_pending_before_are_left_as_found(clock, path, make, pending):
    """The task swallowed its caller's cancel earlier, as a clean-up does."""
    pipeline = Pipeline(*make())

    async def main():
        task = asyncio.current_task()
        for _ in range(pending):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        assert await pipeline.execute(asyncio.sleep, 1, "well") == "well"
        assert task.cancelling() == pending
        with pytest.raises(DeadlineExceededError):
            await pipeline.execute(asyncio.sleep, 100)
        assert task.cancelling() == pending

    clock.run(main())


@timeouts
@pytest.mark.parametrize("first", ["ours", "caller's"])
@pytest.mark.parametrize("limit", [3.0, 5.0])
def test_in_the_same_tick_the_callers_cancel_wins(clock, path, make, first, limit):
    """Both timers are due in one turn of the loop; the caller's cancel is the one to obey."""
    pipeline = Pipeline(*make())

    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        task = asyncio.create_task(pipeline.execute(asyncio.sleep, 100))
        if first == "caller's":
            loop.call_at(began + limit, task.cancel)
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(1)
            loop.call_at(began + limit, task.cancel)
        await asyncio.wait([task])
        # Where the limit is another, the call ended by it or was cancelled before.
        if task.cancelled():
            assert task.cancelling() == 1
        else:
            assert isinstance(task.exception(), DeadlineExceededError)
            assert loop.time() - began < limit
        unharmed_slots(pipeline)

    clock.run(main())


def unharmed_slots(pipeline):
    for policy in pipeline.policies:
        if isinstance(policy, Bulkhead):
            assert (policy.running, policy.waiting) == (0, 0)
    assert pipeline.in_flight == 0


@timeouts
@pytest.mark.parametrize("order", ["cancel, then time", "time, then cancel"])
def test_the_callers_cancel_wins_within_one_turn_of_the_loop(clock, path, make, order):
    """Between the two there is no turn of the loop in which the task could run."""
    pipeline = Pipeline(*make())

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(pipeline.execute(asyncio.sleep, 100))
        await asyncio.sleep(1)
        alarms = [timer for timer in loop._scheduled if not timer.cancelled()]

        def both():
            clock.advance(50)
            if order == "cancel, then time":
                task.cancel()
            for timer in alarms:
                timer._run()
            if order != "cancel, then time":
                task.cancel()

        loop.call_soon(both)
        await asyncio.wait([task])
        assert task.cancelled()
        assert task.cancelling() == 1
        unharmed_slots(pipeline)

    clock.run(main())


@timeouts
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_cancel_a_few_turns_after_our_timeout_is_not_lost(clock, path, make, after):
    """Either the call had ended before, or the cancellation comes out; never neither."""
    pipeline = Pipeline(*make())

    async def main():
        loop = asyncio.get_running_loop()

        async def caller():
            with contextlib.suppress(DeadlineExceededError):
                await pipeline.execute(asyncio.sleep, 100)
            # A cancel that came too late for the call strikes here.
            await asyncio.sleep(1)
            await asyncio.sleep(1)

        task = asyncio.create_task(caller())
        for _ in range(3):
            await asyncio.sleep(0)
        due = min(timer.when() for timer in loop._scheduled if not timer.cancelled())

        def later(turns):
            if turns:
                loop.call_soon(later, turns - 1)
            else:
                task.cancel()

        loop.call_at(due, later, after)
        await asyncio.wait([task])
        assert task.cancelled()

    clock.run(main())


@timeouts
def test_a_timeout_of_asyncio_around_ours_at_the_same_moment_is_told_apart(clock, path, make):
    pipeline = Pipeline(*make())

    async def main():
        for seconds in (2.0, 3.0, 5.0):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(seconds):
                    await pipeline.execute(asyncio.sleep, 100)
            assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(1)

    clock.run(main())


@timeouts
def test_a_task_group_that_gives_up_takes_its_calls_with_it(clock, path, make):
    pipeline, ended = Pipeline(*make()), []

    async def hang():
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(None)

    async def fail():
        await asyncio.sleep(1)
        raise LookupError("the group's own trouble")

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(pipeline.execute(hang))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as failed:
        clock.run(main())

    assert [type(e) for e in failed.value.exceptions] == [LookupError]
    assert len(ended) == 1


def test_a_call_that_ended_just_as_the_time_was_up_keeps_its_result_or_says_so(clock, path):
    """The result is there, and in the same turn the alarm rings: one of the two, not both."""
    pipeline = Pipeline(Timeout(5))

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def wait():
            return await future

        task = asyncio.create_task(pipeline.execute(wait))
        await asyncio.sleep(1)
        loop.call_at(loop.time() + 4, future.set_result, "there")
        await asyncio.wait([task])
        assert task.cancelling() == 0
        error = task.exception()
        assert error is None or isinstance(error, DeadlineExceededError)

    clock.run(main())


def test_a_breaker_counts_our_own_limit_and_not_the_callers(clock, path):
    breaker = CircuitBreaker(failure_threshold=1)
    pipeline = Pipeline(breaker, Timeout(5))

    async def main():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(4):
                await pipeline.execute(asyncio.sleep, 100)
        assert breaker.state is CircuitState.CLOSED
        with contextlib.suppress(DeadlineExceededError):
            await pipeline.execute(asyncio.sleep, 100)
        assert breaker.state is CircuitState.OPEN

    clock.run(main())
