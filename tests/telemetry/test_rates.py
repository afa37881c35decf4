"""Rates, against a list of every event."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.telemetry.rates import MINUTES_AND_HOURS, Rates

SMALL = ((1.0, 4), (3.0, 5), (6.0, 6))
quick = settings(deadline=None, max_examples=200)
moves = st.lists(st.tuples(st.floats(-20.0, 12.0), st.booleans()), max_size=60)


def width_for(window, resolutions):
    return next(width for width, buckets in resolutions if window <= width * buckets)


@quick
@given(moves, st.floats(-50.0, 50.0), st.floats(0.01, 36.0))
def test_a_window_holds_its_events_and_at_most_those_of_one_bucket_more(steps, start, window):
    rates, events, now, latest = Rates(SMALL), [], start, float("-inf")
    for step, records in steps:
        now += step
        latest = max(latest, now)
        if records:
            rates.record(now)
            events.append(now)
        seen = max(now, latest // 1.0)
        count = rates.count(window, now)
        width = width_for(window, SMALL)
        assert sum(at > seen - window for at in events) <= count
        assert count <= sum(at > seen - window - width - 1e-9 for at in events)
        assert rates.rate(window, now) == count / window
        assert window <= rates.covered(window, now) + 1e-9 <= window + width + 2e-9


@quick
@given(moves, st.floats(-50.0, 50.0))
def test_a_series_has_each_event_in_its_bucket(steps, start):
    rates, events, now, latest = Rates(SMALL), [], start, float("-inf")
    for step, records in steps:
        now += step
        latest = max(latest, now)
        if records:
            rates.record(now)
            events.append(now)
        for width, buckets in SMALL:
            last = max(now, latest) // width
            expected = [
                sum(at // width == tick for at in events)
                for tick in range(int(last) - buckets, int(last) + 1)
            ]
            assert rates.series(width, now) == expected


def test_the_hot_path_of_an_owner_counts_as_recording_does():
    short, long = Rates(), Rates()
    for step in range(5_000):
        at = step * 0.37
        long.record(at)
        if short.since <= at < short.until:
            short.total += 1
        else:
            short.record(at)
    for window in (1.0, 60.0, 120.0, 600.0, 1800.0):
        assert short.count(window, 1850.0) == long.count(window, 1850.0)


def test_a_clock_that_steps_back_hides_nothing():
    rates = Rates()
    for second in range(100):
        rates.record(1_000.0 + second)
    assert rates.count(60.0, 500.0) >= 60
    rates.record(500.0)
    assert rates.count(60.0, 1_099.0) in (60, 61)
    assert rates.count(3_600.0, 1_099.0) == 101


def test_a_jump_into_the_future_forgets_everything_at_once():
    rates = Rates()
    rates.record(0.0)
    assert rates.count(rates.reach, 1e12) == 0
    rates.record(1e12)
    assert rates.count(1.0, 1e12) == 1


def test_an_event_beyond_every_ring_is_in_no_window():
    rates = Rates()
    rates.record(10 * rates.reach)
    rates.record(0.0)
    assert rates.count(rates.reach, 10 * rates.reach) == 1


def test_nothing_recorded_is_nothing_counted():
    assert Rates().count(60.0, -5.0) == 0
    assert Rates().series(60.0, 123.0) == [0] * 181


@pytest.mark.parametrize(
    "window", [0.0, -1.0, float("nan"), float("inf"), 400 * 3600 + 1.0, "an hour"]
)
def test_a_window_out_of_reach_is_refused(window):
    with pytest.raises(BadInputError, match=r"window must be above 0 and at most 1\.44e"):
        Rates().count(window, 0.0)


@pytest.mark.parametrize(
    "resolutions",
    [
        (),
        ((0.0, 5),),
        ((1.0, 0),),
        ((2.0, 5), (3.0, 5)),
        ((1.0, 60), (60.0, 1)),
        ((60.0, 5), (1.0, 900)),
    ],
)
def test_resolutions_that_do_not_fit_together_are_refused(resolutions):
    with pytest.raises(BadInputError):
        Rates(resolutions)


def test_a_series_of_an_unknown_width_is_refused():
    with pytest.raises(BadInputError, match=r"width must be one of \[1.0, 60.0, 3600.0\]"):
        Rates(MINUTES_AND_HOURS).series(5.0, 0.0)
