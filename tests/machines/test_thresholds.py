"""From a value to a level, with a way back that is lower than the way down."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.thresholds import Thresholds

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

positive = st.floats(0.001, 1e6)


@st.composite
def ladders(draw):
    restore = sorted(draw(st.lists(positive, min_size=1, max_size=4)))
    gap = draw(st.floats(0.001, 10.0))
    return Thresholds(tuple(value + gap for value in restore), tuple(restore))


def test_a_level_is_called_for_from_its_threshold_on_and_held_down_to_the_lower_one():
    rate = Thresholds((10, 20, 40), (5, 15, 30))
    assert [rate.wanted(v) for v in (0, 9.9, 10, 20, 39, 40, 1e9)] == [0, 0, 1, 2, 2, 3, 3]
    assert [rate.held(v) for v in (0, 4.9, 5, 14, 15, 29, 30)] == [0, 0, 1, 1, 2, 2, 3]


def test_without_restore_thresholds_they_are_four_fifths():
    assert Thresholds((10.0, 20.0)).restore == (8.0, 16.0)


def test_lists_become_tuples_so_that_nobody_changes_them_later():
    given_list = [10.0, 20.0]
    rate = Thresholds(given_list)
    given_list[0] = 99.0
    assert rate.degrade == (10.0, 20.0)


@relaxed
@given(ladders(), positive, positive)
def test_both_answers_grow_with_the_value_and_what_is_wanted_is_held(ladder, one, other):
    low, high = sorted((one, other))
    assert ladder.wanted(low) <= ladder.wanted(high)
    assert ladder.held(low) <= ladder.held(high)
    assert ladder.wanted(low) <= ladder.held(low)


@pytest.mark.parametrize(
    ("degrade", "restore", "told"),
    [
        ((), (), "degrade must be one or more thresholds"),
        (5.0, (), "degrade must be one or more thresholds"),
        ((0.0,), (), "degrade must hold numbers above 0"),
        ((math.nan,), (), "degrade must hold numbers above 0"),
        ((math.inf,), (), "degrade must hold numbers above 0"),
        ((True,), (), "degrade must hold numbers alone"),
        (("5",), (), "degrade must hold numbers alone"),
        ((5.0, 4.0), (), "degrade must not fall"),
        ((5.0, 6.0), (1.0,), "restore must have as many thresholds as degrade, which has 2"),
        ((5.0,), (5.0,), "restore must lie below degrade"),
        ((5.0,), (6.0,), "restore must lie below degrade"),
        ((5.0, 6.0), (4.0, 3.0), "restore must not fall"),
        ((5.0,), (-1.0,), "restore must hold numbers above 0"),
    ],
)
def test_ladders_that_cannot_work_are_refused(degrade, restore, told):
    with pytest.raises(BadInputError, match=told):
        Thresholds(degrade, restore)
