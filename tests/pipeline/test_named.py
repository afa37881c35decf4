"""A pipeline by its name: the same object while its settings change."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from holdfast import Bulkhead, Pipeline, Retry, Timeout
from holdfast.errors import BadInputError, RejectedError
from holdfast.pipeline.named import NamedPipeline
from holdfast.policies.backoff import Backoff
from holdfast.testing import FakeClock


def attempts(number):
    return Pipeline(Retry(max_attempts=number, backoff=Backoff.none()), name="x")


class Flaky:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        raise ConnectionError

    async def later(self):
        self()

    def counted(self, call):
        before = self.calls
        with pytest.raises(ConnectionError):
            call()
        return self.calls - before


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


def test_a_decorated_function_follows(clock):
    handle, flaky = NamedPipeline("x", attempts(2)), Flaky()

    @handle
    def fetch():
        flaky()

    assert flaky.counted(fetch) == 2
    handle.switch(attempts(5))
    assert flaky.counted(fetch) == 5


def test_a_decorated_async_function_follows_and_is_one(clock):
    handle, flaky = NamedPipeline("x", attempts(2)), Flaky()

    @handle
    async def fetch():
        """Fetch."""
        flaky()

    assert inspect.iscoroutinefunction(fetch)
    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch.")
    assert flaky.counted(lambda: clock.run(fetch())) == 2
    handle.switch(attempts(4))
    assert flaky.counted(lambda: clock.run(fetch())) == 4


def test_all_four_ways_of_calling_follow(clock):
    handle, flaky = NamedPipeline("x", attempts(2)), Flaky()
    for number in (2, 3):
        handle.switch(attempts(number))
        assert flaky.counted(lambda: handle.call(flaky)) == number
        assert flaky.counted(lambda: clock.run(handle.execute(flaky.later))) == number
        assert handle.call_outcome(flaky).attempts == number
        assert clock.run(handle.outcome(flaky.later)).attempts == number


def test_a_stream_follows(clock):
    handle = NamedPipeline("x", attempts(2))
    calls = 0

    @handle.stream
    def items(wanted):
        nonlocal calls
        calls += 1
        if calls < wanted:
            raise ConnectionError
        yield calls

    assert list(items(2)) == [2]
    handle.switch(attempts(5))
    calls = 0
    assert list(items(5)) == [5]


async def test_an_async_stream_follows():
    handle = NamedPipeline("x", attempts(1))
    handle.switch(attempts(3))
    calls = 0

    @handle.stream
    async def items():
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionError
        yield calls

    assert [item async for item in items()] == [3]


def test_a_generator_function_is_refused_as_by_any_pipeline():
    def items():
        yield 1

    with pytest.raises(BadInputError, match="stream"):
        NamedPipeline("x", attempts(2))(items)


def test_a_call_in_flight_goes_on_with_what_it_started_with(clock):
    handle = NamedPipeline("x", Pipeline(Timeout(10)))

    async def main():
        call = asyncio.ensure_future(handle.execute(asyncio.sleep, 5, "done"))
        await asyncio.sleep(1)
        handle.switch(Pipeline(Timeout(0.1)))
        assert handle.in_flight == 1
        with pytest.raises(TimeoutError):
            await handle.execute(asyncio.sleep, 5)
        assert await call == "done"
        assert handle.in_flight == 0

    clock.run(main())


def test_closing_waits_for_calls_that_began_under_earlier_settings(clock):
    handle = NamedPipeline("x", Pipeline(Timeout(100)))

    async def main():
        calls = []
        for _ in range(3):
            calls.append(asyncio.ensure_future(handle.execute(asyncio.sleep, 5, "done")))
            await asyncio.sleep(0.1)
            handle.switch(Pipeline(Timeout(100)))
        closed = await handle.aclose(10)
        assert (closed.finished, closed.cancelled, closed.left) == (3, 0, 0)
        assert await asyncio.gather(*calls) == ["done"] * 3

    clock.run(main())


def test_closing_cancels_what_outlasts_its_limit_whatever_its_settings(clock):
    handle = NamedPipeline("x", Pipeline(Timeout(100)))

    async def main():
        early = asyncio.ensure_future(handle.execute(asyncio.sleep, 50))
        await asyncio.sleep(0.1)
        handle.switch(Pipeline(Timeout(100)))
        late = asyncio.ensure_future(handle.execute(asyncio.sleep, 50))
        await asyncio.sleep(0.1)
        closed = await handle.aclose(1)
        assert closed.cancelled == 2
        await asyncio.wait([early, late])
        assert early.cancelled()
        assert late.cancelled()

    clock.run(main())


def test_closed_stays_closed_whatever_the_settings_become(clock):
    handle = NamedPipeline("x", attempts(1))
    handle.close(0)
    handle.switch(attempts(2))
    with pytest.raises(RejectedError, match="closed"):
        handle.call(len, "x")


def test_switching_to_the_same_pipeline_changes_nothing():
    pipeline = attempts(2)
    handle = NamedPipeline("x", pipeline)
    handle.switch(pipeline)
    assert handle.current is pipeline
    assert handle.in_flight == 0


def test_it_tells_what_is_in_force():
    handle = NamedPipeline("x", Pipeline(Bulkhead(3), name="x"))
    assert handle.policies == handle.current.policies
    assert handle.explain() == handle.current.explain()
    assert handle.snapshot()["in_flight"] == 0
    assert "Bulkhead" in repr(handle)


def test_closed_in_a_loop_it_stays_closed_too(clock):
    handle = NamedPipeline("x", attempts(1))
    clock.run(handle.aclose(0))
    handle.switch(attempts(2))
    with pytest.raises(RejectedError, match="closed"):
        handle.call(lambda: 1)


def test_a_closing_in_the_middle_of_a_switch_leaves_no_pipeline_open():
    closing = threading.Thread(target=lambda: handle.close(0))

    class Watched(NamedPipeline):
        """Is closed by another thread just after a switch has asked whether it is closed."""

        @property
        def _closed(self):
            told = NamedPipeline._closed.__get__(self)
            if not told and closing.ident is None and hasattr(self, "_lock"):
                closing.start()
                closing.join(0.2)
            return told

        @_closed.setter
        def _closed(self, value):
            NamedPipeline._closed.__set__(self, value)

    handle = Watched("x", Pipeline())
    handle.switch(Pipeline())
    closing.join()

    with pytest.raises(RejectedError):
        handle.call(int)
