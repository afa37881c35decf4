"""Gate 16: extra calls share a budget per dependency; without it only they are suppressed."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Backoff, Pipeline, Retry, RetryBudget
from holdfast.events import RetrySuppressed
from holdfast.outcome import report_of
from tests.gates.crowd import in_tasks, in_threads


class Work:
    """Fails always."""

    def __init__(self):
        self.calls = 0

    def sync(self):
        self.calls += 1
        raise ConnectionError("down")

    async def later(self):
        await asyncio.sleep(0)
        self.sync()


def two_clients(**settings):
    """Two retries towards one dependency."""
    budget = RetryBudget(**{"ratio": 0.2, "floor": 3, "seconds": 10.0} | settings)
    return [Pipeline(Retry(9, Backoff.none(), budget=budget)) for _ in range(2)]


def test_retries_of_all_clients_draw_from_one_budget(clock, path):
    one, other = two_clients()
    work = Work()

    for pipeline in (one, other):
        with pytest.raises(ConnectionError):
            pipeline.call(work.sync)

    assert work.calls == 2 + 3


def test_the_call_itself_ends_as_it_would_have(clock, path):
    one, other = two_clients(floor=0, ratio=0)
    work = Work()

    with pytest.raises(ConnectionError, match="down") as failed:
        one.call(work.sync)
    outcome = other.call_outcome(work.sync)

    assert work.calls == 2
    assert isinstance(outcome.error, ConnectionError)
    assert "budget" in " ".join(report_of(failed.value).steps)
    assert "budget" in " ".join(outcome.steps)


def test_good_calls_go_through_an_empty_budget(clock, path):
    one, _ = two_clients(floor=0, ratio=0)

    assert one.call(lambda: "well") == "well"


def test_the_suppression_is_an_event(clock, heard):
    one, _ = two_clients(floor=1)

    with pytest.raises(ConnectionError):
        one.call(Work().sync)

    told = [event for event in heard if isinstance(event, RetrySuppressed)]
    assert [(event.attempt, event.error) for event in told] == [(2, "ConnectionError: down")]


def test_a_storm_makes_at_most_its_share_of_extra_calls(clock, path):
    one, other = two_clients(ratio=0.2, floor=3)
    work = Work()

    async def main():
        await asyncio.gather(
            in_tasks(100, lambda: one.execute(work.later)),
            in_tasks(100, lambda: other.execute(work.later)),
        )

    clock.run(main())

    assert 200 + 30 <= work.calls <= 200 + 40


def test_the_budget_comes_back_with_time(clock, path):
    one, _ = two_clients(floor=3, ratio=0, seconds=10.0)
    work = Work()

    for _ in range(2):
        with pytest.raises(ConnectionError):
            one.call(work.sync)
        clock.advance(20)

    assert work.calls == 2 + 2 * 3


def test_an_attempt_that_is_the_last_spends_nothing(clock, path):
    budget = RetryBudget(ratio=0, floor=3)
    before = budget.snapshot()["balance"]

    with pytest.raises(ConnectionError):
        Retry(1, Backoff.none(), budget=budget).call(Work().sync)
    with pytest.raises(ValueError, match="no"):
        Retry(5, Backoff.none(), budget=budget).call(int, "no")

    assert budget.snapshot()["balance"] == before


def test_a_folded_retry_spends_nothing(clock, path):
    budget = RetryBudget(ratio=0, floor=3)
    inner = Pipeline(Retry(9, Backoff.none(), budget=budget))

    with pytest.raises(ConnectionError):
        Retry(2, Backoff.none()).call(inner.call, Work().sync)

    assert budget.snapshot()["balance"] == 3


def test_8_threads_spend_no_more_than_there_is(clock, path):
    budget = RetryBudget(ratio=0, floor=50, seconds=1000.0)
    extra = []

    def client():
        retry = Retry(3, Backoff.none(), budget=budget, on_retry=extra.append)
        for _ in range(50):
            assert not retry.call_outcome(Work().sync).ok

    assert in_threads(*[client] * 8) == [None] * 8
    assert len(extra) == 50
