"""A named pipeline inside another one: the settings in force at each call."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Bulkhead, Pipeline, RejectedError, Retry, Timeout
from holdfast.errors import BadInputError
from holdfast.pipeline.registry import Registry
from holdfast.testing import FakeClock


def retrying(number):
    return {
        "pipelines": {"a": {"policies": [{"type": "retry", "max_attempts": number, "backoff": 0}]}}
    }


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


class Failing:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        raise ConnectionError


def test_it_follows_every_reload(clock):
    registry = Registry()
    registry.load(retrying(2))
    outer = Pipeline(Bulkhead(3), registry.get("a"), name="outer")
    for number in (2, 4, 1):
        registry.load(retrying(number))
        failing = Failing()
        assert outer.call_outcome(failing).attempts == number
        assert failing.calls == number


async def test_it_works_for_async_functions_and_within_races():
    registry = Registry()
    registry.load(retrying(2))
    outer = Pipeline(Timeout(5), registry.get("a"))

    async def fails():
        raise ConnectionError

    outcome = await outer.outcome(fails)
    assert outcome.attempts == 2


async def test_its_calls_are_its_own_too_and_closing_waits_for_them():
    registry = Registry()
    registry.load(retrying(2))
    handle = registry.get("a")
    outer = Pipeline(Bulkhead(3), handle)
    task = asyncio.create_task(outer.execute(asyncio.sleep, 0.05))
    await asyncio.sleep(0.01)
    assert handle.in_flight == 1
    assert outer.in_flight == 1
    closed = await handle.aclose(5)
    assert (closed.finished, closed.cancelled) == (1, 0)
    await task
    with pytest.raises(RejectedError, match="'a' is closed"):
        await outer.execute(asyncio.sleep, 0)


def test_it_is_explained_with_its_worst_case_and_state(clock):
    registry = Registry()
    registry.load(retrying(4))
    outer = Pipeline(Bulkhead(3), registry.get("a"), name="outer")
    told = outer.explain()
    assert "the pipeline 'a', now: " in told
    assert "4 calls" in told
    assert outer.snapshot()["policies"]["2. Followed"]["name"] == "a"


def nested(handle):
    inner = Registry().add(Pipeline(handle, name="inner"))
    return Pipeline(inner, handle)


STACKS = pytest.mark.parametrize(
    "stack",
    [
        lambda handle: Pipeline(handle, handle),
        lambda handle: Pipeline(handle, Retry(max_attempts=2), handle),
        lambda handle: Pipeline(Timeout(9), handle, Pipeline(handle)),
        nested,
    ],
)


def retries(number):
    registry = Registry()
    registry.load(retrying(number))
    return registry.get("a")


@STACKS
def test_it_may_stand_in_one_pipeline_more_than_once(clock, stack):
    handle = retries(3)
    pipeline = stack(handle)
    failing = Failing()

    assert pipeline.call(lambda: handle.in_flight) == 2
    assert pipeline.call_outcome(failing).attempts == 3
    assert pipeline.in_flight == handle.in_flight == 0


@STACKS
async def test_it_may_stand_in_one_pipeline_more_than_once_in_async_code(stack):
    handle = retries(3)
    pipeline = stack(handle)

    async def fine():
        return handle.in_flight

    assert await pipeline.execute(fine) == 2
    assert pipeline.in_flight == handle.in_flight == 0


def test_retries_in_two_of_them_fold_in_the_worst_case_as_in_calls(clock):
    pipeline = Pipeline(retries(3), retries(3))
    failing = Failing()

    pipeline.call_outcome(failing)

    assert failing.calls == 3
    assert "worst case: no limit, 3 calls" in pipeline.explain()


def test_pipelines_put_together_from_its_policies_follow_it_too(clock):
    registry = Registry()
    registry.load(retrying(2))
    again = Pipeline(*Pipeline(registry.get("a")).policies)
    registry.load(retrying(4))
    assert again.call_outcome(Failing()).attempts == 4


def test_state_is_found_twice_however_deep_it_lies(clock):
    registry, bulkhead = Registry(), Bulkhead(1)
    inner = registry.add(Pipeline(bulkhead, name="b"))
    outer = registry.add(Pipeline(inner, name="c"))
    with pytest.raises(BadInputError, match="same object twice"):
        Pipeline(bulkhead, outer)


def test_an_order_that_makes_no_sense_with_it_is_refused(clock):
    registry, bulkhead = Registry(), Bulkhead(1)
    inner = registry.add(Pipeline(bulkhead, name="b"))
    with pytest.raises(BadInputError, match="same object twice"):
        Pipeline(bulkhead, inner)


@pytest.mark.parametrize("limit", [float("nan"), -1, "5"])
def test_a_limit_that_is_no_number_of_seconds_closes_nothing(limit):
    registry = Registry()
    registry.load(retrying(1))
    handle = registry.get("a")
    with pytest.raises(BadInputError, match="limit"):
        handle.close(limit)
    assert handle.call(int) == 0
