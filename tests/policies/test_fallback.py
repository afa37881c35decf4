"""Fallbacks: what stands in, for which failures, and what becomes of the first error."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref

import pytest

from holdfast.errors import BadInputError, DeadlineExceededError
from holdfast.events import FallbackUsed, listen
from holdfast.outcome import report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.fallback import Fallback, needs_one
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.gates.cancelling import cancel_at_every_await


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


def fail(error=None):
    raise error or ValueError("bad")


async def fail_later(error=None):
    await asyncio.sleep(1)
    raise error or ValueError("bad")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"on": BaseException}, "on must name subclasses of Exception"),
        ({"on": 3}, "on must be exception types"),
        ({"on_result": 3}, "on_result must be a function"),
        ({"name": ""}, "name must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Fallback(None, **chosen)


@pytest.mark.parametrize("value", [None, 0, "", False, (), 0.0, b""])
def test_a_value_that_counts_as_false_is_a_value_all_the_same(clock, value):
    assert Fallback(value).call(fail) == value
    assert clock.run(Fallback(value).execute(fail_later)) == value


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, bytearray(b"1")])
def test_callers_do_not_share_what_they_can_change(value):
    policy = Fallback(value)
    first = policy.call(fail)
    assert first == value
    first.clear()
    assert policy.call(fail) == value != first


def test_a_good_result_is_left_alone(heard):
    assert Fallback("other").call(lambda: "good") == "good"
    assert not [e for e in heard if isinstance(e, FallbackUsed)]


def test_only_the_failures_it_is_for_are_replaced():
    policy = Fallback("other", on=(KeyError, lambda error: "soft" in str(error)))
    assert policy.call(fail, KeyError("x")) == "other"
    assert policy.call(fail, ValueError("soft")) == "other"
    with pytest.raises(ValueError, match="bad"):
        policy.call(fail)


def test_a_group_is_replaced_only_if_all_of_it_is_meant():
    policy = Fallback("other", on=KeyError)
    assert policy.call(fail, ExceptionGroup("g", [KeyError("x"), KeyError("y")])) == "other"
    with pytest.raises(ExceptionGroup):
        policy.call(fail, ExceptionGroup("g", [KeyError("x"), ValueError("y")]))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exits_pass(kind):
    with pytest.raises(kind):
        Fallback("other").call(fail, kind())


def test_a_cancellation_inside_passes(clock):
    with pytest.raises(asyncio.CancelledError):
        clock.run(Fallback("other").execute(fail_later, asyncio.CancelledError()))


def told(error):
    return repr(error)


def test_a_result_that_is_not_accepted_is_replaced():
    policy = Fallback(told, on_result=lambda value: value is None)
    assert policy.call(lambda: None) == "None"
    assert policy.call(lambda: 0) == 0


def test_what_was_done_is_told(heard):
    outcome = Fallback("other", name="f").call_outcome(fail)
    assert outcome.steps == ("f: used in place of ValueError: bad",)
    used = [e for e in heard if isinstance(e, FallbackUsed)]
    assert [(e.policy, e.target, e.error) for e in used] == [("f", "f", "ValueError: bad")]


# -- functions -------------------------------------------------------------------------------


class Rescue:
    async def __call__(self, error):
        await asyncio.sleep(1)
        return f"rescued from {error}"

    def method(self, error):
        return f"rescued from {error}"


async def rescue(error):
    await asyncio.sleep(1)
    return f"rescued from {error}"


@pytest.mark.parametrize(
    "function",
    [
        rescue,
        Rescue(),
        Rescue().method,
        lambda error, /: rescue(error),
        functools.partial(lambda word, error: f"{word} from {error}", "rescued"),
    ],
)
def test_any_kind_of_function_that_needs_the_error_gets_it(clock, function):
    assert clock.run(Fallback(function).execute(fail_later)) == "rescued from bad"


async def stored():
    return "stored"


@pytest.mark.parametrize(
    "function",
    [
        lambda: "stored",
        stored,
        lambda limit="stored": limit,
        lambda *parts: "".join(parts) or "stored",
        functools.partial({"key": "stored"}.get, "key"),
    ],
)
def test_a_function_that_can_do_without_the_error_is_called_without(clock, function):
    assert clock.run(Fallback(function).execute(fail_later)) == "stored"


def test_a_class_makes_a_new_object():
    assert Fallback(list).call(fail) == []
    assert not needs_one(dict)


def test_an_async_function_in_a_sync_call_fails_as_a_fallback_does():
    with pytest.raises(ValueError, match="bad") as caught:
        Fallback(stored).call(fail)
    assert "is async, and this call is sync" in caught.value.__notes__[-1]


def test_a_fallback_that_fails_leaves_the_first_error_with_a_note(clock, heard):
    async def broken():
        raise KeyError("cache is empty")

    with pytest.raises(ValueError, match="bad") as caught:
        clock.run(Fallback(broken).execute(fail_later))
    assert caught.value.__notes__[-1] == "'fallback' failed, too: KeyError: 'cache is empty'"
    assert report_of(caught.value).steps == ("fallback: failed, too: KeyError: 'cache is empty'",)
    assert not [e for e in heard if isinstance(e, FallbackUsed)]


def test_notes_do_not_pile_up_on_an_error_that_is_raised_again_and_again():
    error = ValueError("always the same")
    for _ in range(3):
        with pytest.raises(ValueError):
            Fallback(lambda: fail(KeyError("x"))).call(fail, error)
    assert len(error.__notes__) == 2


def test_without_a_first_error_the_fallbacks_own_is_raised():
    policy = Fallback(lambda: fail(KeyError("x")), on_result=lambda _: True)
    with pytest.raises(KeyError):
        policy.call(lambda: 1)


def test_a_fallback_of_a_fallback_is_reached():
    pipeline = Pipeline(Fallback("last"), Fallback(lambda: fail(KeyError("x"))))
    assert pipeline.call(fail) == "last"


# -- among others ----------------------------------------------------------------------------


def test_around_a_retry_it_is_the_end_of_the_attempts(clock):
    outcome = Pipeline(Fallback("other"), Retry(3, Backoff.fixed(1), on=ValueError)).call_outcome(
        fail
    )
    assert (outcome.value, outcome.attempts) == ("other", 3)


def test_around_a_time_limit_it_replaces_what_took_too_long(clock):
    pipeline = Pipeline(Fallback("other", on=DeadlineExceededError), Timeout(2))
    assert clock.run(pipeline.execute(asyncio.sleep, 10)) == "other"


@pytest.mark.parametrize("turns", [0, 1])
def test_cancelled_at_any_suspension_nothing_is_left(clock, turns):
    def make():
        pipeline = Pipeline(Fallback(rescue), Timeout(5))
        return pipeline, lambda: pipeline.execute(fail_later)

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 2


class Buffer:
    """Stands for gigabytes."""


def test_while_the_fallback_runs_the_failed_calls_memory_is_free(clock):
    held = []

    async def work():
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        await asyncio.sleep(1)
        raise MemoryError("full")

    async def smaller():
        return held[0]() is None

    async def main():
        return await Fallback(smaller).execute(work)

    gc.collect()
    gc.disable()
    try:
        assert clock.run(main()) is True
    finally:
        gc.enable()


def test_what_was_let_go_leaves_the_place_it_came_from():
    with pytest.raises(ValueError) as caught:
        Fallback(lambda: fail(KeyError("x"))).call(fail)
    assert caught.value.__notes__[0].startswith("before 'fallback': raised at test_fallback.py:")
