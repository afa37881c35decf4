"""Waits grow, stay within bounds, and never overflow."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.machines.backoff import exponential, spread

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

seconds = st.floats(0.0, 1e9, allow_nan=False)
chances = st.floats(0.0, 1.0, exclude_max=True)


def test_each_wait_is_the_base_times_the_one_before():
    waits = [exponential(n, initial=0.5, base=2.0, maximum=100.0) for n in (1, 2, 3, 4)]
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0])


def test_the_maximum_is_reached_exactly_and_kept():
    waits = [exponential(n, initial=1.0, base=3.0, maximum=10.0) for n in (3, 4, 50, 5_000)]
    assert waits == pytest.approx([9.0, 10.0, 10.0, 10.0])


def test_a_base_of_one_never_grows():
    assert exponential(1_000, initial=2.0, base=1.0, maximum=60.0) == pytest.approx(2.0)


def test_without_an_initial_wait_there_is_none():
    assert exponential(9, initial=0.0, base=2.0, maximum=60.0) == 0.0


@pytest.mark.parametrize("attempt", [0, -3])
def test_attempts_before_the_first_wait_like_the_first(attempt):
    assert exponential(attempt, initial=1.5, base=2.0, maximum=60.0) == pytest.approx(1.5)


@pytest.mark.parametrize("attempt", [1_100, sys.maxsize])
def test_no_maximum_at_all_is_no_overflow(attempt):
    assert exponential(attempt, initial=1.0, base=2.0, maximum=math.inf) > 1e300


@relaxed
@given(
    attempt=st.integers(-10, 10**15),
    initial=st.floats(0.0, 1e6),
    base=st.floats(1.0, 1e6),
    above=st.floats(0.0, 1e6),
)
def test_no_wait_is_negative_or_above_the_maximum(attempt, initial, base, above):
    maximum = initial + above
    assert 0.0 <= exponential(attempt, initial=initial, base=base, maximum=maximum) <= maximum


@relaxed
@given(delay=seconds, jitter=st.floats(0.0, 1.0), chance=chances, maximum=seconds)
def test_a_spread_wait_stays_within_its_share_and_the_maximum(delay, jitter, chance, maximum):
    moved = spread(delay, jitter=jitter, chance=chance, maximum=maximum)
    assert 0.0 <= moved <= maximum
    assert moved <= delay * (1.0 + jitter) * (1 + 1e-9)
    assert moved >= min(maximum, delay * (1.0 - jitter) * (1 - 1e-9))


def test_chance_decides_where_in_the_spread_a_wait_falls():
    moved = [spread(8.0, jitter=0.25, chance=chance, maximum=60.0) for chance in (0.0, 0.5, 0.75)]
    assert moved == pytest.approx([6.0, 8.0, 9.0])


def test_without_jitter_chance_changes_nothing():
    assert {spread(8.0, jitter=0.0, chance=c, maximum=60.0) for c in (0.0, 0.3, 0.99)} == {8.0}
