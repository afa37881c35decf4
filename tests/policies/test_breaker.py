"""The circuit breaker among calls: what counts, what does not, and who is told."""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.errors import (
    BadInputError,
    BulkheadFullError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    RejectedError,
)
from holdfast.machines.circuit import CircuitState
from holdfast.outcome import Err, Ok
from holdfast.pipeline import Pipeline
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.effects import Invoke
from holdfast.policies.retry import Retry
from holdfast.policies.scope import progress
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands, chance, heard, kinds

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock, chance(0.5):
        yield clock


def breaker(**chosen) -> CircuitBreaker:
    """A breaker that opens at the second failure, for 10 seconds."""
    chosen = {"failure_threshold": 2, "success_threshold": 1, "timeout": 10.0} | chosen
    return CircuitBreaker("api", **chosen)


def fail(policy: CircuitBreaker, times: int = 1, error: Exception | None = None) -> None:
    """So many calls that fail."""
    for _ in range(times):
        hands = Hands(policy)
        if hands.runs:
            hands.fail(ValueError() if error is None else error)


def succeed(policy: CircuitBreaker) -> bool:
    """One call that succeeds, if it is let through."""
    hands = Hands(policy)
    if hands.runs:
        hands.succeed()
    return type(hands.result) is Ok


# Settings -------------------------------------------------------------------------------

NOT_COUNTS = [0, -1, 1.0, True, "1"]
NOT_TIMES = [0, -1.0, math.nan, math.inf, True, "1"]


@pytest.mark.parametrize("name", ["failure_threshold", "success_threshold", "half_open_max_calls"])
@pytest.mark.parametrize("value", NOT_COUNTS)
def test_counts_that_cannot_be_counted_to_are_refused_by_name(name, value):
    with pytest.raises(BadInputError, match=f"{name} must be .*at least 1, got "):
        CircuitBreaker("api", **{name: value})


@pytest.mark.parametrize("value", [*NOT_TIMES, None])
def test_a_time_to_be_open_that_makes_no_sense_is_refused_by_its_own_name(value):
    with pytest.raises(BadInputError, match=r"^timeout must be above 0"):
        CircuitBreaker("api", timeout=value)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"timeout_maximum": 0}, "timeout_maximum must be above 0"),
        ({"timeout_growth": 0.5}, "timeout_growth must be at least 1"),
        ({"timeout_jitter": 1.0}, "timeout_jitter must be at least 0 and below 1"),
        ({"timeout_jitter": math.nan}, "timeout_jitter must be at least 0 and below 1"),
        ({"probe_seconds": 0}, "probe_seconds must be above 0"),
        ({"failure_rate": 0.0}, "failure_rate must be above 0 and at most 1, got 0.0"),
        ({"failure_rate": 1.1}, "failure_rate must be above 0 and at most 1, got 1.1"),
        ({"failure_rate": math.nan}, "failure_rate must be above 0 and at most 1, got nan"),
        ({"slow_rate": True}, "slow_rate must be above 0 and at most 1, got True"),
        ({"slow_rate": 0.5, "slow_factor": 1.0}, "slow_factor must be above 1"),
        ({"slow_rate": 0.5, "slow_seconds": -1}, "slow_seconds must be above 0 seconds, got -1"),
        ({"slow_seconds": 5.0}, "slow_seconds needs slow_rate"),
        ({"slow_factor": 3.0}, "slow_factor needs slow_rate, got 3.0"),
        ({"slow_rate": 0.5, "slow_factor": 2.0, "slow_seconds": 1.0}, "slow_factor contradicts"),
        ({"failure_rate": 0.5, "window": 0}, "window must be above 0 seconds, got 0"),
        ({"failure_rate": 0.5, "window_calls": 0}, "window_calls must be .*at least 1, got 0"),
        ({"failure_rate": 0.5, "window": 9.0, "window_calls": 9}, "window_calls must be None"),
        ({"failure_rate": 0.5, "window_calls": 5, "minimum_calls": 6}, "minimum_calls must be at"),
        ({"failure_rate": 0.5, "minimum_calls": 0}, "minimum_calls must be .*at least 1, got 0"),
        ({"minimum_calls": 5}, "minimum_calls needs failure_rate or slow_rate to matter, got 5"),
        ({"ramp_seconds": -1}, "ramp_seconds must be at least 0 seconds"),
        ({"progress_closes": 1}, "progress_closes must be True or False, got 1"),
        ({"failure_threshold": None}, "failure_threshold may be None only beside"),
        ({"on": 7}, "on must be exception types"),
        ({"exclude": KeyboardInterrupt}, "exclude must name subclasses of Exception"),
        ({"failure_on_result": 1}, "failure_on_result must be a function or None, got 1"),
        ({"name": ""}, "name must be a text of 1 to 200 characters, got ''"),
        ({"name": 7}, "name must be a text"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        CircuitBreaker(**chosen)


def test_the_defaults_are_those_of_the_contract():
    s = CircuitBreaker().circuit.settings
    assert (s.failure_threshold, s.success_threshold, s.open_seconds) == (5, 2, 60.0)
    assert (s.half_open_max_calls, s.open_growth, s.open_maximum) == (1, 2.0, 600.0)
    assert (s.failure_rate, s.slow_rate, s.window) == (None, None, None)


def test_a_rate_without_a_window_looks_back_a_minute_over_twenty_calls():
    s = CircuitBreaker(failure_rate=0.5).circuit.settings
    assert (s.window, s.window_calls, s.minimum_calls) == (60.0, None, 20)
    assert CircuitBreaker(failure_rate=0.5, window_calls=5).circuit.settings.minimum_calls == 5


def test_it_describes_its_rules_in_one_line():
    told = breaker(failure_rate=0.5, slow_rate=0.25).describe()
    assert told == (
        "CircuitBreaker 'api': opens for 10 s at 2 failures in a row or 50% failed or 25% slow"
    )


# What counts ----------------------------------------------------------------------------


def test_consecutive_failures_open_it_and_it_says_when_to_come_back(clock):
    policy = breaker()
    fail(policy, 2)
    assert policy.state is policy.get_state() is OPEN
    clock.advance(4.0)
    hands = Hands(policy)
    assert type(hands.error) is CircuitBreakerOpenError
    assert (hands.error.name, hands.error.retry_after) == ("api", 6.0)
    assert policy.retry_after == 6.0
    assert hands.call.steps[-1] == "api: refused, the circuit is open"


def test_a_success_in_between_starts_the_count_again():
    policy = breaker()
    for _ in range(5):
        fail(policy)
        succeed(policy)
    assert policy.state is CLOSED


@pytest.mark.parametrize("rejection", [RejectedError("no"), BulkheadFullError("full")])
def test_a_rejection_from_inside_proves_nothing(clock, rejection):
    policy = breaker()
    fail(policy, 10, rejection)
    assert policy.state is CLOSED
    fail(policy, 2)
    clock.advance(10.0)
    fail(policy, 1, rejection)
    assert policy.state is HALF_OPEN
    assert succeed(policy)
    assert policy.state is CLOSED


def test_a_rejection_does_not_end_a_row_of_failures():
    policy = breaker()
    fail(policy)
    fail(policy, 1, BulkheadFullError("full"))
    fail(policy)
    assert policy.state is OPEN


def test_our_own_time_limit_counts_as_a_failure():
    policy = breaker()
    fail(policy, 2, DeadlineExceededError("late"))
    assert policy.state is OPEN


@pytest.mark.parametrize(
    ("chosen", "counted", "not_counted"),
    [
        ({"on": ConnectionError}, ConnectionError(), ValueError()),
        ({"exclude": ValueError}, ConnectionError(), ValueError()),
        ({"on": OSError, "exclude": ConnectionError}, TimeoutError(), ConnectionError()),
        ({"exclude": (ValueError, KeyError)}, OSError(), ExceptionGroup("g", [ValueError()])),
        ({"exclude": ValueError}, ExceptionGroup("g", [ValueError(), OSError()]), ValueError()),
    ],
)
def test_only_what_is_said_to_be_a_failure_counts(chosen, counted, not_counted):
    policy = breaker(**chosen)
    fail(policy, 5, not_counted)
    assert policy.state is CLOSED
    fail(policy, 2, counted)
    assert policy.state is OPEN


def test_what_does_not_count_does_not_close_it_either(clock):
    policy = breaker(exclude=ValueError)
    fail(policy, 2, OSError())
    clock.advance(10.0)
    fail(policy, 1, ValueError())
    assert policy.state is HALF_OPEN


def test_a_result_may_be_a_failure():
    policy = breaker(failure_on_result=lambda result: result is None)
    for _ in range(2):
        hands = Hands(policy)
        hands.succeed(None)
        assert hands.value is None
    assert policy.state is OPEN


def test_a_share_of_failures_opens_it():
    policy = breaker(failure_threshold=None, failure_rate=0.5, window_calls=4)
    for good in (True, False, True):
        succeed(policy) if good else fail(policy)
    assert policy.state is CLOSED
    fail(policy)
    assert policy.state is OPEN


def test_slow_calls_open_it(clock):
    policy = breaker(slow_rate=1.0, slow_seconds=5.0, window_calls=2)
    for _ in range(2):
        hands = Hands(policy)
        clock.advance(6.0)
        hands.succeed()
    assert policy.state is OPEN


def test_an_opening_by_slow_calls_is_jittered_like_any_other(clock):
    policy = breaker(
        slow_rate=1.0,
        slow_seconds=5.0,
        window_calls=1,
        timeout_jitter=0.5,
        timeout_growth=1.0,
        success_threshold=1,
    )
    policy.trip()  # the first opening lasts exactly as set
    clock.advance(policy.retry_after)
    policy.call(clock.advance, 1.0)
    assert policy.state is CLOSED
    with chance(0.0):
        policy.call(clock.advance, 6.0)
    assert policy.retry_after == 5.0


def test_waiting_in_a_queue_inside_it_does_not_make_a_call_slow(clock):
    policy, bulkhead = breaker(slow_rate=1.0, slow_seconds=5.0, window_calls=1), Bulkhead(1, 1)
    pipeline = Pipeline(policy, bulkhead)
    assert bulkhead.try_take()

    async def main() -> None:
        asyncio.get_running_loop().call_later(60.0, bulkhead.give_back)
        await pipeline.execute(asyncio.sleep, 1.0)

    clock.run(main())
    assert policy.state is CLOSED


# Ended from outside ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "interruption", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()]
)
def test_a_call_ended_by_its_caller_proves_nothing(clock, interruption):
    policy = breaker(failure_threshold=1)
    Hands(policy).interrupt(interruption)
    assert policy.state is CLOSED
    fail(policy)
    clock.advance(10.0)
    Hands(policy).interrupt(interruption)
    assert policy.state is HALF_OPEN
    assert succeed(policy)
    assert policy.state is CLOSED


@pytest.mark.parametrize("inner", [(), (Timeout(5.0),), (Retry(2),), (Bulkhead(1),)])
def test_a_call_at_work_that_a_limit_further_out_ended_is_a_failure(clock, inner):
    policy = breaker(failure_threshold=1)
    with pytest.raises(DeadlineExceededError):
        clock.run(Pipeline(Timeout(5.0), policy, *inner).execute(asyncio.sleep, 60.0))
    assert policy.state is OPEN


def test_a_call_still_in_the_queue_when_its_time_is_up_proves_nothing(clock):
    policy, bulkhead = breaker(failure_threshold=1), Bulkhead(1, 1)
    assert bulkhead.try_take()
    with pytest.raises(RejectedError):
        clock.run(Pipeline(Timeout(5.0), policy, bulkhead).execute(asyncio.sleep, 1.0))
    assert policy.state is CLOSED


# Half-open ------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 3])
def test_a_stampede_of_tasks_admits_exactly_the_probes_allowed(clock, allowed):
    policy, ran = breaker(half_open_max_calls=allowed, success_threshold=9), 0
    fail(policy, 2)
    clock.advance(10.0)

    async def work() -> None:
        nonlocal ran
        ran += 1
        await asyncio.sleep(1.0)

    async def main() -> list[object]:
        calls = [policy.execute(work) for _ in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = clock.run(main())
    assert ran == allowed
    assert sum(isinstance(r, CircuitBreakerOpenError) for r in results) == 20 - allowed


def test_a_stampede_of_threads_admits_exactly_the_probes_allowed(clock):
    policy = breaker(half_open_max_calls=3, success_threshold=9)
    fail(policy, 2)
    clock.advance(10.0)
    start, end, runs = threading.Barrier(20), threading.Event(), []
    refused = threading.Semaphore(0)

    def one() -> None:
        start.wait()
        try:
            policy.call(lambda: (runs.append(1), end.wait(10.0)))
        except CircuitBreakerOpenError:
            refused.release()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert all(refused.acquire(timeout=10.0) for _ in range(17))
    end.set()
    for thread in threads:
        thread.join(10.0)
    assert len(runs) == 3


def test_a_failed_probe_opens_it_again_for_longer(clock):
    policy = breaker()
    fail(policy, 2)
    clock.advance(10.0)
    fail(policy)
    assert (policy.state, policy.retry_after) == (OPEN, 20.0)


def test_a_hung_probe_gives_its_place_up_after_a_while_and_progress_keeps_it(clock):
    policy = breaker(probe_seconds=30.0)
    fail(policy, 2)
    clock.advance(10.0)
    probe = Hands(policy)
    assert probe.runs
    clock.advance(29.0)
    probe.call.scope.listeners[-1]()
    clock.advance(29.0)
    assert not Hands(policy).runs
    clock.advance(1.0)
    assert Hands(policy).runs


def test_the_first_progress_of_a_probe_closes_it_on_request(clock):
    policy = breaker(progress_closes=True)
    fail(policy, 2)
    clock.advance(10.0)
    states = []

    def work() -> None:
        progress()
        states.append(policy.state)

    policy.call(work)
    assert states == [CLOSED]


def test_listeners_of_a_probe_are_gone_when_it_is_over(clock):
    policy = breaker()
    fail(policy, 2)
    clock.advance(10.0)
    hands = Hands(policy)
    assert len(hands.call.scope.listeners) == 1
    hands.succeed()
    assert hands.call.scope.listeners == ()


# By hand --------------------------------------------------------------------------------


def test_it_can_be_used_without_a_pipeline(clock):
    policy = breaker()
    for _ in range(2):
        assert policy.can_execute()
        policy.record_failure()
    assert not policy.can_execute()
    clock.advance(10.0)
    assert policy.can_execute()
    assert not policy.can_execute()
    policy.record_success()
    assert policy.state is CLOSED


def test_a_probe_that_failed_by_hand_opens_it_again(clock):
    policy = breaker()
    policy.trip()
    clock.advance(10.0)
    assert policy.can_execute()
    policy.record_failure()
    assert policy.state is OPEN


def elsewhere(action, *arguments):
    """In another context than this one, as another task or thread has it."""
    return contextvars.Context().run(action, *arguments)


def half_open_one(clock, **chosen):
    policy = breaker(**chosen)
    policy.trip()
    clock.advance(20.0)
    return policy


def test_a_probe_asked_for_in_one_task_may_be_answered_in_another(clock):
    policy = half_open_one(clock)
    assert elsewhere(policy.can_execute)
    elsewhere(policy.record_success)
    assert policy.state is CLOSED

    policy = half_open_one(clock)
    assert elsewhere(policy.can_execute)
    elsewhere(policy.record_failure)
    assert policy.state is OPEN


def test_answers_from_elsewhere_settle_each_probe_once_the_oldest_first(clock):
    policy = half_open_one(clock, half_open_max_calls=2, success_threshold=3, probe_seconds=50.0)
    assert elsewhere(policy.can_execute)
    clock.advance(10.0)
    assert elsewhere(policy.can_execute)

    policy.record_success()
    clock.advance(45.0)

    assert policy.circuit.snapshot(clock.now()).probes == 1  # the younger one
    for _ in range(3):
        policy.record_success()
    assert policy.state is HALF_OPEN


def test_an_answer_from_elsewhere_is_not_spent_on_a_probe_that_has_expired(clock):
    policy = half_open_one(clock, probe_seconds=50.0)
    assert elsewhere(policy.can_execute)
    clock.advance(50.0)
    assert elsewhere(policy.can_execute)
    policy.record_success()
    assert policy.state is CLOSED


def test_an_answer_of_an_earlier_era_settles_no_probe_of_another(clock):
    policy = breaker()
    assert policy.can_execute()
    policy.trip()
    clock.advance(20.0)
    assert elsewhere(policy.can_execute)
    policy.record_failure()
    assert policy.state is HALF_OPEN


@pytest.mark.parametrize(
    ("order", "state", "admits"),
    [("force_open", "forced_open", False), ("disable", "disabled", True), ("trip", "open", False),
     ("metrics_only", "metrics_only", True)],
)  # fmt: skip
def test_states_set_by_hand_hold_until_it_is_reset(clock, order, state, admits):
    policy = breaker()
    getattr(policy, order)()
    assert policy.state == state
    assert succeed(policy) is admits
    assert policy.snapshot()["state"] == state
    policy.reset()
    assert policy.state is CLOSED
    assert succeed(policy)


def test_one_that_only_measures_says_what_it_would_be():
    policy = breaker()
    policy.metrics_only()
    fail(policy, 2)
    assert policy.state == "metrics_only"
    assert policy.would_be is OPEN
    assert Hands(policy).runs


def test_one_that_is_forced_open_cannot_say_when_to_come_back():
    policy = breaker()
    policy.force_open()
    assert policy.retry_after == math.inf
    error = Hands(policy).error
    assert error.retry_after in (None, math.inf)
    assert policy.call_outcome(lambda: 1).error.retry_after == error.retry_after


def test_other_settings_can_be_taken_over_and_the_state_stays():
    policy = breaker()
    fail(policy)
    policy.adopt_settings_of(breaker(failure_threshold=3, exclude=KeyError))
    fail(policy, 5, KeyError())
    fail(policy)
    assert policy.state is CLOSED
    fail(policy)
    assert policy.state is OPEN


# Rejections at their cheapest -----------------------------------------------------------


def test_a_refused_outcome_says_what_a_refused_call_says(clock):
    policy = breaker()
    fail(policy, 2)
    clock.advance(4.0)
    outcome = policy.call_outcome(lambda: 1)
    assert (outcome.ok, outcome.attempts) == (False, 0)
    assert type(outcome.error) is CircuitBreakerOpenError
    assert outcome.error.retry_after == 6.0
    assert outcome.steps == ("api: refused, the circuit is open",)
    clock.advance(5.95)
    assert policy.call_outcome(lambda: 1).error.retry_after == pytest.approx(0.05)
    clock.advance(0.05)
    assert policy.call_outcome(lambda: 1).unwrap() == 1


def test_a_refused_outcome_does_not_overtake_a_full_bulkhead():
    bulkhead, policy = Bulkhead(1), breaker()
    policy.trip()
    assert bulkhead.try_take()
    pipeline = Pipeline(bulkhead, policy)
    with pytest.raises(BulkheadFullError):
        pipeline.call(lambda: 1)
    assert type(pipeline.call_outcome(lambda: 1).error) is BulkheadFullError


# Events ---------------------------------------------------------------------------------


def test_events_tell_its_life(clock):
    policy = breaker()
    with heard() as events:
        fail(policy, 2)
        Hands(policy)
        clock.advance(10.0)
        succeed(policy)
    assert kinds(events) == [
        "CircuitChanged", "CircuitRejected", "CircuitChanged", "CircuitChanged",
    ]  # fmt: skip
    changes = [e for e in events if hasattr(e, "old")]
    assert [(e.old, e.new, e.reason) for e in changes] == [
        ("closed", "open", "failures"),
        ("open", "half_open", "time"),
        ("half_open", "closed", "successful probes"),
    ]
    assert [e.era for e in changes] == [1, 2, 3]
    assert (changes[0].retry_after, events[1].retry_after) == (10.0, 10.0)


def test_a_stale_result_changes_nothing_and_says_so(clock):
    policy = breaker()
    old = Hands(policy)
    fail(policy, 2)
    with heard() as events:
        old.succeed()
    assert kinds(events) == ["OutcomeDiscarded"]
    assert (events[0].era, events[0].failed) == (0, False)
    assert policy.state is OPEN


def test_a_stale_result_that_comes_when_the_open_time_is_over_tells_of_the_time(clock):
    policy = breaker()
    old = Hands(policy)
    fail(policy, 2)
    clock.advance(10.0)
    with heard() as events:
        old.succeed()
    assert kinds(events) == ["CircuitChanged", "OutcomeDiscarded"]
    assert (events[0].old, events[0].new, events[0].reason) == ("open", "half_open", "time")


# A model --------------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """Calls, probes, time and orders by hand in any order, against a few lines of truth."""

    @initialize(threshold=st.integers(1, 3), good=st.integers(1, 2), probes=st.integers(1, 2))
    def begin(self, threshold: int, good: int, probes: int) -> None:
        self.clock = FakeClock()
        self.clock.__enter__()
        self.policy = CircuitBreaker(
            "model", threshold, good, 10.0, probes, timeout_growth=1.0, timeout_jitter=0.0
        )
        self.threshold, self.good, self.allowed = threshold, good, probes
        self.state, self.era = "closed", 0
        self.row = self.wins = 0
        self.opened = 0.0
        self.inside: list[tuple[Hands, int]] = []

    def teardown(self) -> None:
        if hasattr(self, "clock"):
            for hands, _ in self.inside:
                hands.interrupt(GeneratorExit())
            self.clock.__exit__(None, None, None)

    def enter(self, state: str) -> None:
        self.state, self.row, self.wins = state, 0, 0
        self.era += 1
        self.opened = self.clock.now()

    def look(self) -> None:
        if self.state == "open" and self.clock.now() >= self.opened + 10.0:
            self.enter("half_open")

    def probes(self) -> int:
        return sum(era == self.era for _, era in self.inside)

    @rule()
    def call(self) -> None:
        self.look()
        hands = Hands(self.policy)
        full = self.state == "half_open" and self.probes() >= self.allowed
        if self.state == "open" or full:
            assert type(hands.error) is CircuitBreakerOpenError
        else:
            assert type(hands.effect) is Invoke
            self.inside.append((hands, self.era))

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 99), how=st.sampled_from(["good", "bad", "rejected", "cancelled"]))
    def end(self, which: int, how: str) -> None:
        hands, era = self.inside.pop(which % len(self.inside))
        if how == "cancelled":
            hands.interrupt(asyncio.CancelledError())
        else:
            error = ValueError() if how == "bad" else RejectedError("no")
            hands.give(Ok(1) if how == "good" else Err(error))
            assert hands.result is not None
        self.look()
        if era != self.era or how in ("rejected", "cancelled"):
            return
        if self.state == "half_open":
            self.wins += how == "good"
            if how == "bad":
                self.enter("open")
            elif self.wins >= self.good:
                self.enter("closed")
        else:
            self.row = self.row + 1 if how == "bad" else 0
            if self.row >= self.threshold:
                self.enter("open")

    @rule(seconds=st.sampled_from([1.0, 9.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def trip(self) -> None:
        self.look()
        self.policy.trip()
        self.enter("open")

    @rule()
    def reset(self) -> None:
        self.look()
        self.policy.reset()
        self.enter("closed")

    @invariant()
    def is_as_it_should_be(self) -> None:
        if hasattr(self, "policy"):
            self.look()
            assert self.policy.state == self.state
            left = self.opened + 10.0 - self.clock.now() if self.state == "open" else 0.0
            if self.state != "half_open":
                assert self.policy.retry_after == pytest.approx(left)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_refused_outcome_serves_a_tenth_of_a_second(clock):
    policy = breaker()
    fail(policy, times=2)
    policy.rejection(clock.now())
    until, _ = policy.rejected
    assert until == clock.now() + 0.1
    clock.advance(9.95)
    policy.rejection(clock.now())
    until, _ = policy.rejected
    assert until == policy.circuit.open_until


def test_one_that_was_seen_to_work_is_closed_by_hand_and_says_why(clock):
    policy = breaker()
    fail(policy, times=2)
    with heard() as events:
        policy.close()
    assert policy.state is CLOSED
    assert [event.reason for event in events] == ["seen to work"]


def test_the_further_defaults_are_those_of_the_contract():
    told = CircuitBreaker().circuit.settings
    assert (told.slow_factor, told.probe_seconds, told.ramp_seconds) == (3.0, 600.0, 0.0)
    assert breaker(failure_rate=0.5, window_calls=50).circuit.settings.minimum_calls == 20
    assert breaker(failure_rate=0.5, window_calls=5).circuit.settings.minimum_calls == 5


def test_a_probe_taken_by_hand_and_never_answered_does_not_wedge_it(clock):
    policy = breaker(failure_threshold=1, success_threshold=1, timeout=1.0, probe_seconds=5.0)
    policy.record_failure()
    clock.advance(1.0)
    assert policy.can_execute()  # whoever took it is gone
    clock.advance(5.0)
    assert policy.can_execute()
    policy.record_success()
    assert policy.state is CLOSED


def test_a_result_by_hand_from_before_it_opened_changes_nothing():
    policy = breaker(failure_threshold=1)
    assert policy.can_execute()
    policy.trip()
    policy.reset()
    policy.record_failure()
    assert policy.state is CLOSED


@pytest.mark.parametrize("predicate", ["failure_on_result", "on", "exclude"])
def test_a_predicate_that_raises_ends_the_call_and_gives_the_probe_back(clock, predicate):
    def broken(_: object) -> bool:
        raise KeyError("a bug")

    policy = breaker(failure_threshold=1, timeout=1.0, **{predicate: broken})
    policy.trip()
    clock.advance(1.0)

    def work() -> None:
        if predicate != "failure_on_result":
            raise ConnectionError

    assert isinstance(policy.call_outcome(work).error, KeyError)
    assert policy.snapshot()["probes"] == 0


def test_a_longest_opening_below_the_first_is_refused():
    with pytest.raises(BadInputError, match="timeout_maximum must be at least timeout"):
        CircuitBreaker(timeout=60.0, timeout_maximum=5.0)


def test_what_is_forced_open_is_told_without_an_infinity():
    policy = breaker()
    policy.force_open()
    assert json.loads(json.dumps(policy.snapshot(), allow_nan=False))["retry_after"] is None


@pytest.mark.parametrize("field", ["window", "window_calls"])
def test_a_window_without_a_rate_is_refused(field):
    with pytest.raises(BadInputError, match=f"^{field} needs failure_rate or slow_rate"):
        CircuitBreaker("api", **{field: 100})


@pytest.mark.parametrize("field", ["timeout", "probe_seconds", "ramp_seconds", "slow_seconds"])
def test_a_time_too_long_to_reckon_with_is_refused(field):
    with pytest.raises(BadInputError, match=f"^{field} "):
        CircuitBreaker("api", **{field: 10**400, "slow_rate": 0.5})


def test_a_slow_call_is_slow_however_long_it_waited_for_its_turn_before(clock):
    policy = breaker(failure_threshold=None, slow_rate=1.0, slow_seconds=0.5, minimum_calls=2)
    pipeline = Pipeline(Bulkhead(1, max_queue=5), policy)

    async def main():
        await asyncio.gather(*(pipeline.execute(asyncio.sleep, 1.0) for _ in range(2)))

    clock.run(main())
    assert policy.state is OPEN


def test_a_quick_call_is_quick_however_long_it_waited_for_its_turn_before(clock):
    policy = breaker(failure_threshold=None, slow_rate=0.5, slow_seconds=1.5, minimum_calls=2)
    pipeline = Pipeline(Bulkhead(1, max_queue=9), policy)

    async def main():
        await asyncio.gather(*(pipeline.execute(asyncio.sleep, 1.0) for _ in range(6)))

    clock.run(main())
    assert policy.state is CLOSED
