"""Gate 21: closing waits for calls in flight up to its limit, then cancels, and says how many."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from holdfast import (
    Backoff,
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    Hedge,
    Pipeline,
    RejectedError,
    Retry,
    Timeout,
)
from tests.gates.crowd import PATIENCE, in_threads

PIPELINES = {
    "nothing": list,
    "retry": lambda: [Retry(backoff=Backoff.none())],
    "timeout": lambda: [Timeout(500)],
    "bulkhead": lambda: [Bulkhead(10)],
    "hedge": lambda: [Hedge(300.0)],
    "stack": lambda: [Timeout(500), Retry(), CircuitBreaker(), Bulkhead(10), Timeout(400)],
}

pipelines = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)


def told(closed):
    return closed.finished, closed.cancelled, closed.left


async def started(pipeline, count, seconds):
    tasks = [asyncio.create_task(pipeline.execute(asyncio.sleep, seconds)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pipeline.in_flight == count
    return tasks


@pipelines
def test_calls_that_end_in_time_are_waited_for(clock, path, make):
    pipeline = Pipeline(*make())

    async def main():
        tasks = await started(pipeline, 3, 5)
        began = clock.now()
        assert told(await pipeline.aclose(30)) == (3, 0, 0)
        assert clock.now() - began == pytest.approx(5, abs=0.1)
        await asyncio.gather(*tasks)

    clock.run(main())

    assert pipeline.in_flight == 0


@pipelines
def test_calls_that_do_not_are_cancelled_at_the_limit(clock, path, make):
    pipeline = Pipeline(*make())

    async def main():
        short, long = await started(pipeline, 2, 5), []
        long = [asyncio.create_task(pipeline.execute(asyncio.sleep, 300)) for _ in range(3)]
        await asyncio.sleep(0)
        began = clock.now()
        closed = await pipeline.aclose(30)
        assert told(closed) == (2, 3, 0)
        assert clock.now() - began == pytest.approx(30, abs=1)
        assert [task.cancelled() for task in (*short, *long)] == [False] * 2 + [True] * 3

    clock.run(main())

    assert pipeline.in_flight == 0


@pipelines
def test_with_nothing_in_flight_it_is_over_at_once(clock, path, make):
    pipeline = Pipeline(*make())
    pipeline.call(str)

    assert told(pipeline.close(30)) == (0, 0, 0)
    assert clock.slept == []

    assert told(clock.run(Pipeline(*make()).aclose(30))) == (0, 0, 0)


@pipelines
def test_a_closed_pipeline_lets_nobody_in(clock, path, make):
    pipeline = Pipeline(*make())
    guarded, later = pipeline(str), pipeline(asyncio.sleep)
    pipeline.close(0)

    for call in (guarded, lambda: pipeline.call(str)):
        with pytest.raises(RejectedError, match="closed"):
            call()
    assert isinstance(pipeline.call_outcome(str).error, RejectedError)

    async def main():
        with pytest.raises(RejectedError, match="closed"):
            await later(1)
        with pytest.raises(RejectedError, match="closed"):
            await pipeline.execute(str)
        assert isinstance((await pipeline.outcome(str)).error, RejectedError)

    clock.run(main())


def test_a_call_on_its_way_may_still_be_retried_while_it_is_waited_for(clock, path):
    """Closing is no reason to fail what would have succeeded."""
    pipeline, calls = Pipeline(Retry(3, Backoff.fixed(2.0))), []

    async def flaky():
        calls.append(None)
        await asyncio.sleep(1)
        if len(calls) < 3:
            raise ConnectionError("down")
        return "done"

    async def main():
        task = asyncio.create_task(pipeline.execute(flaky))
        await asyncio.sleep(0.5)
        assert told(await pipeline.aclose(30)) == (1, 0, 0)
        assert await task == "done"

    clock.run(main())

    assert len(calls) == 3


def test_those_in_the_queue_are_on_their_way_too(clock, path):
    pipeline = Pipeline(Bulkhead(1, max_queue=9))

    async def main():
        tasks = [asyncio.create_task(pipeline.execute(asyncio.sleep, 4)) for _ in range(3)]
        await asyncio.sleep(0)
        assert told(await pipeline.aclose(30)) == (3, 0, 0)
        await asyncio.gather(*tasks)

    clock.run(main())


def test_sync_calls_are_waited_for(path):
    pipeline, inside = Pipeline(Retry(), Bulkhead(4)), threading.Barrier(4)

    def work():
        inside.wait(PATIENCE)
        time.sleep(0.05)

    def close():
        inside.wait(PATIENCE)
        return told(pipeline.close(PATIENCE))

    *_, closed = in_threads(*[lambda: pipeline.call(work)] * 3, close)

    assert closed == (3, 0, 0)
    assert pipeline.in_flight == 0


def test_sync_calls_that_do_not_end_are_counted(path):
    pipeline, inside, release = Pipeline(Retry()), threading.Barrier(3), threading.Event()

    def work():
        inside.wait(PATIENCE)
        assert release.wait(PATIENCE)

    def close():
        inside.wait(PATIENCE)
        try:
            return told(pipeline.close(0.05))
        finally:
            release.set()

    *_, closed = in_threads(*[lambda: pipeline.call(work)] * 2, close)

    assert closed == (0, 0, 2)


def test_calls_in_other_loops_are_waited_for_and_cancelled(path):
    pipeline, inside = Pipeline(Timeout(500)), threading.Barrier(3)

    def loop():
        async def main():
            task = asyncio.create_task(pipeline.execute(asyncio.sleep, 300))
            await asyncio.sleep(0)
            await asyncio.to_thread(inside.wait, PATIENCE)
            await asyncio.wait([task])
            return task.cancelled()

        return asyncio.run(main())

    def close():
        inside.wait(PATIENCE)
        return told(pipeline.close(0.05))

    assert in_threads(loop, loop, close) == [True, True, (0, 2, 0)]
    assert pipeline.in_flight == 0


def test_a_call_may_close_its_own_pipeline_without_waiting_for_itself_for_ever(clock, path):
    pipeline = Pipeline(Timeout(500))

    async def close():
        return await pipeline.aclose(1)

    async def main():
        return await pipeline.execute(close)

    assert clock.run(main()).cancelled == 0


def test_closing_twice_is_closing_once(clock, path):
    pipeline = Pipeline(Timeout(500))

    async def main():
        tasks = await started(pipeline, 2, 5)
        both = await asyncio.gather(pipeline.aclose(30), pipeline.aclose(30))
        assert [told(closed) for closed in both] == [(2, 0, 0)] * 2
        await asyncio.gather(*tasks)

    clock.run(main())

    assert told(pipeline.close()) == (0, 0, 0)


@pytest.mark.parametrize("limit", [-1, float("nan"), "soon", True, None])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(BadInputError, match="limit"):
        Pipeline().close(limit)


def test_in_flight_counts_calls_of_both_colours_and_paths(clock, path):
    pipeline, seen = Pipeline(Timeout(500)), []

    async def look():
        seen.append(pipeline.in_flight)
        pipeline.call(lambda: seen.append(pipeline.in_flight))
        await pipeline.execute(lambda: seen.append(pipeline.in_flight))

    clock.run(pipeline.execute(look))

    assert seen == [1, 2, 2]
    assert pipeline.in_flight == 0


def test_a_sync_call_that_is_left_begins_no_further_attempt(clock, path):
    pipeline, calls = Pipeline(Retry(max_attempts=5, backoff=Backoff.fixed(10))), []

    def fails():
        calls.append(1)
        if len(calls) == 2:
            assert pipeline.close(0).left == 1
        raise ConnectionError

    outcome = pipeline.call_outcome(fails)

    assert len(calls) == outcome.attempts == 2
    assert type(outcome.error) is ConnectionError
    assert "the pipeline is closed" in outcome.steps[-1]


@pytest.mark.parametrize("asleep", [True, False])
def test_nor_does_one_that_slept_meanwhile(path, asleep):
    pipeline, calls = Pipeline(Retry(max_attempts=5, backoff=Backoff.fixed(0.3))), []

    def fails():
        calls.append(1)
        raise ConnectionError

    def close():
        while not calls:
            time.sleep(0.001)
        time.sleep(0.05)
        return pipeline.close(0.0 if asleep else 5.0)

    outcome, closed = in_threads(lambda: pipeline.call_outcome(fails), close)

    if asleep:
        assert (len(calls), closed.left) == (1, 1)
        assert isinstance(outcome.error, RejectedError)
        assert len(outcome.history) == 1
    else:
        assert (len(calls), closed.finished) == (5, 1)  # while it is waited for, it may go on
