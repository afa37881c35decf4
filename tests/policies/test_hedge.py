"""Hedges: when a second call starts, what it costs, and what is learned."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, BulkheadFullError, CircuitBreakerOpenError
from holdfast.events import HedgeEnded, HedgeStarted, HedgeSuppressed, listen
from holdfast.outcome import report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.hedge import KEPT_SECONDS, LEAST_SECONDS, Hedge, quantile_of
from holdfast.policies.idempotency import Idempotency, Lookup
from holdfast.policies.policy import Bound
from holdfast.policies.retry import Retry
from holdfast.policies.scope import current_scope
from holdfast.testing import FakeClock

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


class Service:
    """Takes the given seconds, call by call; raises where an error stands beside them."""

    def __init__(self, *script):
        self.script = list(script)
        self.calls = 0

    async def __call__(self):
        step = self.script[min(self.calls, len(self.script) - 1)]
        number = self.calls
        self.calls += 1
        seconds, error = step if isinstance(step, tuple) else (step, None)
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return number


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"after": -1}, "after must be at least 0"),
        ({"after": NAN}, "after must be"),
        ({"after": INF}, "after must be"),
        ({"after": True}, "after must be"),
        ({"after": "95"}, "after must be seconds or a quantile such as 'p95'.*got '95'"),
        ({"after": "p0"}, "above p0 and below p100"),
        ({"after": "p100"}, "above p0 and below p100"),
        ({"after": "pxx"}, "got 'pxx'"),
        ({"max_extra": 0}, "max_extra must be a whole number of at least 1, got 0"),
        ({"max_extra": 1.5}, "max_extra"),
        ({"budget": 3}, "budget must be a RetryBudget"),
        ({"on_discard": 3}, "on_discard must be a function"),
        ({"on": KeyboardInterrupt}, "on must name subclasses of Exception"),
        ({"initial": 0}, "initial must be above 0"),
        ({"after": 1.0, "initial": 2.0}, "initial needs a quantile for after"),
        ({"after": 1.0, "minimum_calls": 5}, "minimum_calls needs a quantile for after"),
        ({"minimum_calls": 0}, "minimum_calls must be"),
        ({"window": 0}, "window must be above 0"),
        ({"name": ""}, "name must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Hedge(**chosen)


@pytest.mark.parametrize(
    "declared",
    [Idempotency(safe=False), Idempotency.unsafe(reconcile=lambda _: Lookup.ABSENT)],
)
def test_a_call_that_must_not_be_done_twice_is_never_hedged(declared):
    with pytest.raises(BadInputError, match="declared not idempotent"):
        Hedge(after=1, idempotency=declared)


@pytest.mark.parametrize(("text", "share"), [("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999)])
def test_a_quantile_is_written_as_it_is_spoken(text, share):
    assert quantile_of(text) == pytest.approx(share)


# -- when a hedge starts ---------------------------------------------------------------------


def test_a_call_that_is_quick_enough_stays_alone(clock, heard):
    service = Service(0.9)
    assert clock.run(Hedge(after=1).execute(service)) == 0
    assert service.calls == 1
    assert not [e for e in heard if isinstance(e, HedgeStarted | HedgeEnded)]


def test_a_second_call_beside_a_slow_one_wins_and_says_so(clock, heard):
    service = Service(30, 2)
    outcome = clock.run(Hedge(after=1, name="h").outcome(service))
    assert (outcome.value, outcome.attempts, outcome.elapsed) == (1, 2, pytest.approx(3))
    assert [e for e in heard if isinstance(e, HedgeStarted | HedgeEnded)] == [
        HedgeStarted("h", 1001.0, 1, 1.0),
        HedgeEnded("h", 1003.0, 1, 2),
    ]
    assert outcome.steps == (
        "h: call 1 started beside the first at 1 s",
        "h: call 1 of 2 came first",
    )


def test_each_further_call_waits_its_own_time(clock, heard):
    service = Service(30)
    clock.run(Hedge(after=2, max_extra=3).execute(service))
    assert service.calls == 4
    assert [e.after for e in heard if isinstance(e, HedgeStarted)] == pytest.approx([2, 4, 6])


def test_a_wait_of_nothing_is_a_plain_race(clock):
    service = Service(5, 1, 3)
    assert clock.run(Hedge(after=0, max_extra=2).execute(service)) == 1
    assert clock.now() == pytest.approx(1001)


def test_a_failure_starts_no_other_call(clock):
    service = Service((0.5, ValueError("bad")), 0.1)
    with pytest.raises(ValueError, match="bad"):
        clock.run(Hedge(after=1).execute(service))
    assert (service.calls, clock.now()) == (1, 1000.5)


def test_a_failure_waits_for_the_other_call_and_is_remembered(clock):
    service = Service((2, ValueError("bad")), 5)
    outcome = clock.run(Hedge(after=1).outcome(service))
    assert (outcome.value, outcome.elapsed) == (1, pytest.approx(6))
    assert [attempt.error for attempt in outcome.history] == ["ValueError: bad"]


def test_after_a_failure_the_next_call_still_starts_in_its_turn(clock):
    service = Service((2, ValueError("bad")), 30, 1)
    assert clock.run(Hedge(after=1.5, max_extra=2).execute(service)) == 2
    assert clock.now() == pytest.approx(1004)


def test_when_all_have_failed_the_last_error_stands_and_knows_the_others(clock):
    service = Service((2, ValueError("one")), (3, KeyError("two")))
    with pytest.raises(KeyError, match="two") as caught:
        clock.run(Hedge(after=1).execute(service))
    assert [attempt.error for attempt in report_of(caught.value).history] == ["ValueError: one"]


def test_a_failure_that_is_worth_it_starts_the_next_call_at_once(clock):
    service = Service((0.5, ConnectionError("reset")), 2)
    assert clock.run(Hedge(after=10, on=ConnectionError).execute(service)) == 1
    assert clock.now() == pytest.approx(1002.5)


def test_failures_start_no_more_than_the_extra_calls(clock):
    service = Service((0.5, ConnectionError("reset")))
    with pytest.raises(ConnectionError):
        clock.run(Hedge(after=10, max_extra=2, on=ConnectionError).execute(service))
    assert service.calls == 3


def test_a_rejection_from_inside_passes_at_once(clock):
    breaker = CircuitBreaker("c")
    breaker.force_open()
    with pytest.raises(CircuitBreakerOpenError):
        clock.run(Pipeline(Hedge(after=1), breaker).execute(Service(1)))
    assert clock.now() == 1000
    assert Hedge(after=1, on=ConnectionError).passes_rejections
    assert not Hedge(after=1, on=BulkheadFullError).passes_rejections


def test_a_hedge_that_finds_no_room_leaves_the_first_call_alone(clock):
    service = Service(5)
    assert clock.run(Pipeline(Hedge(after=1), Bulkhead(1)).execute(service)) == 0


# -- budget and keys -------------------------------------------------------------------------


def test_an_empty_budget_suppresses_only_the_hedge_and_says_so(clock, heard):
    budget = RetryBudget(0.0, floor=1, seconds=10)
    hedge = Hedge(after=1, budget=budget, name="h")

    async def main():
        assert await hedge.execute(Service(9, 1)) == 1
        return await hedge.outcome(Service(9, 1))

    outcome = clock.run(main())
    assert outcome.value == 0
    assert [e for e in heard if isinstance(e, HedgeSuppressed)] == [HedgeSuppressed("h", 1003.0, 1)]
    assert outcome.steps == ("h: not hedged: the budget is used up",)
    assert hedge.snapshot()["suppressed"] == 1


def test_retries_and_hedges_share_one_budget_and_count_a_first_call_once(clock):
    deposits = []

    class Watched(RetryBudget):
        def deposit(self):
            deposits.append(1)
            super().deposit()

    budget = Watched(0.0, floor=1)
    retry = Retry(5, Backoff.fixed(0), budget=budget)
    service = Service((2, ConnectionError("down")))
    with pytest.raises(ConnectionError):
        clock.run(Pipeline(retry, Hedge(after=1, budget=budget)).execute(service))
    assert (service.calls, len(deposits)) == (2, 1)


def test_all_calls_of_a_race_share_one_key(clock):
    keys = []

    async def fn():
        keys.append(current_scope().key)
        await asyncio.sleep(3)

    policy = Idempotency(key=iter(["k1", "k2"]).__next__)
    clock.run(Hedge(after=1, idempotency=policy).execute(fn))
    assert keys == ["k1", "k1"]


def test_a_retry_inside_a_hedge_inside_a_retry_folds(clock):
    service = Service((2, ConnectionError("down")))
    inner, outer = Retry(3, Backoff.fixed(0)), Retry(2, Backoff.fixed(0))
    with pytest.raises(ConnectionError):
        clock.run(Pipeline(outer, Hedge(after=5), inner).execute(service))
    assert service.calls == 2


# -- the learned wait ------------------------------------------------------------------------


def taught(clock, hedge, durations):
    for seconds in durations:
        clock.run(hedge.execute(Service(seconds)))


def test_there_is_no_hedge_before_enough_calls_were_seen(clock):
    hedge = Hedge("p95")
    taught(clock, hedge, [1.0] * 19)
    clock.advance(KEPT_SECONDS)
    assert hedge.wait() is None
    service = Service(500, 1)
    clock.run(hedge.execute(service))
    assert service.calls == 1


def test_until_then_the_initial_wait_holds(clock):
    hedge = Hedge("p95", initial=4.0)
    assert hedge.wait() == 4.0
    assert clock.run(hedge.execute(Service(30, 1))) == 1
    assert clock.now() == pytest.approx(1005)


def test_the_wait_is_the_quantile_of_recent_calls(clock):
    hedge = Hedge("p90", window=10_000, minimum_calls=10)
    taught(clock, hedge, [n / 10 for n in range(1, 101)])
    clock.advance(KEPT_SECONDS)
    assert hedge.wait() == pytest.approx(9.0, rel=0.03)
    assert hedge.snapshot()["samples"] == 100


@pytest.mark.parametrize(("after", "calls"), [("p50", 20), ("p95", 20), ("p99", 100)])
def test_a_rarer_quantile_needs_more_calls(after, calls):
    assert Hedge(after).minimum_calls == calls


def test_the_answer_is_kept_for_a_second(clock, monkeypatch):
    hedge = Hedge("p50", minimum_calls=1)
    taught(clock, hedge, [2.0])
    clock.advance(KEPT_SECONDS)
    asked = []
    quantile = type(hedge._live).quantile

    def watched(self, now, q):
        asked.append(now)
        return quantile(self, now, q)

    monkeypatch.setattr(type(hedge._live), "quantile", watched)
    for _ in range(10):
        hedge.wait()
    assert len(asked) == 1
    clock.advance(KEPT_SECONDS)
    hedge.wait()
    assert len(asked) == 2


def test_instant_calls_do_not_teach_to_double_the_load(clock):
    hedge = Hedge("p50", minimum_calls=1)
    taught(clock, hedge, [0.0] * 5)
    clock.advance(KEPT_SECONDS)
    assert hedge.wait() == LEAST_SECONDS


def test_first_calls_that_lost_count_as_slow_so_that_the_wait_does_not_sink(clock):
    hedge = Hedge("p90", window=100_000, initial=2.0, minimum_calls=20)
    for n in range(400):
        clock.run(hedge.execute(Service(50.0 if n % 5 == 0 else 1.0, 1.0)))
    clock.advance(KEPT_SECONDS)
    # One in five is slow, so the 90th percentile lies among the slow ones, not at 1 s.
    assert hedge.wait() >= 1.9
    assert hedge.snapshot()["samples"] == 400


def test_failures_teach_nothing(clock):
    hedge = Hedge("p50", minimum_calls=1)
    with pytest.raises(ValueError):
        clock.run(hedge.execute(Service((3, ValueError()))))
    assert hedge.snapshot()["samples"] == 0


def test_a_cancelled_call_teaches_nothing(clock):
    hedge = Hedge("p50", minimum_calls=1)

    async def main():
        task = asyncio.create_task(hedge.execute(Service(9)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    clock.run(main())
    assert hedge.snapshot()["samples"] == 0


# -- the rest --------------------------------------------------------------------------------


def test_a_sync_call_is_hedged_in_threads(clock):
    go, lock, numbers = threading.Event(), threading.Lock(), [0, 1]

    def fn():
        with lock:
            number = numbers.pop(0)
        if number == 0:
            go.wait(10)
        return number

    outcome = Hedge(after=1).call_outcome(fn)
    go.set()
    assert (outcome.value, outcome.attempts) == (1, 2)


def test_a_quick_sync_call_stays_alone():
    calls = []
    assert Hedge(after=60).call(lambda: calls.append(1) or "done") == "done"
    assert calls == [1]


def test_the_worst_case_counts_every_extra_call():
    assert Hedge(after=2, max_extra=2).bound(Bound(10, 1)) == Bound(14, 3)
    assert Hedge(after=20, max_extra=2).bound(Bound(10, 1)) == Bound(30, 3)
    assert Hedge("p95").bound(Bound(10, 3)) == Bound(20, 6)


def test_it_says_what_it_is():
    assert Hedge(after=2).describe() == "Hedge 'hedge': up to 1 more after 2 s"
    assert Hedge("p99", 2).describe() == "Hedge 'hedge': up to 2 more after the p99 of recent calls"
    assert repr(Hedge("p95")) == "Hedge('p95', 1, name='hedge')"


def test_it_counts_what_it_did(clock):
    hedge = Hedge(after=1)
    clock.run(hedge.execute(Service(9, 1)))
    clock.run(hedge.execute(Service(3, 9)))
    clock.run(hedge.execute(Service(0.5)))
    counted = {"calls": 3, "hedged": 2, "won_by_hedge": 1, "suppressed": 0}
    assert hedge.snapshot() == {"name": "hedge", "after": 1.0, "samples": 0} | counted


@settings(deadline=None, max_examples=60)
@given(
    script=st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from([None, ValueError("x"), OSError("y")])),
        min_size=5,
        max_size=5,
    ),
    after=st.floats(0.0, 10.0),
    extra=st.integers(1, 4),
    on=st.sampled_from([None, OSError]),
)
def test_whatever_happens_a_race_ends_once_with_no_task_left(script, after, extra, on):
    with FakeClock() as clock:
        hedge, service = Hedge(after=after, max_extra=extra, on=on), Service(*script)

        async def main():
            outcome = await hedge.outcome(service)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return outcome

        outcome = clock.run(main())
    assert 1 <= service.calls <= 1 + extra
    assert outcome.attempts == service.calls
    assert outcome.ok or all(error is not None for _, error in script[: service.calls])
    assert outcome.elapsed <= sum(seconds for seconds, _ in script) + after * extra + 1e-6


def test_no_race_won_by_the_first_call_counts_for_the_hedge(clock):
    hedge = Hedge(after=1)
    for _ in range(3):
        clock.run(hedge.execute(Service(3, 9)))
    assert hedge.snapshot()["won_by_hedge"] == 0
    assert hedge.snapshot()["hedged"] == 3


def test_a_first_call_that_failed_teaches_nothing_even_when_another_one_wins(clock):
    hedge = Hedge("p50", initial=1.0, minimum_calls=1)
    outcome = clock.run(hedge.outcome(Service((3, ValueError()), 5)))
    assert outcome.value == 1
    assert hedge.snapshot()["samples"] == 0
    assert [attempt.number for attempt in outcome.history] == [1]
    assert any("call 0 failed, 1 still run" in step for step in outcome.steps)


def test_when_what_was_learned_is_too_old_the_initial_wait_holds_again(clock):
    hedge = Hedge("p50", initial=4.0, minimum_calls=1, window=10.0)
    taught(clock, hedge, [2.0])
    clock.advance(KEPT_SECONDS)
    assert hedge.wait() == pytest.approx(2.0, rel=0.03)
    clock.advance(1_000.0)
    assert hedge.wait() == 4.0


def test_each_first_call_earns_its_share_of_a_budget(clock):
    budget = RetryBudget(0.5, floor=0)
    hedge = Hedge(after=100, budget=budget)
    for _ in range(4):
        clock.run(hedge.execute(Service(0.1)))
    assert budget.snapshot()["balance"] == pytest.approx(2.0)


def test_an_idempotency_that_is_none_is_refused_by_name():
    with pytest.raises(BadInputError, match="idempotency must be"):
        Hedge(idempotency=True)
