"""Gate 11: generators are refused, or protected up to their first item; never bare or replayed."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import pytest

from holdfast import (
    Backoff,
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)

POLICIES = {
    "retry": lambda: Retry(backoff=Backoff.none()),
    "breaker": CircuitBreaker,
    "timeout": lambda: Timeout(5),
    "bulkhead": lambda: Bulkhead(2),
    "fallback": lambda: Fallback("instead", on=ConnectionError),
    "stack": lambda: Pipeline(
        Timeout(60), Retry(backoff=Backoff.none()), CircuitBreaker(), Bulkhead(2), Timeout(5)
    ),
    "nothing": Pipeline,
}

policies = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)


def items():
    yield 1


async def items_later():
    yield 1


class Source:
    """Both colours as methods, and as an object that is called."""

    def __call__(self):
        yield 1

    def items(self):
        yield 1

    async def items_later(self):
        yield 1


class LaterSource:
    """An async generator by being called."""

    async def __call__(self):
        yield 1


SHAPES = [
    items,
    items_later,
    Source(),
    LaterSource(),
    Source().items,
    Source().items_later,
    functools.partial(items),
    functools.partial(functools.partial(items_later)),
]


@policies
@pytest.mark.parametrize("shape", SHAPES, ids=[f"shape {n}" for n in range(len(SHAPES))])
def test_decorating_a_generator_function_is_refused_and_says_what_to_do(make, shape):
    with pytest.raises(BadInputError, match="generator") as refused:
        make()(shape)

    assert "stream" in str(refused.value)


@policies
@pytest.mark.parametrize("shape", SHAPES, ids=[f"shape {n}" for n in range(len(SHAPES))])
def test_calling_a_generator_function_is_refused_in_either_colour(clock, path, make, shape):
    policy = make()

    with pytest.raises(BadInputError, match="generator"):
        policy.call(shape)
    with pytest.raises(BadInputError, match="generator"):
        clock.run(run(policy.execute, shape))
    assert isinstance(policy.call_outcome(shape).error, BadInputError)
    assert isinstance(clock.run(run(policy.outcome, shape)).error, BadInputError)


async def run(way, shape):
    return await way(shape)


@policies
def test_a_function_that_hands_out_a_generator_is_refused_when_it_does(clock, path, make):
    """Nothing about a lambda tells what it returns; so its first result must."""
    policy = make()

    for shape in (lambda: items(), lambda: items_later()):  # noqa: PLW0108
        with pytest.raises(BadInputError, match="generator"):
            policy(shape)()
        with pytest.raises(BadInputError, match="generator"):
            clock.run(run(policy.execute, shape))


@policies
def test_a_coroutine_that_hands_out_a_generator_is_refused_when_it_does(clock, path, make):
    async def later():
        return items()

    async def later_still():
        return items_later()

    for fn in (later, later_still):
        with pytest.raises(BadInputError, match="generator"):
            clock.run(run(make().execute, fn))


def test_what_was_refused_holds_nothing(clock, path):
    pipeline = POLICIES["stack"]()

    for _ in range(5):
        pipeline.call_outcome(lambda: items())  # noqa: PLW0108
        clock.run(run(pipeline.outcome, lambda: items_later()))  # noqa: PLW0108

    assert pipeline.policies[3].running == 0
    assert pipeline.in_flight == 0


class Stream:
    """Three items; the first tries break before item `breaks_at`, counted from 1."""

    def __init__(self, breaks_at, tries=1):
        self.breaks_at = breaks_at
        self.bad = tries
        self.tries = self.closed = 0

    def items(self):
        self.tries += 1
        try:
            for item in (1, 2, 3):
                if item == self.breaks_at and self.tries <= self.bad:
                    raise ConnectionError("broken off")
                yield item
        finally:
            self.closed += 1

    async def items_later(self):
        self.tries += 1
        try:
            for item in (1, 2, 3):
                await asyncio.sleep(1)
                if item == self.breaks_at and self.tries <= self.bad:
                    raise ConnectionError("broken off")
                yield item
        finally:
            self.closed += 1


class Reader:
    """Notes what it got, also of a stream that broke."""

    def __init__(self, clock):
        self.clock = clock
        self.got = []
        self.error = None

    def read(self, stream):
        if hasattr(stream, "__anext__"):
            self.clock.run(self.read_later(stream))
            return
        try:
            for item in stream:
                self.got.append(item)
        except ConnectionError as error:
            self.error = error

    async def read_later(self, stream):
        try:
            async for item in stream:
                self.got.append(item)
        except ConnectionError as error:
            self.error = error


colours = pytest.mark.parametrize("colour", ["items", "items_later"])


@colours
def test_a_stream_that_breaks_before_its_first_item_is_retried(clock, path, colour):
    source, reader = Stream(breaks_at=1, tries=2), Reader(clock)

    reader.read(POLICIES["stack"]().stream(getattr(source, colour))())

    assert (reader.got, reader.error) == ([1, 2, 3], None)
    assert source.tries == source.closed == 3


@colours
@pytest.mark.parametrize("breaks_at", [2, 3])
def test_a_stream_that_breaks_later_is_never_replayed(clock, path, colour, breaks_at):
    source, reader = Stream(breaks_at=breaks_at), Reader(clock)

    reader.read(POLICIES["stack"]().stream(getattr(source, colour))())

    assert reader.got == list(range(1, breaks_at))
    assert isinstance(reader.error, ConnectionError)
    assert source.tries == source.closed == 1


@colours
def test_a_stream_left_early_is_closed(clock, path, colour):
    source = Stream(breaks_at=99)
    stream = POLICIES["stack"]().stream(getattr(source, colour))()

    async def leave():
        assert await anext(stream) == 1
        await stream.aclose()

    if colour == "items":
        assert next(stream) == 1
        stream.close()
    else:
        clock.run(leave())

    assert source.closed == 1


@colours
def test_an_empty_stream_is_empty(clock, path, colour):
    def nothing():
        return
        yield

    async def nothing_later():
        return
        yield

    reader = Reader(clock)
    reader.read(Pipeline(Retry()).stream(nothing if colour == "items" else nothing_later)())

    assert (reader.got, reader.error) == ([], None)


@pytest.mark.parametrize("fn", [len, lambda: 1, asyncio.sleep, 7])
def test_what_is_no_generator_function_is_no_stream(fn):
    with pytest.raises(BadInputError, match="generator"):
        Pipeline().stream(fn)


@contextlib.contextmanager
def block():
    yield 1


@contextlib.asynccontextmanager
async def block_later():
    yield 1


class Blocks:
    @contextlib.contextmanager
    def block(self):
        yield 1


@policies
@pytest.mark.parametrize(
    "fn",
    [block, block_later, Blocks().block, functools.partial(block)],
    ids=["sync", "async", "method", "partial"],
)
def test_what_makes_a_context_manager_is_refused_because_its_block_would_be_bare(make, fn):
    with pytest.raises(BadInputError, match="context manager, whose block no policy would protect"):
        make()(fn)


def test_what_looks_like_it_and_is_not_is_protected():
    @functools.wraps(block)
    def entered():
        with block() as value:
            return value

    assert Retry()(entered)() == 1
