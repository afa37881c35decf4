"""Gate 15: three nested retries of three make 3 calls, not 27, unless told otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast import Backoff, Bulkhead, CircuitBreaker, Fallback, Pipeline, Retry, Timeout

THREE = Backoff.none()


def retry(**settings):
    return Retry(3, THREE, **settings)


LAYERS = {
    "retry": lambda: Pipeline(retry()),
    "in a timeout": lambda: Pipeline(Timeout(60), retry()),
    "around a timeout": lambda: Pipeline(retry(), Timeout(60)),
    "stack": lambda: Pipeline(
        Timeout(60), retry(), CircuitBreaker(failure_threshold=99), Bulkhead(9), Timeout(50)
    ),
    "in a worker thread": lambda: Pipeline(Timeout(60, thread=True), retry()),
    "with results judged": lambda: Pipeline(retry(retry_on_result=lambda result: False)),
}


class Work:
    """Fails always."""

    def __init__(self):
        self.calls = 0
        self.lock = threading.Lock()

    def sync(self):
        with self.lock:
            self.calls += 1
        raise ConnectionError("down")

    async def later(self):
        await asyncio.sleep(0)
        self.sync()


def sync_in_sync(pipeline, inner):
    return lambda: pipeline.call(inner)


def async_in_async(pipeline, inner):
    async def layer():
        return await pipeline.execute(inner)

    return layer


def gathered(pipeline, inner):
    async def layer():
        return await asyncio.gather(pipeline.execute(inner))

    return layer


def grouped(pipeline, inner):
    async def layer():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pipeline.execute(inner))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    return layer


def waited_for(pipeline, inner):
    async def layer():
        return await asyncio.wait_for(pipeline.execute(inner), 50)

    return layer


def by_outcome(pipeline, inner):
    async def layer():
        return (await pipeline.outcome(inner)).unwrap()

    return layer


def decorated(pipeline, inner):
    return pipeline(inner)


ASYNC_WAYS = [async_in_async, gathered, grouped, waited_for, by_outcome, decorated]
PAIRS = [
    (outer, inner)
    for outer, inner in itertools.product(LAYERS, repeat=2)
    if outer == inner or "retry" in {outer, inner}
]
layers = pytest.mark.parametrize(
    ("outer", "inner"),
    [(LAYERS[outer], LAYERS[inner]) for outer, inner in PAIRS],
    ids=[f"{outer} > {inner}" for outer, inner in PAIRS],
)


def fails(pipeline, fn):
    with contextlib.suppress(ConnectionError):
        pipeline.call(fn)


async def fails_later(pipeline, fn):
    with contextlib.suppress(ConnectionError):
        await pipeline.execute(fn)


@layers
@pytest.mark.parametrize("way", [sync_in_sync, decorated])
def test_sync_in_sync(path, outer, inner, way):
    work = Work()

    fails(outer(), way(inner(), work.sync))

    assert work.calls == 3


@pytest.mark.parametrize("outer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("inner", [LAYERS["retry"], LAYERS["stack"]], ids=["retry", "stack"])
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_async_in_async(clock, path, outer, inner, way):
    work = Work()

    clock.run(fails_later(outer(), way(inner(), work.later)))

    assert work.calls == 3


@layers
def test_sync_in_async(clock, path, outer, inner):
    work = Work()

    clock.run(fails_later(outer(), sync_in_sync(inner(), work.sync)))

    assert work.calls == 3


@layers
def test_async_in_a_loop_of_its_own_in_sync(path, outer, inner):
    work, within = Work(), inner()

    def layer():
        asyncio.run(within.execute(work.later))

    fails(outer(), layer)

    assert work.calls == 3


@layers
def test_sync_in_a_thread_of_async(path, outer, inner):
    work, within = Work(), inner()

    async def layer():
        await asyncio.to_thread(within.call, work.sync)

    asyncio.run(fails_later(outer(), layer))

    assert work.calls == 3


SEEN_FROM_A_COPIED_CONTEXT = {name: make for name, make in LAYERS.items() if name != "retry"}


def test_a_copied_context_tells_nothing_of_a_sync_retry_without_a_limit():
    """The one gap, documented in `pipeline.stack`: such a call marks nothing but its stack."""
    work, within = Work(), Pipeline(retry())

    def layer():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(contextvars.copy_context().run, within.call, work.sync).result()

    fails(Pipeline(retry()), layer)

    assert work.calls == 3 + 1 + 1


@pytest.mark.parametrize(
    "outer", SEEN_FROM_A_COPIED_CONTEXT.values(), ids=SEEN_FROM_A_COPIED_CONTEXT
)
def test_sync_in_a_thread_that_was_given_the_context_of_sync(path, outer):
    """As `asyncio.to_thread` does, and every careful executor."""
    work, within = Work(), Pipeline(retry())

    with ThreadPoolExecutor(1) as pool:

        def layer():
            pool.submit(contextvars.copy_context().run, within.call, work.sync).result()

        fails(outer(), layer)

    assert work.calls == 3


@pytest.mark.parametrize(
    "outer", SEEN_FROM_A_COPIED_CONTEXT.values(), ids=SEEN_FROM_A_COPIED_CONTEXT
)
def test_a_loop_with_threads_in_sync(path, outer):
    work, within = Work(), Pipeline(retry())

    def layer():
        asyncio.run(asyncio.to_thread(within.call, work.sync))

    fails(outer(), layer)

    assert work.calls == 3


def test_three_layers_of_each_colour(clock, path):
    for ways in ([sync_in_sync] * 2, [async_in_async, gathered]):
        work = Work()
        fn = work.sync if ways[0] is sync_in_sync else work.later
        for way in ways:
            fn = way(LAYERS["stack"](), fn)
        clock.run(fails_later(LAYERS["stack"](), fn))
        assert work.calls == 3


@layers
def test_an_inner_failure_on_a_later_attempt_of_the_outer_folds_too(path, outer, inner):
    work, within, rounds = Work(), inner(), []

    def layer():
        rounds.append(None)
        if len(rounds) == 1:
            raise ConnectionError("before the inner one is reached")
        within.call(work.sync)

    fails(outer(), layer)

    assert len(rounds) == 3
    assert work.calls == 2


@layers
def test_two_inner_calls_in_one_outer_call_each_run_once_per_attempt(path, outer, inner):
    first, second, within = Work(), Work(), inner()

    def layer():
        with contextlib.suppress(ConnectionError):
            within.call(first.sync)
        within.call(second.sync)

    fails(outer(), layer)

    assert (first.calls, second.calls) == (3, 3)


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_told_to_multiply_it_multiplies(clock, path, colour):
    work, within = Work(), Pipeline(retry(allow_nested=True))
    if colour == "sync":
        fails(Pipeline(retry()), sync_in_sync(within, work.sync))
    else:
        clock.run(fails_later(Pipeline(retry()), async_in_async(within, work.later)))

    assert work.calls == 9


def test_an_outer_one_that_allows_nesting_does_not_answer_for_the_inner(path):
    """It is the inner one that says whether it may repeat inside another."""
    work = Work()

    fails(Pipeline(retry(allow_nested=True)), sync_in_sync(Pipeline(retry()), work.sync))

    assert work.calls == 3


def test_two_retries_in_one_pipeline_fold(path):
    work = Work()

    fails(Pipeline(retry(), CircuitBreaker(failure_threshold=99), retry()), work.sync)

    assert work.calls == 3


@pytest.mark.parametrize(
    "outer",
    [
        lambda: Pipeline(Timeout(60)),
        lambda: Pipeline(CircuitBreaker(), Bulkhead(1)),
        lambda: Pipeline(Fallback(None, on=KeyError)),
        Pipeline,
    ],
)
def test_inside_what_does_not_retry_an_inner_one_retries(clock, path, outer):
    work, later = Work(), Work()

    fails(outer(), sync_in_sync(Pipeline(retry()), work.sync))
    clock.run(fails_later(outer(), async_in_async(Pipeline(retry()), later.later)))

    assert (work.calls, later.calls) == (3, 3)


def test_after_the_outer_call_has_ended_the_inner_one_is_its_own_master(clock, path):
    outer, inner, work = Pipeline(retry()), Pipeline(retry()), Work()
    started = []

    async def start():
        async def background():
            await asyncio.sleep(5)
            await fails_later(inner, work.later)

        started.append(asyncio.create_task(background()))

    async def main():
        await outer.execute(start)
        await started[0]
        await fails_later(inner, work.later)

    clock.run(main())
    fails(inner, work.sync)

    assert work.calls == 9


def test_an_unrelated_call_beside_it_is_not_folded(clock, path):
    """Two tasks: one inside a retry, the other not."""
    outer, inner = Pipeline(retry()), Pipeline(retry())
    nested, free = Work(), Work()

    async def main():
        await asyncio.gather(
            fails_later(outer, async_in_async(inner, nested.later)),
            fails_later(inner, free.later),
        )

    clock.run(main())

    assert (nested.calls, free.calls) == (3, 3)


def test_loops_over_attempts_fold_both_ways(clock, path):
    inside, around = Work(), Work()

    def loop():
        for attempt in retry().attempts():
            with attempt:
                inside.sync()

    fails(Pipeline(retry()), loop)
    with contextlib.suppress(ConnectionError):
        for attempt in retry().attempts():
            with attempt:
                Pipeline(retry()).call(around.sync)

    assert (inside.calls, around.calls) == (3, 3)


def test_recursion_through_the_same_pipeline_folds(path):
    pipeline, work = Pipeline(retry()), Work()

    def recurse(depth):
        if depth:
            pipeline.call(recurse, depth - 1)
        else:
            work.sync()

    fails(pipeline, lambda: recurse(4))

    assert work.calls == 3
