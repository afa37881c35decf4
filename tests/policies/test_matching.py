"""Which failures a policy is about."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Cache, CircuitBreaker, Fallback, Retry
from holdfast.errors import (
    BadInputError,
    BulkheadFullError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    ErrorCategory,
    HoldfastError,
    QueueTimeoutError,
    RejectedError,
)
from holdfast.outcome import Err
from holdfast.policies.matching import (
    any_leaf,
    categorise,
    classifier,
    compile_condition,
    counts_as_failure,
    every_leaf,
    leaves,
)


class OddError(Exception):
    """An error that knows its category."""

    category = ErrorCategory.MODEL


def test_a_type_matches_its_subclasses_and_nothing_else():
    test = compile_condition("on", OSError)
    assert test(ConnectionResetError())
    assert not test(ValueError())


@pytest.mark.parametrize("some", [list, tuple, set, frozenset])
def test_several_conditions_match_what_any_of_them_matches(some):
    test = compile_condition("on", some([KeyError, ErrorCategory.MEMORY, _is_seven]))
    assert test(KeyError())
    assert test(MemoryError())
    assert test(ValueError("7"))
    assert not test(ValueError("8"))


def _is_seven(error: BaseException) -> bool:
    return str(error) == "7"


def test_no_condition_matches_nothing():
    assert not compile_condition("on", ())(ValueError())


@pytest.mark.parametrize(
    "bad", [None, 7, "OSError", int, object(), [OSError, None], [[OSError]], (OSError, "x")]
)
def test_what_is_no_condition_is_refused_by_name(bad):
    with pytest.raises(BadInputError, match=r"^on must be exception types, .*, got "):
        compile_condition("on", bad)


@pytest.mark.parametrize(
    "kind", [BaseException, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
def test_cancellation_and_exits_can_never_be_named(kind):
    with pytest.raises(BadInputError, match=f"subclasses of Exception, got {kind.__name__}"):
        compile_condition("on", (OSError, kind))


def test_a_rejection_is_not_matched_by_a_type_it_merely_inherits_from():
    full = QueueTimeoutError("nobody came")
    assert isinstance(full, TimeoutError)
    assert not compile_condition("on", TimeoutError)(full)
    assert not compile_condition("on", HoldfastError)(full)


@pytest.mark.parametrize("kind", [RejectedError, QueueTimeoutError, Exception])
def test_a_rejection_is_matched_when_it_is_meant(kind):
    assert compile_condition("on", kind)(QueueTimeoutError("nobody came"))


def test_naming_one_rejection_does_not_let_others_in_by_inheritance():
    test = compile_condition("on", (TimeoutError, CircuitBreakerOpenError))
    assert test(CircuitBreakerOpenError("api"))
    assert not test(QueueTimeoutError("nobody came"))


def test_our_own_deadline_is_a_timeout_like_any_other():
    assert compile_condition("on", TimeoutError)(DeadlineExceededError("late"))


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (MemoryError(), ErrorCategory.MEMORY),
        (ConnectionRefusedError(), ErrorCategory.NETWORK),
        (TimeoutError(), ErrorCategory.NETWORK),
        (ValueError(), ErrorCategory.VALIDATION),
        (TypeError(), ErrorCategory.VALIDATION),
        (PermissionError(), ErrorCategory.SYSTEM),
        (KeyError(), ErrorCategory.UNKNOWN),
        (OddError(), ErrorCategory.MODEL),
    ],
)
def test_the_type_alone_tells_the_category(error, category, monkeypatch):
    monkeypatch.setattr(classifier, "categorise", categorise)
    assert categorise(error) is category
    assert compile_condition("on", category)(error)


def test_a_better_classifier_takes_effect_in_conditions_made_before(monkeypatch):
    test = compile_condition("on", ErrorCategory.MODEL)
    assert not test(KeyError())
    monkeypatch.setattr(classifier, "categorise", lambda _: ErrorCategory.MODEL)
    assert test(KeyError())


# Groups ---------------------------------------------------------------------------------

plain = st.sampled_from([OSError, KeyError, ValueError]).map(lambda kind: kind("x"))
errors = st.recursive(
    plain,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda e: ExceptionGroup("g", e)),
)


@given(errors)
def test_a_group_is_its_leaves_however_deep(error):
    found = list(leaves(error))
    assert found
    assert not any(isinstance(leaf, BaseExceptionGroup) for leaf in found)
    test = compile_condition("on", OSError)
    assert every_leaf(test, error) == all(isinstance(leaf, OSError) for leaf in found)
    assert any_leaf(test, error) == any(isinstance(leaf, OSError) for leaf in found)


def test_a_cancellation_among_the_leaves_is_never_worth_repeating():
    group = BaseExceptionGroup("g", [OSError(), asyncio.CancelledError()])
    assert not every_leaf(compile_condition("on", Exception), group)
    assert not every_leaf(lambda _: True, KeyboardInterrupt())
    assert not any_leaf(lambda _: True, BaseExceptionGroup("g", [KeyboardInterrupt()]))


def test_breakers_count_everything_but_rejections():
    assert counts_as_failure(ValueError())
    assert counts_as_failure(DeadlineExceededError("late"))
    assert not counts_as_failure(BulkheadFullError("full"))
    assert not counts_as_failure(QueueTimeoutError("waited"))


@pytest.mark.parametrize("none", [[], (), set(), frozenset()])
@pytest.mark.parametrize(
    "make",
    [
        lambda on: CircuitBreaker(on=on),
        lambda on: Fallback(None, on=on),
        lambda on: Cache(9, on=on),
        lambda on: Retry(on=on),
    ],
)
def test_a_policy_about_no_failure_at_all_is_refused(make, none):
    with pytest.raises(BadInputError, match="on must name at least one failure"):
        make(none)


def test_a_policy_about_results_alone_need_name_no_failure():
    assert CircuitBreaker(on=[], failure_on_result=bool).judge(Err(ValueError())) is None
    assert CircuitBreaker(on=[], slow_rate=0.5).measures
    assert Fallback(2, on=[], on_result=bool).call(int, 1) == 2
