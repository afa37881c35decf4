"""Trends: a direction only where chance would not do the same, and words for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.telemetry.rates import Rates
from holdfast.telemetry.trend import Direction, Trend, trend_of, words_for

HOUR_AND_DAY = ((60.0, 60), (3600.0, 24))


def trend(minutes, age_minutes=120):
    """Of events so many minutes ago."""
    rates, now = Rates(HOUR_AND_DAY), 100_000.0
    for minute in sorted(minutes, reverse=True):
        rates.record(now - minute * 60)
    quiet = min(minutes) * 60.0
    return trend_of(rates, now, age=age_minutes * 60.0, quiet=quiet, count=len(minutes))


def test_events_that_come_evenly_are_steady():
    found = trend([number * 0.5 for number in range(120)])
    assert found.direction is Direction.STEADY
    assert found.per_hour == pytest.approx(120, rel=0.03)
    assert str(found) == f"began 2 hours ago, {found.per_hour:,.0f} an hour, steady"


def test_more_in_the_newer_half_is_rising_and_fewer_is_falling():
    assert trend(list(range(20))).direction is Direction.RISING
    assert trend([40 + number * 0.5 for number in range(30)]).direction is Direction.FALLING


def test_a_difference_that_chance_makes_is_none():
    assert trend([1, 2, 40]).direction is Direction.STEADY
    assert trend([50]).direction is Direction.STEADY


def test_nothing_is_said_of_an_hour_in_the_first_ten_minutes():
    found = trend([0.1 * number for number in range(90)], age_minutes=9)
    assert (found.direction, found.per_hour) == (Direction.STEADY, 0.0)
    assert str(found) == "began 9 minutes ago, 90 so far"


def test_a_young_trouble_is_told_by_the_hour_all_the_same():
    found = trend([number * 0.25 for number in range(80)], age_minutes=20)
    assert found.per_hour == pytest.approx(240, rel=0.05)
    assert str(found).startswith("began 20 minutes ago, 2")


def test_one_that_has_stopped_is_quiet():
    assert str(trend([70, 80])) == "began 2 hours ago, quiet for 1 hour"


def test_thousands_are_told_apart():
    told = Trend(90_000.0, 0.0, 5, 5, 12_345.6, Direction.RISING)
    assert str(told) == "began 1 day ago, 12,346 an hour, rising"


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(0, 200_000), max_size=80),
    st.floats(0, 300_000),
    st.floats(0, 300_000),
)
def test_any_history_has_a_trend(moments, now, age):
    rates = Rates(HOUR_AND_DAY)
    for moment in moments:
        rates.record(moment)
    found = trend_of(rates, now, age=age, quiet=0.0, count=len(moments))
    assert found.per_hour >= 0.0
    assert 0 <= found.lately <= len(moments)
    assert str(found)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3.0, "0 seconds"),
        (0.9, "0 seconds"),
        (1.0, "1 second"),
        (59.9, "59 seconds"),
        (60.0, "1 minute"),
        (7_199.0, "1 hour"),
        (2 * 86_400.0, "2 days"),
        (1_000 * 86_400.0, "1,000 days"),
    ],
)
def test_a_length_of_time_in_words(seconds, words):
    assert words_for(seconds) == words
