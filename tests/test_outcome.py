"""How a call ended, as values that hold nothing of the call."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Fallback, FallbackChain, Pipeline
from holdfast.outcome import LONGEST_MESSAGE, Attempt, Outcome, Report, describe, report_of


def test_a_value_is_unwrapped():
    outcome = Outcome("picture", attempts=1)
    assert outcome.ok
    assert outcome.unwrap() == "picture"


def test_none_is_a_value_too():
    assert Outcome(None).ok
    assert Outcome(None).unwrap() is None


def test_an_error_is_raised_as_it_is():
    error = KeyError("x")
    outcome = Outcome(error=error)
    assert not outcome.ok
    with pytest.raises(KeyError) as raised:
        outcome.unwrap()
    assert raised.value is error


def test_raising_leaves_no_cycle_behind():
    class OwnError(Exception):
        pass

    def fail() -> weakref.ref[OwnError]:
        outcome = Outcome(error=OwnError())
        known = weakref.ref(outcome.error)
        try:
            outcome.unwrap()
        except OwnError:
            del outcome
        return known

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("value", [Outcome(1), Attempt(1, "x", 1.0, None), Report()])
def test_all_of_it_is_frozen(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, 7)


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (Attempt(1, "KeyError", 0.25, 2.0), "attempt 1 failed after 0.25 s: KeyError; waited 2 s"),
        (Attempt(2, "KeyError", None, 0.0), "attempt 2 failed: KeyError; waited 0 s"),
        (Attempt(3, "KeyError", 1.0, None), "attempt 3 failed after 1 s: KeyError"),
        (
            Attempt(3, "KeyError", 1.0, None, "all 3 attempts are used up"),
            "attempt 3 failed after 1 s: KeyError; not repeated: all 3 attempts are used up",
        ),
    ],
)
def test_an_attempt_reads_as_one_line(attempt, words):
    assert str(attempt) == words


class UnreadableError(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (UnreadableError(), "UnreadableError: (its message cannot be read)"),
        (ValueError("a\x1b[31mb"), "ValueError: a\N{REPLACEMENT CHARACTER}[31mb"),
    ],
)
def test_an_error_is_described_by_type_and_message(error, words):
    assert describe(error) == words


@given(st.text(max_size=50), st.integers(1, 400))
def test_a_description_is_bounded_and_printable_whatever_the_message(text, times):
    told = describe(ValueError(text * times))
    assert len(told) <= len("ValueError: ") + LONGEST_MESSAGE
    assert "\x1b" not in told
    assert "\x00" not in told
    told.encode()


def test_a_huge_message_costs_little():
    assert len(describe(ValueError("x" * 10_000_000))) < 600


@pytest.mark.parametrize("mark", [None, "text", 7])
def test_an_error_that_never_passed_a_policy_has_no_report(mark):
    error = KeyError()
    if mark is not None:
        error.__holdfast__ = mark
    assert report_of(error) is None


def test_an_outcome_says_what_was_changed_to_get_it():
    def fails():
        raise ConnectionError

    assert Pipeline(Fallback(7)).call_outcome(int).changes == ()
    told = Pipeline(Fallback(7, name="spare")).call_outcome(fails)
    assert told.value == 7
    assert told.changes == ("spare: used in place of ConnectionError",)
    chain = FallbackChain("render").add_fallback(fails).add_fallback(int)
    assert chain.call_outcome().changes == ("render: target 'int' gave the result",)
