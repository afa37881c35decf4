"""How often to try again and how long to wait: each decision stepped by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import math
import weakref
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BadInputError, CircuitBreakerOpenError, ErrorCategory, RejectedError
from holdfast.outcome import Err, Ok, report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.effects import Invoke, Run, Sleep
from holdfast.policies.fallback import Fallback
from holdfast.policies.policy import Bound
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, current_scope
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands, chance, heard, kinds, new_call

STEADY = Backoff.fixed(2.0)


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock, chance(0.5):
        yield clock


class AskingError(ConnectionError):
    """An error that carries a Retry-After."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("come back later")
        self.retry_after = retry_after


# Settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"max_attempts": 0}, "max_attempts must be .*at least 1, got 0"),
        ({"max_attempts": -1}, "max_attempts must be .*at least 1, got -1"),
        ({"max_attempts": 2.0}, "max_attempts must be .*at least 1, got 2.0"),
        ({"max_attempts": True}, "max_attempts must be .*at least 1, got True"),
        ({"max_attempts": "3"}, "max_attempts must be .*at least 1, got '3'"),
        ({"backoff": 1.0}, "backoff must be a Backoff, got 1.0"),
        ({"backoff": None}, "backoff must be a Backoff, got None"),
        ({"on": 7}, "on must be exception types"),
        ({"on": KeyboardInterrupt}, "on must name subclasses of Exception"),
        ({"budget": 0.2}, "budget must be a RetryBudget, got 0.2"),
        ({"idempotency": True}, "idempotency must be a Idempotency, got True"),
        ({"retry_on_result": 1}, "retry_on_result must be a function or None, got 1"),
        ({"retry_after": 5}, "retry_after must be a function or None, got 5"),
        ({"max_retry_after": -1}, "max_retry_after must be at least 0 seconds, got -1"),
        ({"max_retry_after": math.nan}, "max_retry_after must be at least 0 seconds, got nan"),
        ({"on_discard": "x"}, "on_discard must be a function or None, got 'x'"),
        ({"on_retry": "x"}, "on_retry must be a function or None, got 'x'"),
        ({"name": ""}, "name must be a text"),
        ({"allow_nested": "yes"}, "allow_nested must be True or False, got 'yes'"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Retry(**chosen)


def test_the_defaults_are_those_of_the_contract():
    retry = Retry()
    assert retry.max_attempts == 3
    assert retry.backoff == Backoff.exponential(initial=1.0, maximum=60.0, base=2.0, jitter=0.25)
    assert retry.on == (ConnectionError, TimeoutError, OSError)
    assert (retry.budget, retry.idempotency, retry.retry_on_result) == (None, None, None)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Retry().max_attempts = 7


def test_a_predicate_that_knows_only_its_own_errors_can_be_built_into_a_pipeline():
    own = Retry(on=lambda error: error.status == 503)
    assert Pipeline(own, CircuitBreaker()).call(lambda: "fine") == "fine"


def test_the_worst_case_is_every_attempt_and_every_wait_at_its_longest():
    retry = Retry(3, Backoff.exponential(1.0, 60.0, 2.0, 0.5), max_retry_after=0.0)
    assert retry.bound(Bound(10.0, 1)) == Bound(30.0 + 1.5 + 3.0, 3)
    assert Retry(1).bound(Bound(10.0, 1)) == Bound(10.0, 1)
    obedient = Retry(3, STEADY, max_retry_after=50.0)
    assert obedient.bound(Bound(10.0, 1)) == Bound(130.0, 3)


@pytest.mark.parametrize(
    ("retry", "words"),
    [
        (Retry(3, STEADY), "Retry: 3 attempts, waits of at most 2 s, 2 s"),
        (Retry(1, STEADY), "Retry: 1 attempts, waits of at most none"),
    ],
)
def test_it_describes_itself_in_one_line(retry, words):
    assert retry.describe() == words


def test_many_attempts_do_not_make_a_long_description():
    assert Retry(10**9, STEADY).describe().endswith("...")
    assert Retry(10**9, STEADY).bound(Bound(0.0, 1)).calls == 10**9


# The wait, as a plain function ----------------------------------------------------------


def test_the_last_attempt_is_not_followed_by_a_wait():
    retry = Retry(3, STEADY)
    assert [retry.wait(n, chance=0.5) for n in (1, 2, 3, 4)] == [2.0, 2.0, None, None]


def test_no_wait_is_begun_that_would_outlast_the_deadline():
    retry = Retry(9, STEADY)
    assert retry.wait(1, chance=0.5, left=2.1) == 2.0
    assert retry.wait(1, chance=0.5, left=2.0) is None
    assert retry.wait(1, chance=0.5, left=-1.0) is None


def test_a_servers_wish_is_the_least_wait():
    retry = Retry(9, STEADY)
    assert retry.wait(1, chance=0.5, retry_after=7.5) == 7.5
    assert retry.wait(1, chance=0.5, retry_after=0.5) == 2.0
    assert retry.wait(1, chance=0.5, retry_after=30.0, left=20.0) is None


@given(
    attempts=st.integers(1, 20),
    attempt=st.integers(1, 30),
    draw=st.floats(0.0, 1.0, exclude_max=True),
    left=st.none() | st.floats(-10.0, 1e4),
    retry_after=st.none() | st.floats(0.0, 1e4),
)
def test_a_wait_keeps_every_promise_at_once(attempts, attempt, draw, left, retry_after):
    wait = Retry(attempts).wait(attempt, chance=draw, left=left, retry_after=retry_after)
    if attempt >= attempts:
        assert wait is None
    elif wait is not None:
        assert wait >= (retry_after or 0.0)
        assert math.isfinite(wait)
        assert left is None or wait < left


# The flow, by hand ----------------------------------------------------------------------


def test_waits_between_attempts_and_returns_the_first_success():
    hands = Hands(Retry(3, STEADY))
    assert type(hands.effect) is Invoke
    pause = hands.fail(ConnectionError())
    assert type(pause) is Sleep
    assert pause.seconds == 2.0
    assert type(hands.give(None)) is Invoke
    assert hands.succeed("picture") is None
    assert hands.value == "picture"
    assert [attempt.waited for attempt in hands.call.history] == [2.0]


def test_returns_the_last_failure_when_the_attempts_are_used_up():
    hands, errors = Hands(Retry(3, STEADY)), [ConnectionError(str(n)) for n in range(3)]
    for error in errors[:2]:
        hands.fail(error)
        hands.give(None)
    hands.fail(errors[2])
    assert hands.error is errors[2]
    assert [attempt.number for attempt in hands.call.history] == [1, 2, 3]
    assert hands.call.history[-1].waited is None
    assert "all 3 attempts are used up" in str(hands.call.steps[-1])


@pytest.mark.parametrize("error", [ValueError(), RejectedError("no"), CircuitBreakerOpenError("x")])
def test_what_is_not_worth_repeating_is_returned_at_once(error):
    hands = Hands(Retry(3, STEADY))
    hands.fail(error)
    assert hands.error is error
    assert not hands.call.history
    assert not hands.call.steps


def test_a_group_is_repeated_only_if_all_of_its_leaves_are_worth_it():
    worth = ExceptionGroup("g", [ConnectionError(), ExceptionGroup("h", [TimeoutError()])])
    mixed = ExceptionGroup("g", [ConnectionError(), ValueError()])
    assert type(Hands(Retry(3, STEADY)).fail(worth)) is Sleep
    assert Hands(Retry(3, STEADY)).fail(mixed) is None


def test_no_wait_means_no_sleep():
    assert type(Hands(Retry(3, Backoff.fixed(0.0))).fail(ConnectionError())) is Invoke


def test_a_category_is_worth_repeating_like_a_type():
    assert type(Hands(Retry(on=ErrorCategory.MEMORY)).fail(MemoryError())) is Sleep
    assert Hands(Retry(on=ErrorCategory.MEMORY)).fail(ConnectionError()) is None


@pytest.mark.parametrize(
    "interruption", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()]
)
@pytest.mark.parametrize("when", ["running", "waiting"])
def test_an_interruption_is_never_repeated(interruption, when):
    hands = Hands(Retry(3, STEADY))
    if when == "waiting":
        hands.fail(ConnectionError())
    hands.interrupt(interruption)
    assert hands.call.scope.folds is False


def test_decorrelated_waits_grow_from_the_wait_before():
    hands = Hands(Retry(9, Backoff.exponential(1.0, 60.0, jitter="decorrelated")))
    waits = []
    for _ in range(4):
        waits.append(hands.fail(ConnectionError()).seconds)
        hands.give(None)
    assert waits == [2.0, 3.5, 5.75, 9.125]


def test_the_attempt_can_be_read_in_the_call():
    seen = []

    def look() -> None:
        seen.append(current_scope().attempt)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        Pipeline(Timeout(90.0), Retry(3, STEADY)).call(look)
    assert seen == [1, 2, 3]


# Retry-After ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "wait"), [(9, 9.0), ("9", 9.0), (timedelta(seconds=9), 9.0), (0.5, 2.0), ("soon", 2.0)]
)
def test_a_servers_wish_is_honoured_in_whatever_form_it_comes(told, wait):
    assert Hands(Retry(3, STEADY)).fail(AskingError(told)).seconds == wait


def test_a_servers_date_is_understood_by_the_wall_clock(clock):
    clock.set_wall(datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp())
    date = format_datetime(datetime(2026, 3, 1, 12, 0, 45, tzinfo=UTC), usegmt=True)
    assert Hands(Retry(3, STEADY)).fail(AskingError(date)).seconds == pytest.approx(45.0)


def test_a_wish_beyond_the_deadline_fails_at_once_and_says_when():
    call = new_call()
    call.scope.deadline = 1_020.0
    hands, error = Hands(Retry(3, STEADY), call), AskingError(30)
    assert hands.fail(error) is None
    assert hands.error is error
    assert "asked to come back in 30 s, which is beyond the deadline" in str(call.steps[-1])


def test_a_wish_beyond_the_longest_obeyed_fails_at_once_and_says_when():
    hands = Hands(Retry(3, STEADY, max_retry_after=20.0))
    assert hands.fail(AskingError(30)) is None
    assert "asked to come back in 30 s, which is beyond max_retry_after" in str(
        hands.call.steps[-1]
    )
    assert Hands(Retry(3, STEADY, max_retry_after=30.0)).fail(AskingError(30)).seconds == 30.0


def test_a_reader_of_ones_own_takes_the_place_of_the_header():
    retry = Retry(3, STEADY, retry_after=lambda error: float(str(error)))
    assert Hands(retry).fail(ConnectionError("12")).seconds == 12.0


def test_the_whole_wait_for_a_breaker_is_honoured():
    retry = Retry(3, STEADY, on=CircuitBreakerOpenError)
    assert Hands(retry).fail(CircuitBreakerOpenError("x", retry_after=33.0)).seconds == 33.0


def test_no_wait_is_begun_that_would_outlast_the_deadline_of_the_call(clock):
    calls = []

    def fails() -> None:
        calls.append(clock.now())
        raise ConnectionError

    with Deadline.after(5.0), pytest.raises(ConnectionError):
        Retry(9, STEADY).call(fails)
    assert calls == [1_000.0, 1_002.0, 1_004.0]
    assert clock.now() == 1_004.0


# Results and hooks ----------------------------------------------------------------------


def test_a_result_that_is_not_accepted_is_discarded_and_repeated():
    discarded = print
    hands = Hands(Retry(3, STEADY, retry_on_result=lambda r: r is None, on_discard=discarded))
    hook = hands.succeed(None)
    assert type(hook) is Run
    assert (hook.action, hook.arguments) == (discarded, (None,))
    assert type(hands.give(Ok(None))) is Sleep
    hands.give(None)
    hands.succeed("picture")
    assert hands.value == "picture"


def test_the_last_result_is_returned_even_if_it_is_not_accepted():
    hands = Hands(Retry(1, retry_on_result=lambda r: r is None))
    hands.succeed(None)
    assert hands.value is None
    assert "the result was not accepted: NoneType" in hands.call.history[0].error


def test_a_failure_is_not_given_to_on_discard():
    hands = Hands(Retry(3, STEADY, on_discard=print))
    assert type(hands.fail(ConnectionError())) is Sleep


def test_on_retry_hears_of_each_attempt_before_its_wait():
    hands = Hands(Retry(3, STEADY, on_retry=print))
    hook = hands.fail(ConnectionError("lost"))
    assert type(hook) is Run
    (attempt,) = hook.arguments
    assert (attempt.number, attempt.error, attempt.waited) == (1, "ConnectionError: lost", 2.0)
    assert type(hands.give(Ok(None))) is Sleep
    hands.give(None)
    hands.fail(ConnectionError("lost"))
    hands.give(Ok(None))
    hands.give(None)
    assert hands.fail(ConnectionError("lost")) is None


def test_a_hook_that_fails_does_not_change_the_call():
    hands = Hands(Retry(3, STEADY, on_retry=print))
    hands.fail(ConnectionError())
    assert type(hands.give(Err(ZeroDivisionError()))) is Sleep


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_hooks_run_in_calls_of_both_colours(clock, colour):
    told, results = [], iter([1, 2, 3])
    retry = Retry(
        3, STEADY, retry_on_result=lambda r: r < 3, on_discard=told.append, on_retry=told.append
    )
    if colour == "sync":
        assert retry.call(lambda: next(results)) == 3
    else:

        async def work() -> int:
            return next(results)

        assert clock.run(retry.execute(work)) == 3
    assert [t if isinstance(t, int) else t.number for t in told] == [1, 1, 2, 2]


def test_async_hooks_are_awaited(clock):
    told = []

    async def hook(value: object) -> None:
        await asyncio.sleep(1.0)
        told.append(value)

    results = iter([1, 2])
    retry = Retry(2, STEADY, retry_on_result=lambda r: r == 1, on_discard=hook, on_retry=hook)
    assert clock.run(retry.execute(lambda: next(results))) == 2
    assert len(told) == 2
    assert clock.now() == 1_004.0


# Budget ---------------------------------------------------------------------------------


def test_a_budget_that_is_used_up_suppresses_only_the_extra_call():
    budget = RetryBudget(0.0, floor=1)
    retry = Retry(3, STEADY, budget=budget)
    with heard() as events:
        hands = Hands(retry)
        assert type(hands.fail(ConnectionError())) is Sleep
        hands.give(None)
        last = ConnectionError("last")
        assert hands.fail(last) is None
    assert hands.error is last
    assert "the retry budget is used up" in str(hands.call.steps[-1])
    assert kinds(events) == ["RetryScheduled", "RetrySuppressed", "RetryStopped"]


def test_a_first_call_earns_its_share_whether_it_fails_or_not():
    budget = RetryBudget(0.5, floor=0)
    retry = Retry(3, STEADY, budget=budget)
    for _ in range(4):
        retry.call(lambda: 1)
    assert budget.snapshot()["balance"] == 2.0


def test_an_attempt_that_is_not_made_spends_nothing():
    budget = RetryBudget(0.0, floor=5)
    call = new_call()
    call.scope.deadline = 1_001.0
    assert Hands(Retry(3, STEADY, budget=budget), call).fail(ConnectionError()) is None
    assert Hands(Retry(1, STEADY, budget=budget)).fail(ConnectionError()) is None
    assert Hands(Retry(3, STEADY, budget=budget)).fail(ValueError()) is None
    assert budget.snapshot()["balance"] == 5


# Nested retries -------------------------------------------------------------------------


def _nested(clock, colour: str, *retries: Retry) -> int:
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    def around(retry: Retry, fn):
        if colour == "sync":
            return lambda: retry.call(fn)
        return lambda: retry.execute(fn)

    fn = fails
    for retry in reversed(retries):
        fn = around(retry, fn)
    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        if colour == "sync":
            fn()
        else:
            clock.run(fn())
    return calls


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_nested_retries_fold(clock, colour):
    assert _nested(clock, colour, *[Retry(3, STEADY) for _ in range(3)]) == 3


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_the_same_retry_nested_in_itself_folds_too(clock, colour):
    retry = Retry(3, STEADY)
    assert _nested(clock, colour, retry, retry) == 3


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_nested_retries_multiply_on_request(clock, colour):
    assert _nested(clock, colour, Retry(3, STEADY), Retry(2, STEADY, allow_nested=True)) == 6


@pytest.mark.parametrize("second", [Retry(3, STEADY), None])
def test_retries_within_one_pipeline_fold(second):
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    first = Retry(3, STEADY)
    inner = first if second is None else second
    with pytest.raises(ConnectionError):
        Pipeline(first, CircuitBreaker(failure_threshold=100), inner).call(fails)
    assert calls == 3


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_fallback_around_a_retry_may_retry_for_itself(clock, colour):
    calls = 0

    def fails() -> None:
        raise ConnectionError

    def other() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    inner = Retry(4, STEADY)
    substitute = (lambda: inner.call(other)) if colour == "sync" else lambda: inner.execute(other)
    pipeline = Pipeline(Fallback(substitute), Retry(2, STEADY))
    with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
        if colour == "sync":
            pipeline.call(fails)
        else:
            clock.run(pipeline.execute(fails))
    assert calls == 4


# What remains ---------------------------------------------------------------------------


def test_the_last_error_carries_the_story_of_the_others():
    with pytest.raises(ConnectionError) as raised:
        Retry(3, STEADY, name="upload").call(_fail)
    report = report_of(raised.value)
    assert [a.number for a in report.history] == [1, 2, 3]
    assert len(raised.value.__notes__) == 3
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def _fail() -> None:
    raise ConnectionError("lost")


def test_the_history_is_bounded_and_so_are_the_notes():
    with pytest.raises(ConnectionError) as raised:
        Retry(250, Backoff.fixed(0.0)).call(_fail)
    report = report_of(raised.value)
    assert [a.number for a in report.history] == list(range(151, 251))
    assert len(report.steps) == 100
    assert len(raised.value.__notes__) == 11
    assert raised.value.__notes__[0].endswith(": 90 earlier attempts are in its report")


@pytest.mark.parametrize("attempts", [99, 101, 150, 250])
def test_the_history_of_an_outcome_is_bounded_like_that_of_a_report(attempts):
    outcome = Retry(attempts, Backoff.fixed(0.0)).call_outcome(_fail)
    kept = min(attempts, 100)
    assert [a.number for a in outcome.history] == list(range(attempts - kept + 1, attempts + 1))
    assert len(outcome.steps) == kept
    assert outcome.attempts == attempts


def test_notes_do_not_pile_up_on_an_error_that_is_raised_again_and_again():
    singleton = ConnectionError("always the same")

    def fails() -> None:
        raise singleton

    for _ in range(5):
        with pytest.raises(ConnectionError):
            Retry(3, STEADY).call(fails)
    assert len(singleton.__notes__) == 3


def test_notes_of_others_are_kept():
    error = ConnectionError("lost")
    error.add_note("seen on host 7")

    def fails() -> None:
        raise error

    with pytest.raises(ConnectionError):
        Retry(2, STEADY).call(fails)
    assert error.__notes__[0] == "seen on host 7"
    assert len(error.__notes__) == 3


@pytest.mark.parametrize("policies", [(Retry(2, STEADY),), (Timeout(90.0), Retry(2, STEADY))])
def test_what_a_failed_attempt_held_is_free_before_the_next_one(policies):
    class Buffer:
        pass

    alive: list[bool] = []
    held: list[weakref.ref[Buffer]] = []

    def hungry() -> None:
        alive.extend(ref() is not None for ref in held)
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        raise ConnectionError

    gc.disable()
    try:
        with pytest.raises(ConnectionError):
            Pipeline(*policies).call(hungry)
    finally:
        gc.enable()
    assert alive == [False]


def test_events_tell_of_every_wait_and_of_the_end():
    with heard() as events, pytest.raises(ConnectionError):
        Retry(2, STEADY, name="upload").call(_fail)
    scheduled, stopped, failed = events
    assert kinds(events) == ["RetryScheduled", "RetryStopped", "CallFailed"]
    assert (scheduled.policy, scheduled.attempt, scheduled.delay) == ("upload", 1, 2.0)
    assert scheduled.error == "ConnectionError: lost"
    assert (stopped.attempt, stopped.reason) == (2, "all 2 attempts are used up")
    assert failed.attempts == 2


def test_the_worst_case_of_very_many_attempts_counts_every_wait():
    retry = Retry(2_003, STEADY, max_retry_after=0.0)
    assert retry.bound(Bound(0.0, 1)) == Bound(4_004.0, 2_003)


def test_a_rejection_is_sure_to_pass_only_where_nothing_may_repeat_it():
    assert Retry().passes_rejections
    assert not Retry(on=Exception).passes_rejections
    assert not Retry(retry_on_result=bool).passes_rejections
