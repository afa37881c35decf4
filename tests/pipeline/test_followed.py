"""A named pipeline inside another one: the settings in force at each call."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Bulkhead, Pipeline, RejectedError, Timeout
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
