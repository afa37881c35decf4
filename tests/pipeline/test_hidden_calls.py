"""Calls in flight are found however they are awaited: closing must not miss them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from holdfast import Backoff, Bulkhead, CircuitBreaker, Pipeline, Retry, Timeout
from holdfast.pipeline.named import NamedPipeline

POLICIES = {
    "retry": lambda: [Retry(backoff=Backoff.none())],
    "timeout": lambda: [Timeout(500)],
    "bulkhead": lambda: [Bulkhead(10)],
    "stack": lambda: [Timeout(500), Retry(), CircuitBreaker(), Bulkhead(10), Timeout(400)],
}


async def plainly(pipeline, seconds):
    await pipeline.execute(asyncio.sleep, seconds)


async def in_an_async_context(pipeline, seconds):
    @asynccontextmanager
    async def session():
        await pipeline.execute(asyncio.sleep, seconds)
        yield

    async with session():
        pass


async def in_an_async_generator(pipeline, seconds):
    async def items():
        for _ in range(2):
            await pipeline.execute(asyncio.sleep, seconds)
            yield

    async for _ in items():
        break


async def in_anext_with_a_default(pipeline, seconds):
    async def items():
        await pipeline.execute(asyncio.sleep, seconds)
        yield

    await anext(items(), None)


async def in_the_end_of_an_async_generator(pipeline, seconds):
    async def items():
        try:
            yield
        finally:
            await pipeline.execute(asyncio.sleep, seconds)

    ours = items()
    await anext(ours)
    await ours.aclose()


async def in_a_stream(pipeline, seconds):
    @pipeline.stream
    async def items():
        await asyncio.sleep(seconds)
        yield

    async for _ in items():
        break


class Lazy:
    """Awaits a coroutine by its wrapper."""

    def __init__(self, make):
        self.make = make

    def __await__(self):
        return self.make().__await__()


class Handmade:
    """Drives a coroutine itself."""

    def __init__(self, coroutine):
        self.state = {"inner": [coroutine]}

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.state["inner"][0].send(None)

    def send(self, value):
        return self.state["inner"][0].send(value)

    def throw(self, *error):
        return self.state["inner"][0].throw(*error)


async def in_a_custom_await(pipeline, seconds):
    await Lazy(lambda: pipeline.execute(asyncio.sleep, seconds))


async def in_a_handmade_awaitable(pipeline, seconds):
    await Handmade(pipeline.execute(asyncio.sleep, seconds))


async def in_all_of_them(pipeline, seconds):
    async def items():
        await Lazy(lambda: Handmade(plainly(pipeline, seconds)).__await__())
        yield

    @asynccontextmanager
    async def session():
        async for _ in items():
            yield

    async with session():
        pass


WAYS = [
    plainly,
    in_an_async_context,
    in_an_async_generator,
    in_anext_with_a_default,
    in_the_end_of_an_async_generator,
    in_a_stream,
    in_a_custom_await,
    in_a_handmade_awaitable,
    in_all_of_them,
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
policies = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@ways
@policies
async def test_a_call_in_flight_is_counted_once(way, make):
    pipeline = Pipeline(*make())
    task = asyncio.create_task(way(pipeline, 30))
    await settle()
    assert pipeline.in_flight == 1
    assert NamedPipeline("one", pipeline).in_flight == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pipeline.in_flight == 0


@ways
@policies
async def test_closing_waits_for_it(way, make):
    pipeline = Pipeline(*make())
    task = asyncio.create_task(way(pipeline, 0.05))
    await settle()
    closed = await pipeline.aclose(10)
    assert (closed.finished, closed.cancelled, closed.left) == (1, 0, 0)
    await asyncio.wait_for(task, 5)


@ways
@policies
async def test_closing_cancels_it_at_the_limit(way, make):
    pipeline = Pipeline(*make())
    task = asyncio.create_task(way(pipeline, 300))
    await settle()
    closed = await pipeline.aclose(0.05)
    assert (closed.finished, closed.cancelled, closed.left) == (0, 1, 0)
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    assert pipeline.in_flight == 0


async def test_a_task_that_waits_for_another_is_not_taken_for_it():
    pipeline = Pipeline(Retry(backoff=Backoff.none()))
    inner = asyncio.create_task(pipeline.execute(asyncio.sleep, 300))

    class Waits:
        def __init__(self, future):
            self.future = future

        def __await__(self):
            return self.future.__await__()

    async def outside():
        await Waits(inner)

    outer = asyncio.create_task(outside())
    await settle()
    assert pipeline.in_flight == 1
    outer.cancel()
    await asyncio.gather(inner, outer, return_exceptions=True)
