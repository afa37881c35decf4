"""When a server asked to be called again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import CircuitBreakerOpenError
from holdfast.policies.retry_after import read, retry_after_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
WALL = NOW.timestamp()


class HttpError(Exception):
    """As HTTP clients raise them."""

    def __init__(self, headers: object = None, response: object = None) -> None:
        super().__init__("503")
        if headers is not None:
            self.headers = headers
        if response is not None:
            self.response = response


class Response:
    """As HTTP clients return them."""

    def __init__(self, headers: object) -> None:
        self.headers = headers


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        (0, 0.0),
        (1.5, 1.5),
        (-3, 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (b"9", 9.0),
        ("-4", 0.0),
        (timedelta(minutes=2), 120.0),
        (timedelta(seconds=-1), 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
    ],
)
def test_all_ways_to_say_it_are_understood(value, seconds):
    assert read(value, WALL) == seconds


@pytest.mark.parametrize(
    "value",
    [None, "", "soon", "nan", "inf", "-inf", math.nan, math.inf, True, False, [], {}, b"\xff",
     "Mon, 99 Foo 2026 99:99:99 GMT", "1" * 5000, "Mon, 01 Jan 99999 00:00:00 GMT", object()],
)  # fmt: skip
def test_what_says_nothing_is_nothing(value):
    assert read(value, WALL) is None


def test_a_date_says_nothing_to_those_who_do_not_know_the_date():
    assert read(format_datetime(NOW, usegmt=True)) is None
    assert read("3") == 3.0


@given(st.text() | st.binary() | st.floats() | st.integers() | st.none() | st.booleans())
def test_whatever_a_server_sends_is_nothing_or_a_number_from_zero(value):
    seconds = read(value, WALL)
    assert seconds is None or 0.0 <= seconds < float("inf")


@given(st.integers(0, 10**8))
def test_a_date_is_as_far_away_as_it_is(seconds):
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert read(date, WALL) == seconds


@pytest.mark.parametrize("name", ["Retry-After", "retry-after"])
@pytest.mark.parametrize("where", ["headers", "response"])
def test_headers_are_found_on_the_error_and_on_its_response(name, where):
    headers = {name: "8"}
    error = HttpError(headers) if where == "headers" else HttpError(response=Response(headers))
    assert retry_after_of(error) == 8.0


def test_headers_that_are_no_dict_but_can_be_asked_are_asked():
    class Headers:
        def get(self, name: str) -> str | None:
            return {"Retry-After": "4"}.get(name)

    assert retry_after_of(HttpError(Headers())) == 4.0


def test_what_the_error_itself_says_comes_first():
    error = HttpError({"Retry-After": "8"})
    error.retry_after = 2
    assert retry_after_of(error) == 2.0
    assert retry_after_of(CircuitBreakerOpenError("api", retry_after=11.0)) == 11.0


def test_an_error_with_a_method_of_that_name_is_asked_for_its_headers():
    class OtherError(HttpError):
        def retry_after(self) -> int:
            return 99

    assert retry_after_of(OtherError({"Retry-After": "8"})) == 8.0


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, 7, "Retry-After: 3"])
def test_without_the_header_nothing_is_asked(headers):
    assert retry_after_of(HttpError(headers)) is None
    assert retry_after_of(ValueError()) is None


def test_a_group_asks_for_its_longest():
    inner = ExceptionGroup("h", [HttpError({"Retry-After": "9"})])
    group = ExceptionGroup("g", [HttpError({"Retry-After": "3"}), ValueError(), inner])
    assert retry_after_of(group) == 9.0
