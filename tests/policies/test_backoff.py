"""How the waits grow, and how they are spread."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.policies.backoff import Backoff

NAN = math.nan
chances = st.floats(0.0, 1.0, exclude_max=True)
jitters = st.sampled_from(["full", "equal", "decorrelated"]) | st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"initial": -0.1}, "initial must be at least 0 seconds, got -0.1"),
        ({"initial": True}, "initial must be at least 0 seconds, got True"),
        ({"initial": "1"}, "initial must be at least 0 seconds, got '1'"),
        ({"initial": NAN}, "initial must be at least 0 seconds, got nan"),
        ({"initial": 5.0, "maximum": 4.0}, r"maximum must be at least initial \(5.0\), got 4.0"),
        ({"maximum": NAN}, "maximum must be .*, got nan"),
        ({"base": 0.5}, "base must be at least 1, got 0.5"),
        ({"base": NAN}, "base must be at least 1, got nan"),
        ({"base": math.inf}, "base must be at least 1 and finite, got inf"),
        ({"step": -1.0}, "step must be at least 0 seconds, got -1.0"),
        ({"jitter": -0.01}, "jitter must be at least 0 and at most 1, got -0.01"),
        ({"jitter": 1.01}, "jitter must be at least 0 and at most 1, got 1.01"),
        ({"jitter": NAN}, "jitter must be .*, got nan"),
        ({"jitter": "some"}, "jitter must be between 0 and 1, or full, equal or decorrelated"),
        ({"growth": "wild"}, "growth must be exponential, linear, fixed or custom, got 'wild'"),
        ({"growth": "custom"}, "delays must be a function exactly when growth is custom, got None"),
        ({"delays": abs}, "delays must be a function exactly when growth is custom"),
    ],
)
def test_waits_that_make_no_sense_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Backoff(**chosen)


@pytest.mark.parametrize("delay", [-1.0, NAN, True, "1", math.inf])
def test_a_fixed_wait_that_makes_no_sense_is_refused_by_its_own_name(delay):
    with pytest.raises(BadInputError, match="delay must be at least 0"):
        Backoff.fixed(delay)


def test_the_defaults_are_those_of_the_contract():
    assert Backoff() == Backoff.exponential(initial=1.0, maximum=60.0, base=2.0, jitter=0.25)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backoff().initial = 7


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        (Backoff.exponential(1.0, 60.0, 2.0, 0.0), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Backoff.exponential(0.5, 5.0, 3.0, 0.0), [0.5, 1.5, 4.5, 5, 5]),
        (Backoff.linear(1.0, 2.0, 6.0, 0.0), [1, 3, 5, 6, 6]),
        (Backoff.fixed(5.0), [5, 5, 5, 5]),
        (Backoff.fixed(0.0), [0, 0]),
        (Backoff.custom(lambda n: n**2, maximum=10.0), [1, 4, 9, 10]),
    ],
)
def test_each_kind_grows_as_it_says(waits, expected):
    assert [waits.delay(n, 0.5) for n in range(1, len(expected) + 1)] == pytest.approx(expected)


@pytest.mark.parametrize("odd", [-1.0, NAN, None, "2"])
def test_an_odd_answer_of_a_custom_function_counts_as_no_wait(odd):
    assert Backoff.custom(lambda _: odd).delay(1, 0.5) == 0.0


def test_a_custom_function_that_answers_infinity_means_the_maximum():
    assert Backoff.custom(lambda _: math.inf, maximum=9.0).delay(1, 0.5) in (0.0, 9.0)


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [(0.0, 8.0, 8.0), (0.25, 6.0, 10.0), (1.0, 0.0, 16.0), ("full", 0.0, 8.0), ("equal", 4.0, 8.0)],
)
def test_jitter_spreads_the_wait_as_far_as_it_says(jitter, low, high):
    waits = Backoff.exponential(8.0, 100.0, 2.0, jitter)
    assert waits.delay(1, 0.0) == pytest.approx(low)
    assert waits.delay(1, 0.999999999) == pytest.approx(high)


def test_decorrelated_waits_lie_between_the_first_and_three_times_the_last():
    waits = Backoff.exponential(2.0, 100.0, jitter="decorrelated")
    assert waits.delay(1, 0.0) == 2.0
    assert waits.delay(1, 0.5) == 4.0
    assert waits.delay(2, 0.5, previous=10.0) == 16.0
    assert waits.delay(9, 0.999999999, previous=90.0) == 100.0


@given(
    attempt=st.integers(1, 10**9),
    chance=chances,
    initial=st.floats(0.0, 100.0),
    base=st.floats(1.0, 100.0),
    jitter=jitters,
    previous=st.none() | st.floats(0.0, 300.0),
)
def test_every_wait_is_a_number_between_nothing_and_the_maximum(  # noqa: PLR0917  # Hypothesis gives them by name
    attempt, chance, initial, base, jitter, previous
):
    waits = Backoff(initial, maximum=3.0 * initial, base=base, jitter=jitter)
    assert 0.0 <= waits.delay(attempt, chance, previous) <= waits.maximum


plain = jitters.filter(lambda jitter: jitter != "decorrelated")


@pytest.mark.parametrize("growth", ["custom", "linear"])
def test_waits_that_jitter_would_make_one_ignore_are_refused(growth):
    make = {
        "custom": lambda jitter: Backoff.custom(float, jitter=jitter),
        "linear": lambda jitter: Backoff.linear(jitter=jitter),
    }
    with pytest.raises(BadInputError, match=f"must not be decorrelated when growth is {growth}"):
        make[growth]("decorrelated")


@given(
    waits=st.one_of(
        st.builds(Backoff.exponential, st.floats(0, 9), st.floats(9, 99), st.floats(1, 9), jitters),
        st.builds(Backoff.linear, st.floats(0, 9), st.floats(0, 9), st.floats(9, 99), plain),
        st.builds(Backoff.fixed, st.floats(0, 9), jitters),
    ),
    attempts=st.integers(1, 12),
    draws=st.lists(chances, min_size=12, max_size=12),
)
def test_no_wait_is_shorter_or_longer_than_what_it_announces(waits, attempts, draws):
    previous = None
    for attempt in range(1, attempts + 1):
        wait = waits.delay(attempt, draws[attempt - 1], previous)
        assert wait <= waits.longest(attempt) * (1 + 1e-9)
        assert wait >= waits.least(attempt) * (1 - 1e-9)
        previous = wait


def test_the_defaults_of_each_kind_are_those_of_the_contract():
    assert Backoff.exponential() == Backoff()
    assert Backoff.linear() == Backoff.linear(1.0, 1.0, 60.0, 0.25)
    assert Backoff.custom(float) == Backoff.custom(float, 3600.0, 0.0)
    assert Backoff.fixed(1.0) == Backoff.fixed(1.0, 0.0)
    assert Backoff.fixed(2.0, "full").maximum == 2.0


def test_a_fixed_wait_with_jitter_is_as_long_each_time_and_spread_either_way():
    waits = Backoff.fixed(4.0, 0.5)
    assert [waits.plain(attempt) for attempt in (1, 2, 9)] == [4.0] * 3
    assert waits.delay(3, 0.0) == 2.0
    assert waits.delay(3, 0.999999999) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("jitter", "least"), [(0.25, 6.0), ("full", 0.0), ("equal", 4.0), ("decorrelated", 8.0)]
)
def test_the_least_wait_is_announced_exactly(jitter, least):
    assert Backoff.exponential(8.0, 100.0, 2.0, jitter).least(1) == least
