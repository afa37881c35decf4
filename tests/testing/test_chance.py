"""Chance that is told beforehand."""

from __future__ import annotations

import math

import pytest

from holdfast import Backoff, BadInputError, Retry
from holdfast.ports import ambient
from holdfast.testing import FakeChance, FakeClock, FixedChance


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    def draw(seed):
        with FakeChance(seed) as chance:
            numbers = [ambient.chance() for _ in range(20)]
        assert chance.drawn == numbers
        return numbers

    assert draw(1) == draw(1) != draw(2)
    assert all(0 <= number < 1 for number in draw("text"))


def test_one_fixed_number_is_for_ever():
    with FixedChance(0.25):
        assert [ambient.chance() for _ in range(5)] == [0.25] * 5


def test_several_fixed_numbers_come_in_turn_and_then_it_says_so():
    with FixedChance([0.1, 0.9]) as chance:
        assert [ambient.chance(), ambient.chance()] == [0.1, 0.9]
        with pytest.raises(RuntimeError, match="2 numbers, and this is draw 3"):
            ambient.chance()
    assert chance.drawn == [0.1, 0.9]


def test_fixed_numbers_can_begin_again():
    with FixedChance([0.1, 0.9], repeat=True):
        assert [ambient.chance() for _ in range(5)] == [0.1, 0.9, 0.1, 0.9, 0.1]


@pytest.mark.parametrize("values", [[], 1.0, -0.1, [0.5, math.nan], [True]])
def test_numbers_that_chance_never_gives_are_refused(values):
    with pytest.raises(BadInputError, match="values must"):
        FixedChance(values)


def test_real_chance_comes_back_also_after_nesting():
    real = ambient.chance
    with FixedChance(0.1):
        with FakeChance(3):
            pass
        assert ambient.chance() == 0.1
    assert ambient.chance == real


def test_fixed_chance_fixes_the_jitter():
    def fail():
        raise ConnectionError

    retry = Retry(max_attempts=4, backoff=Backoff.exponential(1.0, 60.0, 2.0, "full"))
    with FakeClock() as clock, FixedChance([0.0, 0.5, 0.75]), pytest.raises(ConnectionError):
        retry.call(fail)
    assert clock.slept == [1.0, 3.0]
