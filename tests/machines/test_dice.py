"""Chance that can be repeated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machines.dice import chance_at, word_at

seeds = st.integers(0, 2**64 - 1)


def test_the_draws_are_those_of_the_published_generator():
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [word_at(1234567, number) for number in range(5)] == published


@given(seed=seeds, number=st.integers(0, 2**40))
def test_every_chance_is_at_least_0_and_below_1(seed, number):
    assert 0.0 <= chance_at(seed, number) < 1.0


@given(seed=st.integers(0, 2**80), number=st.integers(0, 1000))
def test_the_same_seed_and_number_give_the_same_draw(seed, number):
    assert chance_at(seed, number) == chance_at(seed, number)
    assert word_at(seed, number) == word_at(seed % 2**64, number)


def test_draws_are_spread_evenly():
    tenths = [0] * 10
    for number in range(20_000):
        tenths[int(chance_at(42, number) * 10)] += 1
    assert all(1_850 < tenth < 2_150 for tenth in tenths)


def test_neighbouring_seeds_have_nothing_to_do_with_each_other():
    both = sum(chance_at(1, n) < 0.5 and chance_at(2, n) < 0.5 for n in range(10_000))
    assert 2_350 < both < 2_650
