"""Generators: refused, or protected up to their first item, and never replayed."""

from __future__ import annotations

import functools

import pytest

from holdfast.errors import BadInputError
from holdfast.pipeline import Pipeline
from holdfast.pipeline.streams import kind_of
from holdfast.policies.backoff import Backoff
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.retry import Retry
from holdfast.testing import FakeClock


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def pipeline():
    return Pipeline(Retry(3, Backoff.fixed(1.0)), Bulkhead(1))


def sync():
    return 1


async def asynchronous():
    return 1


def items():
    yield 1


async def async_items():
    yield 1


def with_call(fn):
    return type("Thing", (), {"__call__": lambda self: fn()})()


class AsyncThing:
    async def __call__(self):
        return 1

    async def method(self):
        return 1

    @staticmethod
    async def static():
        return 1


class ItemsThing:
    def __call__(self):
        yield 1


@pytest.mark.parametrize(
    ("fn", "kind"),
    [
        (sync, "sync"),
        (asynchronous, "async"),
        (items, "generator"),
        (async_items, "async generator"),
        (functools.partial(asynchronous), "async"),
        (functools.partial(functools.partial(items)), "generator"),
        (AsyncThing(), "async"),
        (AsyncThing().method, "async"),
        (AsyncThing.static, "async"),
        (functools.partial(AsyncThing()), "async"),
        (ItemsThing(), "generator"),
        (int, "sync"),
        (len, "sync"),
        (AsyncThing, "sync"),
        (with_call(sync), "sync"),
        (lambda: asynchronous(), "sync"),  # noqa: PLW0108  # a lambda is what is tested
    ],
)
def test_the_kind_of_a_function_is_seen_through_partials_and_objects(fn, kind):
    assert kind_of(fn) == kind


@pytest.mark.parametrize("fn", [items, async_items, ItemsThing(), functools.partial(items)])
def test_decorating_a_generator_function_is_refused_and_says_what_to_do(pipeline, fn):
    with pytest.raises(BadInputError, match=r"use Pipeline.stream\(fn\)"):
        pipeline(fn)


@pytest.mark.parametrize("fn", [items, async_items, lambda: items(), lambda: async_items()])  # noqa: PLW0108  # a lambda is what is tested
def test_a_function_that_turns_out_to_return_a_generator_fails(clock, pipeline, fn):
    with pytest.raises(BadInputError, match=r"use Pipeline.stream\(fn\)"):
        pipeline.call(fn)
    with pytest.raises(BadInputError, match=r"use Pipeline.stream\(fn\)"):
        clock.run(pipeline.execute(fn))
    assert pipeline.policies[1].running == 0


@pytest.mark.parametrize("fn", [sync, asynchronous, 7, None])
def test_only_generator_functions_can_be_streamed(pipeline, fn):
    with pytest.raises(BadInputError, match="fn must be a generator function or an async one"):
        pipeline.stream(fn)


class Source:
    """Fails so often before its first item, and at a later one if told to."""

    def __init__(self, failures: int, last: int = 3, breaks_at: int | None = None) -> None:
        self.failures, self.last, self.breaks_at = failures, last, breaks_at
        self.starts, self.closed = 0, 0

    def sync(self):
        self.starts += 1
        if self.starts <= self.failures:
            raise ConnectionError("no beginning")
        try:
            for number in range(self.last):
                if number == self.breaks_at:
                    raise ConnectionError("broke off")
                yield number
        finally:
            self.closed += 1

    async def asynchronous(self):
        for item in self.sync():
            yield item


def drain(clock, pipeline: Pipeline, colour: str, source: Source, most: int = 99) -> list[int]:
    got: list[int] = []
    if colour == "sync":
        stream = pipeline.stream(source.sync)()
        for item in stream:
            got.append(item)
            if len(got) == most:
                stream.close()
        return got

    async def main() -> list[int]:
        stream = pipeline.stream(source.asynchronous)()
        async for item in stream:
            got.append(item)
            if len(got) == most:
                await stream.aclose()
                break
        return got

    return clock.run(main())


both = pytest.mark.parametrize("colour", ["sync", "async"])


@both
def test_the_beginning_is_protected(clock, pipeline, colour):
    source = Source(failures=2)
    assert drain(clock, pipeline, colour, source) == [0, 1, 2]
    assert source.starts == 3
    assert clock.now() == 1_002.0


@both
def test_what_comes_after_the_first_item_is_never_replayed(clock, pipeline, colour):
    source, got = Source(0, breaks_at=2), []
    with pytest.raises(ConnectionError, match="broke off"):
        got.extend(drain(clock, pipeline, colour, source))
    assert source.starts == 1


@both
def test_a_stream_without_items_is_one(clock, pipeline, colour):
    assert drain(clock, pipeline, colour, Source(0, last=0)) == []


@both
def test_a_beginning_that_keeps_failing_fails_with_its_own_error(clock, pipeline, colour):
    source = Source(failures=9)
    with pytest.raises(ConnectionError, match="no beginning"):
        drain(clock, pipeline, colour, source)
    assert source.starts == 3


def test_one_who_leaves_early_closes_the_source(clock, pipeline):
    source = Source(0)
    assert drain(clock, pipeline, "sync", source, most=1) == [0]
    assert source.closed == 1


def test_the_slot_is_free_as_soon_as_the_first_item_is_there(clock, pipeline):
    stream = pipeline.stream(Source(0).sync)()
    assert next(stream) == 0
    assert pipeline.policies[1].running == 0
    stream.close()


def test_a_stream_keeps_its_name(pipeline):
    assert pipeline.stream(items).__name__ == "items"
    assert pipeline.stream(async_items).__name__ == "async_items"
