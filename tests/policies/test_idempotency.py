"""Whether a call may be repeated, and how to find out what became of it."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.errors import BadInputError, BulkheadFullError
from holdfast.outcome import Err, Ok
from holdfast.policies.backoff import Backoff
from holdfast.policies.budget import RetryBudget
from holdfast.policies.effects import Invoke, Run, Sleep
from holdfast.policies.idempotency import Found, Idempotency, Lookup, random_key
from holdfast.policies.retry import Retry
from holdfast.policies.scope import current_scope
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands, chance, new_call

STEADY = Backoff.fixed(4.0)


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock, chance(0.5):
        yield clock


def ask(key: str) -> object:
    """A reconcile hook whose answer the test gives."""
    raise AssertionError(key)


UNSAFE = Idempotency.unsafe(reconcile=ask, key=lambda: "job-7")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"safe": 1}, "safe must be True or False, got 1"),
        ({"safe": None}, "safe must be True or False, got None"),
        ({"key": "fixed"}, "key must be a function or None, got 'fixed'"),
        ({"reconcile": True}, "reconcile must be a function or None, got True"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Idempotency(**chosen)


@pytest.mark.parametrize(
    ("idempotency", "lacking"),
    [
        (Idempotency(safe=False), "key and reconcile"),
        (Idempotency.unsafe(), "reconcile"),
        (Idempotency.unsafe(reconcile=ask, key=None), "key"),
    ],
)
def test_to_repeat_what_must_not_be_repeated_without_a_lookup_is_refused(idempotency, lacking):
    with pytest.raises(BadInputError, match=f"not idempotent: idempotency needs {lacking}$"):
        Retry(idempotency=idempotency)
    Retry(max_attempts=1, idempotency=idempotency)


def test_a_safe_call_is_repeated_blindly():
    assert type(Hands(Retry(3, STEADY, idempotency=Idempotency())).fail(ConnectionError())) is Sleep


def test_random_keys_are_long_and_differ():
    with FakeClock():
        keys = {random_key() for _ in range(3)}
    assert all(len(key) == 28 for key in keys)
    assert int(next(iter(keys)), 16) >= 0


def test_the_key_is_one_per_call_and_the_same_over_its_attempts():
    made = iter(["first", "second"])
    seen = []

    def fails() -> None:
        seen.append(current_scope().key)
        raise ConnectionError

    idempotency = Idempotency(key=lambda: next(made))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            Retry(2, STEADY, idempotency=idempotency).call(fails)
    assert seen == ["first", "first", "second", "second"]


def test_the_key_is_inherited_by_calls_inside():
    seen = []
    outer = Retry(2, STEADY, idempotency=Idempotency(key=lambda: "outer"))
    inner = Retry(2, STEADY)
    outer.call(lambda: inner.call(lambda: seen.append(current_scope().key)))
    assert seen == ["outer"]


def test_calls_inside_that_have_keys_of_their_own_do_not_share_one():
    seen = []
    keys = iter("abc")
    inner = Retry(2, STEADY, idempotency=Idempotency(key=lambda: next(keys)))
    outer = Retry(2, STEADY, idempotency=Idempotency(key=lambda: "outer"))

    def both() -> None:
        for _ in range(2):
            inner.call(lambda: seen.append(current_scope().key))

    outer.call(both)
    assert seen == ["a", "b"]


def _asked(hands: Hands) -> None:
    assert type(hands.effect) is Run
    assert (hands.effect.action, hands.effect.arguments) == (ask, ("job-7",))


def test_a_call_that_was_carried_out_after_all_is_a_success():
    hands = Hands(Retry(3, STEADY, idempotency=UNSAFE))
    hands.fail(ConnectionError())
    _asked(hands)
    hands.give(Ok(Found("picture")))
    assert hands.value == "picture"
    assert hands.call.attempts == 0
    assert "found to have been carried out" in str(hands.call.steps[-1])


def test_a_call_that_was_not_carried_out_is_repeated():
    hands = Hands(Retry(3, STEADY, idempotency=UNSAFE))
    hands.fail(ConnectionError())
    _asked(hands)
    assert type(hands.give(Ok(Lookup.ABSENT))) is Sleep
    assert type(hands.give(None)) is Invoke


@pytest.mark.parametrize("answer", [Ok(Lookup.UNKNOWN), Err(OSError()), Ok(None), Ok("absent")])
def test_a_call_of_which_nobody_can_tell_is_asked_for_again_and_not_repeated(answer):
    hands, error = Hands(Retry(3, STEADY, idempotency=UNSAFE)), ConnectionError()
    hands.fail(error)
    for _ in range(2):
        _asked(hands)
        assert type(hands.give(answer)) is Sleep
        hands.give(None)
    _asked(hands)
    assert hands.give(answer) is None
    assert hands.error is error
    assert "nobody can tell whether it took effect" in str(hands.call.steps[-1])


def test_the_last_attempt_is_looked_up_too():
    hands = Hands(Retry(2, STEADY, idempotency=UNSAFE))
    hands.fail(ConnectionError())
    hands.give(Ok(Lookup.ABSENT))
    hands.give(None)
    hands.fail(ConnectionError())
    _asked(hands)
    hands.give(Ok(Found("late")))
    assert hands.value == "late"


@pytest.mark.parametrize("error", [BulkheadFullError("full")])
def test_a_call_that_never_ran_is_repeated_without_asking(error):
    hands = Hands(Retry(3, STEADY, on=Exception, idempotency=UNSAFE))
    assert type(hands.fail(error)) is Sleep


def test_what_is_not_worth_repeating_is_not_looked_up():
    assert Hands(Retry(3, STEADY, idempotency=UNSAFE)).fail(ValueError()) is None


def test_a_lookup_that_finds_the_result_spends_nothing_of_the_budget():
    budget = RetryBudget(0.0, floor=1)
    hands = Hands(Retry(3, STEADY, idempotency=UNSAFE, budget=budget))
    hands.fail(ConnectionError())
    hands.give(Ok(Found("picture")))
    assert budget.snapshot()["balance"] == 1


def test_no_wait_after_a_long_lookup_outlasts_the_deadline(clock):
    call = new_call()
    call.scope.deadline = clock.now() + 10.0
    hands = Hands(Retry(3, STEADY, idempotency=UNSAFE), call)
    hands.fail(ConnectionError())
    for _ in range(2):
        pause = hands.give(Ok(Lookup.UNKNOWN))
        assert type(pause) is Sleep
        clock.advance(pause.seconds)
        hands.give(None)
    last = hands.give(Ok(Lookup.ABSENT))
    assert last is None or last.seconds < call.left()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_hooks_of_both_colours_are_asked(clock, colour):
    answers, calls = [Lookup.UNKNOWN, Lookup.ABSENT], 0

    def work() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError
        return "done"

    if colour == "sync":
        sync = Idempotency.unsafe(reconcile=lambda _: answers.pop(0))
        assert Retry(3, STEADY, idempotency=sync).call(work) == "done"
    else:

        async def reconcile(key: str) -> Lookup:
            await asyncio.sleep(1.0)
            return answers.pop(0)

        slow = Idempotency.unsafe(reconcile=reconcile)
        assert clock.run(Retry(3, STEADY, idempotency=slow).execute(work)) == "done"
    assert (answers, calls) == ([], 2)


def test_nobody_is_asked_again_when_the_deadline_is_nearer_than_the_next_question(clock):
    call = new_call()
    call.scope.deadline = clock.now() + 4.0
    hands = Hands(Retry(3, STEADY, idempotency=UNSAFE), call)
    hands.fail(ConnectionError())
    _asked(hands)
    assert hands.give(Ok(Lookup.UNKNOWN)) is None
    assert "nobody can tell whether it took effect" in str(hands.call.steps[-1])
