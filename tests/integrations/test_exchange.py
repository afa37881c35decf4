"""The rules of an exchange, without a network."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Hedge, Outcome, Pipeline, RejectedError, Retry
from holdfast.errors import BadInputError, CircuitBreakerOpenError, ErrorCategory
from holdfast.integrations.exchange import (
    FAILED_STATUSES,
    CallersOwnError,
    ConnectionFailedError,
    Exchange,
    Protection,
    ResponseFailure,
    as_connection_error,
    is_small,
)
from holdfast.outcome import Err
from holdfast.policies.scope import current_scope
from holdfast.testing import FakeClock


class LostError(Exception):
    def __init__(self, message, *, request):
        super().__init__(message)
        self.request = request


def exchange(*, repeatable=True):
    return Exchange(FAILED_STATUSES, repeatable=repeatable)


def fail(one, response, status=503):
    assert one.keep(response)
    with pytest.raises(ResponseFailure) as failure:
        one.judge(response, status, {"Retry-After": "7"})
    return failure.value


def test_a_failure_says_when_to_come_back_and_whose_trouble_it_is():
    failure = fail(exchange(), "busy", 429)
    assert (failure.status, failure.response, failure.retry_after) == (429, "busy", 7.0)
    assert failure.category is ErrorCategory.NETWORK
    assert isinstance(failure, ConnectionError)


def test_a_retry_after_may_be_a_date():
    with FakeClock(wall=1_445_412_480.0):
        with pytest.raises(ResponseFailure) as failure:
            exchange().judge("x", 503, {"Retry-After": "Wed, 21 Oct 2015 07:29:00 GMT"})
    assert failure.value.retry_after == 60.0


def test_a_new_attempt_supersedes_the_failed_response_and_no_good_one():
    one = exchange()
    one.begin()
    fail(one, "busy")
    one.keep("good")
    assert one.begin() == ["busy"]
    assert one.begin() == []
    assert one.conclude(Outcome(value="good")) == []
    assert one.answer(Outcome(value="good")) == "good"


def test_all_but_the_winner_are_to_be_closed():
    one = exchange()
    one.keep("late")
    one.keep("good")
    assert one.conclude(Outcome(value="good")) == ["late"]


def test_an_interrupted_exchange_closes_everything():
    one = exchange()
    one.keep("good")
    fail(one, "busy")
    assert one.conclude(None) == ["good", "busy"]


def test_a_response_that_comes_after_the_end_is_not_kept():
    one = exchange()
    one.conclude(Outcome(value="instead"))
    assert not one.keep("late")


def test_the_last_response_is_handed_out_when_a_breaker_refuses_the_next_attempt():
    one = exchange()
    fail(one, "busy")
    outcome = Outcome(error=CircuitBreakerOpenError("api"))
    assert one.conclude(outcome) == []
    assert one.answer(outcome) == "busy"


def test_a_failure_whose_response_is_closed_already_is_not_handed_out():
    one = exchange()
    failure = fail(one, "closed")
    one.begin()
    outcome = Outcome(error=failure)
    assert one.conclude(outcome) == []
    with pytest.raises(ResponseFailure):
        one.answer(outcome)


def test_what_is_sent_once_is_not_begun_twice():
    one = exchange(repeatable=False)
    one.begin()
    with pytest.raises(RejectedError, match="not repeated"):
        one.begin()


def test_the_first_error_is_told_of_a_request_that_was_not_repeated():
    one, lost = exchange(repeatable=False), LostError("gone", request=1)
    one.fault(lost)
    outcome = Outcome(error=RejectedError("not repeated"))
    one.conclude(outcome)
    with pytest.raises(LostError) as caught:
        one.answer(outcome)
    assert caught.value is lost


def test_retries_fold_only_around_what_is_sent_once():
    with exchange(repeatable=True).governed():
        assert current_scope() is None
    with exchange(repeatable=False).governed():
        assert current_scope().folds
    assert current_scope() is None


def test_a_hedge_does_not_send_twice_what_is_sent_once():
    sent = []
    one = exchange(repeatable=False)

    async def attempt():
        one.begin()
        sent.append(1)
        await asyncio.sleep(1)
        one.keep("done")
        return one.judge("done", 200, {})

    with FakeClock() as clock:
        with one.governed():
            outcome = clock.run(Pipeline(Hedge(after=0.1)).outcome(attempt))
    assert one.conclude(outcome) == []
    assert one.answer(outcome) == "done"
    assert sent == [1]


def test_a_library_s_error_is_also_a_connection_error_and_keeps_what_it_is():
    lost = LostError("gone", request="GET /")
    twin = as_connection_error(lost)
    assert isinstance(twin, LostError)
    assert isinstance(twin, ConnectionError)
    assert isinstance(twin, ConnectionFailedError)
    assert (str(twin), twin.request, type(twin).__name__) == ("gone", "GET /", "LostError")
    assert Retry().worth(Err(twin))
    assert not Retry().worth(Err(lost))


def test_an_error_of_the_system_stays_as_it_is():
    error = ConnectionResetError("reset")
    assert as_connection_error(error) is error


def test_a_mistake_is_a_rejection_inside_and_itself_outside():
    one, wrong = exchange(), ValueError("no such scheme")
    inside = one.fault(wrong, (ValueError,))
    assert type(inside) is CallersOwnError
    outcome = Outcome(error=inside)
    one.conclude(outcome)
    with pytest.raises(ValueError, match="no such scheme") as caught:
        one.answer(outcome)
    assert caught.value is wrong


@pytest.mark.parametrize(
    ("method", "headers", "in_memory", "right"),
    [
        ("GET", {}, True, True),
        ("get", {}, True, True),
        ("TRACE", {}, True, True),
        ("PUT", {}, False, False),
        ("POST", {}, True, False),
        ("POST", {"Idempotency-Key": ""}, True, True),
        ("POST", {"Idempotency-Key": "k"}, False, False),
        ("BREW", {}, True, False),
    ],
)
def test_what_may_be_repeated(method, headers, in_memory, right):
    protection = Protection(Pipeline())
    assert protection.repeatable(method, headers, in_memory=in_memory) is right


@pytest.mark.parametrize(
    ("length", "right"),
    [
        ("0", True),
        ("65536", True),
        ("65537", False),
        ("-1", False),
        ("\u0663", False),
        ("", False),
        ("9" * 5000, False),
    ],
)
def test_a_body_is_small_only_if_it_says_so(length, right):
    assert is_small({"Content-Length": length}) is right


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retry_unsafe", "no"),
        ("failed_statuses", [500.5]),
        ("failed_statuses", [True]),
        ("failed_statuses", [99]),
        ("failed_statuses", [600]),
        ("failed_statuses", "500"),
        ("failed_statuses", 500),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_by_name(field, value):
    with pytest.raises(BadInputError, match=f"^{field} must be"):
        Protection(Retry(), **{field: value})
