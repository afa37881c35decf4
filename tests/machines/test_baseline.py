"""What is slow is told by what is usual, and what is usual is learned slowly."""

from __future__ import annotations

from math import inf, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.baseline import SlowBaseline


def learned(*durations, **settings):
    baseline = SlowBaseline(**settings)
    for seconds in durations:
        baseline.learn(seconds)
    return baseline


@settings(deadline=None, max_examples=40)
@given(seconds=st.floats(0.0, 1e5), count=st.integers(0, 200))
def test_work_that_always_takes_the_same_time_is_never_slow(seconds, count):
    assert not learned(*[seconds] * count).is_slow(seconds)


def test_jobs_of_75_seconds_are_never_slow_but_four_minutes_are():
    baseline = learned(*[75.0] * 200)
    assert not baseline.is_slow(75.0)
    assert not baseline.is_slow(200.0)
    assert baseline.is_slow(240.0)


def test_nothing_is_slow_until_enough_is_known():
    baseline = learned(*[1.0] * 19)
    assert baseline.expected() is None
    assert not baseline.is_slow(1e9)
    baseline.learn(1.0)
    assert baseline.expected() == pytest.approx(1.0)
    assert baseline.is_slow(3.1)


def test_a_few_slow_ones_during_warmup_do_not_spoil_it():
    assert learned(*[1.0] * 14, *[500.0] * 6).expected() == pytest.approx(1.0)


def test_one_slow_sample_in_four_hardly_moves_what_is_usual():
    rng = Random(1)
    baseline = learned(*[1.0] * 20)
    for _ in range(2_000):
        baseline.learn(1_000.0 if rng.random() < 0.25 else rng.lognormvariate(0.0, 0.2))
    assert 0.8 < baseline.expected() < 1.5
    assert baseline.is_slow(1_000.0)


@pytest.mark.parametrize(("before", "after"), [(1.0, 20.0), (20.0, 1.0)])
def test_a_lasting_new_normal_is_learned_but_not_at_once(before, after):
    baseline = learned(*[before] * 50, *[after] * 20)
    assert baseline.expected() == pytest.approx(before, rel=0.3)
    for _ in range(500):
        baseline.learn(after)
    assert baseline.expected() == pytest.approx(after, rel=0.05)
    assert not baseline.is_slow(after)


def test_what_is_too_short_to_measure_is_never_slow():
    assert not learned(*[1e-6] * 50).is_slow(0.002)


@pytest.mark.parametrize("seconds", [nan, inf, -inf])
def test_what_is_no_duration_is_refused(seconds):
    with pytest.raises(BadInputError, match="seconds"):
        SlowBaseline().learn(seconds)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("factor", 1.0),
        ("factor", nan),
        ("warmup", 0),
        ("warmup", 10_001),
        ("pace", 0.0),
        ("pace", 1.1),
        ("reach", inf),
        ("least", 0.0),
    ],
)
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        SlowBaseline(**{field: value})
