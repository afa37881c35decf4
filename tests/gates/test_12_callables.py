"""Gate 12: whatever can be called gets its attempts, whatever it looks like."""

from __future__ import annotations

import asyncio
import functools
import inspect
from unittest import mock

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    BadInputError,
    Bulkhead,
    Cache,
    CircuitBreaker,
    Hedge,
    Pipeline,
    RateLimitedError,
    RateLimiter,
    Registry,
    Retry,
    RetryBudget,
    Timeout,
)


class Job:
    """Fails twice, then succeeds; callable in many shapes, some async and some not."""

    def __init__(self):
        self.calls = 0

    def work(self, *_, **__):
        self.calls += 1
        if self.calls < 3:
            raise ConnectionError(f"call {self.calls}")
        return "done"

    async def later(self, *_, **__):
        await asyncio.sleep(0)
        return self.work()

    @functools.cached_property
    def static(self):
        job = self

        class Static:
            @staticmethod
            async def static():
                return await job.later()

            @classmethod
            async def of_class(cls):
                return await job.later()

        return Static


class Callable_:  # noqa: N801  # it stands for any object of the user's
    """Async by its `__call__`."""

    def __init__(self, job):
        self.job = job

    async def __call__(self, *args):
        return await self.job.later(*args)


class Plain(Callable_):
    """Sync by its `__call__`."""

    def __call__(self, *args):
        return self.job.work(*args)


class Awaitable_:  # noqa: N801
    """Neither a coroutine nor a future, but can be awaited."""

    def __init__(self, job):
        self.job = job

    def __await__(self):
        return self.job.later().__await__()


def wrapped(job):
    @functools.wraps(job.later)
    def wrapper(*args):
        return job.later(*args)

    return wrapper


def future(job):
    def start():
        return asyncio.ensure_future(job.later())

    return start


ASYNC = {
    "async callable object": Callable_,
    "partial": lambda job: functools.partial(job.later, 1),
    "partial of partial": lambda job: functools.partial(functools.partial(job.later, 1), 2),
    "partial of an object": lambda job: functools.partial(Callable_(job), 1),
    "bound method": lambda job: job.later,
    "static method": lambda job: job.static.static,
    "class method": lambda job: job.static.of_class,
    "lambda that returns a coroutine": lambda job: lambda: job.later(),  # noqa: PLW0108
    "sync wrapper of an async function": wrapped,
    "function that returns a future": future,
    "function that returns an awaitable": lambda job: lambda: Awaitable_(job),
    "async mock": lambda job: mock.AsyncMock(side_effect=job.work),
}
NOT_COROUTINES = ["function that returns a future", "function that returns an awaitable"]
SYNC = {
    "callable object": Plain,
    "bound method": lambda job: job.work,
    "partial": lambda job: functools.partial(job.work, 1),
    "lambda": lambda job: lambda: job.work(),  # noqa: PLW0108
    "mock": lambda job: mock.Mock(side_effect=job.work),
}


def bare():
    return Pipeline(Retry(backoff=Backoff.none()))


def stack():
    return Pipeline(
        Timeout(60),
        Retry(backoff=Backoff.none()),
        CircuitBreaker(failure_threshold=9),
        Bulkhead(1),
        Timeout(9),
    )


wraps = pytest.mark.parametrize("wrap", [bare, stack])


@wraps
@pytest.mark.parametrize("shape", ASYNC.values(), ids=ASYNC)
@pytest.mark.parametrize("way", ["execute", "outcome"])
def test_every_async_shape_gets_its_attempts(clock, path, wrap, shape, way):
    pipeline, job = wrap(), Job()

    async def main():
        fn = shape(job)
        answer = await getattr(pipeline, way)(fn)
        return answer.unwrap() if way == "outcome" else answer

    assert clock.run(main()) == "done"
    assert job.calls == 3
    assert pipeline.in_flight == 0


@wraps
@pytest.mark.parametrize("shape", sorted(ASYNC.keys() - set(NOT_COROUTINES)))
def test_every_async_shape_gets_its_attempts_when_decorated(clock, path, wrap, shape):
    pipeline, job = wrap(), Job()

    async def main():
        return await pipeline(ASYNC[shape](job))()

    assert clock.run(main()) == "done"
    assert job.calls == 3
    assert pipeline.in_flight == 0


@wraps
@pytest.mark.parametrize("shape", SYNC.values(), ids=SYNC)
@pytest.mark.parametrize("way", ["call", "call_outcome", "decorated", "execute"])
def test_every_sync_shape_gets_its_attempts(clock, path, wrap, shape, way):
    pipeline, job = wrap(), Job()
    fn = shape(job)

    async def main():
        return await pipeline.execute(fn)

    if way == "execute":
        result = clock.run(main())
    elif way == "decorated":
        result = pipeline(fn)()
    else:
        answer = getattr(pipeline, way)(fn)
        result = answer.unwrap() if way == "call_outcome" else answer

    assert result == "done"
    assert job.calls == 3


@wraps
@pytest.mark.parametrize("shape", NOT_COROUTINES)
def test_a_decorated_function_never_hands_out_an_awaitable_unprotected(clock, wrap, shape):
    """Neither a coroutine nor a plain result: it is protected, or refused, but never bare."""
    pipeline, job = wrap(), Job()

    async def main():
        try:
            answer = pipeline(ASYNC[shape](job))()
            return await answer
        except BadInputError as refused:
            return refused

    answer = clock.run(main())

    assert isinstance(answer, BadInputError) or (answer, job.calls) == ("done", 3)


@wraps
def test_an_async_function_given_to_the_sync_door_is_refused_and_not_left_hanging(path, wrap):
    job, pipeline = Job(), wrap()

    for fn in (job.later, lambda: job.later(), Callable_(job)):  # noqa: PLW0108
        with pytest.raises(BadInputError, match="execute"):
            pipeline.call(fn)
        with pytest.raises(BadInputError, match="outcome"):
            pipeline.call_outcome(fn)

    assert job.calls == 0
    assert pipeline.in_flight == 0


def test_a_decorated_function_looks_like_itself():
    @Retry()
    async def render(workflow: str, *, seed: int = 7) -> bytes:
        """Make a picture."""

    @Retry()
    def upload(path: str) -> None:
        """Send a file."""

    assert asyncio.iscoroutinefunction(render)
    assert not asyncio.iscoroutinefunction(upload)
    assert (render.__name__, render.__doc__) == ("render", "Make a picture.")
    assert list(inspect.signature(render).parameters) == ["workflow", "seed"]
    assert list(inspect.signature(upload).parameters) == ["path"]


def test_a_decorated_method_gets_its_self():
    class Client:
        def __init__(self):
            self.calls = 0

        @Retry(backoff=Backoff.none())
        def fetch(self, what):
            self.calls += 1
            if self.calls < 2:
                raise ConnectionError("first")
            return self, what

        @Retry(backoff=Backoff.none())
        async def fetch_later(self, what):
            self.calls += 1
            if self.calls < 4:
                raise ConnectionError("first")
            return self, what

    client = Client()

    assert client.fetch("x") == (client, "x")
    assert asyncio.run(client.fetch_later("y")) == (client, "y")


def test_arguments_arrive_as_they_were_given(clock, path):
    def echo(*args, **kwargs):
        return args, kwargs

    for named in ({"fn": 1, "self": 2}, {"args": 3, "kwargs": 4, "name": 5}):
        assert stack()(echo)(1, 2, **named) == ((1, 2), named)

    async def main():
        return await stack().execute(echo, 1, key="value")

    assert clock.run(main()) == ((1,), {"key": "value"})


@pytest.mark.parametrize("value", [None, 7, "text", [], object])
def test_what_cannot_be_called_is_refused(value):
    if callable(value):
        assert Retry()(value)() is not None
    else:
        with pytest.raises(BadInputError):
            Retry()(value)


# A function that looks sync and returns an awaitable is found out at its first call. ------------


def later(value=1):
    async def work():
        await asyncio.sleep(0)
        return value

    return lambda: work()  # noqa: PLW0108


@pytest.mark.parametrize("inside", [Retry(), Hedge(after=5)], ids=["hot path", "flows"])
async def test_a_function_that_turns_out_async_takes_one_turn_of_the_rate_a_call(inside):
    limiter = RateLimiter(10, per=1000, burst=10)
    fn = Pipeline(limiter, inside)(later())

    assert [await fn() for _ in range(10)] == [1] * 10

    assert int(limiter.available) == 0
    with pytest.raises(RateLimitedError):
        await fn()


@pytest.mark.parametrize("outside", [Retry(), Hedge(after=5)], ids=["hot path", "flows"])
async def test_so_it_does_inside_a_race_and_a_retry(outside):
    limiter = RateLimiter(10, per=1000, burst=10)
    fn = Pipeline(outside, limiter)(later())

    assert [await fn() for _ in range(10)] == [1] * 10


async def test_a_function_that_turns_out_async_is_one_miss_and_then_hits():
    cache, made = Cache(60), []
    work = later()
    fn = cache(lambda: made.append(1) or work())

    assert [await fn() for _ in range(3)] == [1, 1, 1]

    told = cache.snapshot()
    assert (told["misses"], told["hits"], len(made)) == (1, 2, 1)


async def test_a_function_that_turns_out_async_counts_once_with_hedge_budget_and_throttle():
    budget, throttle = RetryBudget(0.5, floor=0), AdaptiveThrottle(minimum=0)
    hedge = Hedge(after=5, budget=budget)
    fn = Pipeline(hedge, throttle)(later())

    for _ in range(4):
        await fn()

    assert hedge.snapshot()["calls"] == 4
    assert budget.snapshot()["balance"] == pytest.approx(2.0)
    assert throttle.probability == 0.0


async def test_what_it_returned_first_is_used_and_nothing_is_called_twice():
    calls = []
    work = later()
    fn = Pipeline(Hedge(after=5), Timeout(9))(lambda: calls.append(1) or work())

    assert [await fn() for _ in range(3)] == [1, 1, 1]

    assert len(calls) == 3


@pytest.mark.parametrize("named", [True, False])
async def test_a_static_method_is_protected_and_stays_one(named):
    pipeline = stack()
    if named:
        pipeline = Registry().add(pipeline)

    class Client:
        @pipeline
        @staticmethod
        def add(one, two):
            return one + two

        @pipeline
        @staticmethod
        async def add_later(one, two):
            return one + two

    assert Client().add(1, 2) == Client.add(1, 2) == 3
    assert await Client().add_later(1, 2) == 3
