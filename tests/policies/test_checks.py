"""Refusals of settings: each names the field, what is right, and the value."""

from __future__ import annotations

import math

import pytest

from holdfast.errors import BadInputError
from holdfast.policies import checks

NOT_NUMBERS = [True, False, "1", None, [], 1j, math.nan]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadInputError, match=r"^x must be .*, got "):
        checks.number("x", value, at_least=0)


@pytest.mark.parametrize(
    ("value", "limits", "words"),
    [
        (-1, {"at_least": 0}, "x must be at least 0, got -1"),
        (0, {"above": 0}, "x must be above 0, got 0"),
        (11, {"at_least": 0, "at_most": 10}, "x must be at least 0 and at most 10, got 11"),
        (math.inf, {"at_least": 0}, "x must be at least 0 and finite, got inf"),
        (-math.inf, {"at_most": 0}, "x must be at most 0 and finite, got -inf"),
        (math.nan, {}, "x must be a finite number, got nan"),
        (-1, {"above": 0, "unit": "seconds"}, "x must be above 0 seconds, got -1"),
    ],
)
def test_a_number_out_of_its_range_is_refused_in_plain_words(value, limits, words):
    with pytest.raises(BadInputError) as raised:
        checks.number("x", value, **limits)
    assert str(raised.value) == words


@pytest.mark.parametrize("value", [0, 0.0, 5, 10.0, 1e-300])
def test_a_number_in_its_range_is_let_through(value):
    checks.number("x", value, at_least=0, at_most=10)


def test_infinity_is_let_through_where_it_makes_sense():
    checks.number("x", math.inf, at_least=0, finite=False)
    with pytest.raises(BadInputError):
        checks.number("x", math.nan, at_least=0, finite=False)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "5", None])
def test_what_is_no_length_of_time_is_refused(value):
    with pytest.raises(BadInputError, match=r"^wait must be above 0.* seconds, got "):
        checks.seconds("wait", value)


def test_no_time_at_all_is_let_through_on_request():
    checks.seconds("wait", 0, zero=True)
    checks.seconds("wait", None, optional=True)
    with pytest.raises(BadInputError, match=r"wait must be at least 0 seconds, got -0\.1"):
        checks.seconds("wait", -0.1, zero=True)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, math.nan])
def test_what_is_no_whole_number_from_one_is_refused(value):
    with pytest.raises(BadInputError, match=r"^n must be a whole number of at least 1, got "):
        checks.whole("n", value, at_least=1)


@pytest.mark.parametrize("value", [1, "text", object()])
def test_what_cannot_be_called_is_no_hook(value):
    with pytest.raises(BadInputError, match=r"^on_retry must be a function or None, got "):
        checks.hook("on_retry", value)
    checks.hook("on_retry", None)
    checks.hook("on_retry", print)


@pytest.mark.parametrize("value", ["", "   ", "\t\n", "x" * 201, b"name", 7, None])
def test_what_cannot_be_a_name_is_refused(value):
    with pytest.raises(BadInputError, match=r"^name must be a text of 1 to 200 characters, got "):
        checks.label("name", value)


@pytest.mark.parametrize("value", ["x", "x" * 200, "grün", "a b"])
def test_what_can_be_a_name_is_let_through(value):
    checks.label("name", value)


def test_what_is_of_another_kind_is_refused():
    with pytest.raises(BadInputError, match="budget must be a dict, got 3"):
        checks.instance("budget", 3, dict)
    checks.instance("budget", None, dict)
    with pytest.raises(BadInputError, match="budget must be a dict, got None"):
        checks.instance("budget", None, dict, optional=False)


def test_a_huge_value_does_not_make_a_huge_message():
    with pytest.raises(BadInputError) as raised:
        checks.label("name", "x" * 1_000_000)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("value", [10**400, 10**5000], ids=["400", "5000"])
def test_a_number_too_large_to_reckon_with_is_refused_like_any_other(value):
    with pytest.raises(BadInputError, match=r"^rate must be above 0 and finite, got a number of "):
        checks.number("rate", value, above=0)
    with pytest.raises(BadInputError, match=r"^size must be"):
        checks.whole("size", value, at_least=1)
    with pytest.raises(BadInputError, match=r"^at must be"):
        checks.number("at", value, finite=False)
