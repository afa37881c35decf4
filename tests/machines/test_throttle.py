"""A client holds back what the server would refuse, in proportion."""

from __future__ import annotations

from math import inf, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.throttle import ThrottleMachine


def test_while_everything_is_accepted_everything_passes():
    throttle = ThrottleMachine()
    for n in range(1_000):
        assert throttle.admit(n * 0.01, 0.0)
        throttle.answered(n * 0.01, accepted=True)
    assert throttle.probability(10.0) == 0.0


@settings(deadline=None, max_examples=60)
@given(
    calls=st.lists(st.booleans(), max_size=60),
    k=st.sampled_from([1.0, 1.1, 2.0]),
    chance=st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_chance_of_refusal_is_the_one_in_the_book(calls, k, chance):
    throttle = ThrottleMachine(k)
    for accepted in calls:
        throttle.answered(1.0, accepted)
    probability = max(0.0, (len(calls) - k * sum(calls)) / (len(calls) + 1))
    assert throttle.probability(1.0) == probability
    if abs(chance - probability) > 1e-9:
        assert throttle.admit(1.0, chance) == (chance > probability)


def test_a_call_that_is_refused_counts_as_asked_for():
    throttle = ThrottleMachine()
    throttle.answered(0.0, accepted=False)
    assert not throttle.admit(0.0, 0.1)
    assert throttle.probability(0.0) == pytest.approx(2 / 3)


def test_a_dead_server_is_sent_little_and_a_healed_one_gets_everything_again():
    rng, throttle, now = Random(2), ThrottleMachine(), 0.0
    sent = 0
    for _ in range(600):
        now += 1.0
        if throttle.admit(now, rng.random()):
            sent += 1
            throttle.answered(now, accepted=False)
    assert 0 < sent < 30
    for _ in range(1_500):
        now += 1.0
        if throttle.admit(now, rng.random()):
            throttle.answered(now, accepted=True)
    assert throttle.probability(now) == 0.0


def test_history_is_forgotten_after_its_window():
    throttle = ThrottleMachine(seconds=120.0)
    for _ in range(50):
        throttle.answered(0.0, accepted=False)
    assert throttle.probability(100.0) > 0.9
    assert throttle.probability(121.0) == 0.0


def test_calls_under_way_are_no_refusals_however_many_they_are():
    throttle = ThrottleMachine()
    assert all(throttle.admit(0.0, 0.0) for _ in range(1_000))
    assert throttle.probability(0.0) == 0.0


def test_a_few_refusals_say_nothing_when_a_minimum_is_set():
    throttle = ThrottleMachine(minimum=10)
    for _ in range(9):
        throttle.answered(0.0, accepted=False)
    assert throttle.admit(0.0, 0.0)
    assert throttle.probability(0.0) == 0.0
    throttle.answered(0.0, accepted=False)
    assert not throttle.admit(0.0, 0.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("k", 0.9), ("k", nan), ("k", inf), ("seconds", 0.0), ("seconds", nan), ("minimum", -1)],
)
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        ThrottleMachine(**{field: value})
