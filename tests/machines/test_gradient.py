"""The limit follows what the calls themselves say, whether they last a millisecond or an hour."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.gradient import GradientLimit


def drive(limit, *, calls, seconds, now=0.0, in_flight=None, dropped=False):
    """A full house of calls of this duration, one after the other in each place."""
    for _ in range(calls):
        now += seconds / limit.limit
        limit.sample(now, seconds, in_flight or limit.limit, dropped)
    return now


@settings(deadline=None, max_examples=60)
@given(
    samples=st.lists(
        st.tuples(
            st.floats(-10.0, 1e4),
            st.sampled_from([nan, inf, -1.0, 0.0, 0.001, 1.0, 2400.0]),
            st.integers(0, 100),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_the_limit_never_leaves_its_bounds(samples):
    limit, now = GradientLimit(5, 2, 9), 0.0
    for step, seconds, in_flight, dropped in samples:
        now += step
        limit.sample(now, seconds, in_flight, dropped)
        assert 2 <= limit.limit <= 9


def test_it_grows_while_calls_take_what_they_always_took():
    limit = GradientLimit(initial=20, maximum=60)
    drive(limit, calls=20_000, seconds=0.05)
    assert limit.limit == 60


def test_it_does_not_grow_on_the_word_of_calls_that_did_not_need_it():
    limit = GradientLimit(initial=20)
    drive(limit, calls=5_000, seconds=0.05, in_flight=9)
    assert limit.limit == 20


def test_it_shrinks_when_calls_take_much_longer_than_usual():
    limit = GradientLimit(initial=100, maximum=100)
    now = drive(limit, calls=20_000, seconds=0.05)
    drive(limit, calls=2_000, seconds=0.5, now=now)
    assert limit.limit < 30


def test_a_window_in_which_one_call_in_ten_was_dropped_takes_a_tenth_however_many_more():
    few, some, all_of_them = (GradientLimit(initial=100) for _ in range(3))
    for n in range(101):
        few.sample(n * 0.01, 1.0, 100, dropped=n < 9)
        some.sample(n * 0.01, 1.0, 100, dropped=n < 10)
        all_of_them.sample(n * 0.01, 1.0, 100, dropped=True)
    assert (few.limit, some.limit, all_of_them.limit) == (100, 90, 90)


def test_at_the_start_it_searches_by_halves_more_and_goes_back_when_calls_grow_slow():
    limit, seen, now = GradientLimit(initial=10, maximum=1_000), [], 0.0
    for _ in range(3_000):
        seconds = 0.05 * max(1.0, limit.limit / 20)
        now += seconds / limit.limit
        limit.sample(now, seconds, limit.limit, dropped=False)
        if seen[-1:] != [limit.limit]:
            seen.append(limit.limit)
    assert seen[:5] == [10, 15, 22, 33, 22]
    assert limit.limit < 30


def test_a_lasting_overload_does_not_become_what_is_usual():
    limit, now = GradientLimit(initial=10), 0.0
    for _ in range(400_000):
        seconds = 0.05 * max(1.0, limit.limit / 20)
        now += seconds / limit.limit
        limit.sample(now, seconds, limit.limit, dropped=False)
    assert now > 600.0
    assert limit.limit < 32


def test_drops_alone_bring_it_down_to_the_minimum():
    limit = GradientLimit(initial=50, minimum=2)
    drive(limit, calls=5_000, seconds=0.1, dropped=True)
    assert limit.limit == 2


def test_a_window_lasts_250_ms_and_ten_samples():
    by_count, by_time = GradientLimit(initial=10), GradientLimit(initial=10)
    for n in range(1_000):
        by_count.sample(n * 0.0002, 0.001, 10, dropped=False)
    for n in range(9):
        by_time.sample(n * 1.0, 0.001, 10, dropped=False)
    assert by_count.limit == by_time.limit == 10
    by_count.sample(0.25, 0.001, 10, dropped=False)
    for n in (9, 10, 11, 12):
        by_time.sample(n * 1.0, 0.001, 10, dropped=False)
    assert by_count._windows == by_time._windows == 1


def test_calls_of_a_millisecond_and_of_forty_minutes_both_move_it():
    quick, slow = GradientLimit(initial=2, maximum=50), GradientLimit(initial=2, maximum=50)
    drive(quick, calls=60_000, seconds=0.001)
    drive(slow, calls=20, seconds=2400.0)
    assert quick.limit > 2
    assert slow.limit > 2


def test_after_a_lasting_slow_phase_the_usual_duration_comes_down_again():
    limit = GradientLimit(initial=50, maximum=50)
    now = drive(limit, calls=2_000, seconds=1.0)
    now = drive(limit, calls=60_000, seconds=0.05, now=now)
    assert limit.limit == 50
    drive(limit, calls=2_000, seconds=0.5, now=now)
    assert limit.limit < 25


def test_a_duration_that_is_none_does_not_spoil_what_was_learned():
    limit = GradientLimit(initial=100, maximum=100)
    now = drive(limit, calls=20_000, seconds=0.05)
    for seconds in (nan, inf, -1.0):
        limit.sample(now, seconds, 100, dropped=False)
    drive(limit, calls=2_000, seconds=0.5, now=now)
    assert limit.limit < 30


def test_a_single_worker_does_not_run_away():
    """Twice as many at once take twice as long: more in flight gains nothing."""
    limit, now = GradientLimit(initial=1), 0.0
    for _ in range(3_000):
        now += 1.0
        limit.sample(now, float(limit.limit), limit.limit, dropped=False)
    assert limit.limit < 30


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minimum", 0),
        ("initial", 2_000),
        ("maximum", 19),
        ("tolerance", 0.5),
        ("smoothing", 0),
        ("smoothing", nan),
        ("queue", 0),
        ("window_samples", 0),
        ("window_seconds", -1.0),
        ("patience", 0.1),
        ("patience", inf),
    ],
)
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        GradientLimit(**{field: value})
