"""What a piece of work usually takes, and what covers most of it."""

from __future__ import annotations

from math import inf, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.machines.service import ServiceTime


def taught(*durations, **options):
    service = ServiceTime(**options)
    for seconds in durations:
        service.learn(seconds)
    return service


def test_nothing_is_known_before_three_durations():
    service = taught(75.0, 75.0)
    assert (service.known, service.usual, service.most()) == (False, 0.0, 0.0)
    service.learn(75.0)
    assert service.known


def test_work_that_always_takes_the_same_has_no_deviation():
    service = taught(*[75.0] * 20)
    assert service.usual == service.most() == 75.0


def test_two_deviations_cover_most_of_widely_spread_work():
    rng = Random(1)
    service = taught(*(rng.expovariate(20.0) for _ in range(4_000)), memory=1_000)
    assert service.usual == pytest.approx(0.05, rel=0.1)
    assert service.most() == pytest.approx(0.05 * 2.47, rel=0.15)


def test_a_lasting_change_is_learned_within_a_few_dozen_durations():
    service = taught(*[1.0] * 100, *[10.0] * 60)
    assert service.usual == pytest.approx(10.0, rel=0.05)


def test_what_was_cut_short_teaches_only_when_it_had_lasted_longer_than_usual():
    service = taught(*[10.0] * 20)
    service.learn_at_least(2.0)
    assert service.usual == 10.0
    service.learn_at_least(26.0)
    assert service.usual == 11.0


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1e6), st.sampled_from([nan, inf, -1.0])), max_size=60))
def test_the_mean_stays_among_the_durations_and_nonsense_is_not_learned(durations):
    service = taught(*durations)
    sane = [seconds for seconds in durations if 0 <= seconds < inf]
    assert service.known == (len(sane) >= 3)
    if service.known:
        slack = 1e-9 * max(sane)
        assert min(sane) - slack <= service.usual <= max(sane) + slack
        assert service.most() >= service.usual


@pytest.mark.parametrize(("field", "value"), [("warmup", 0), ("warmup", nan), ("memory", 0)])
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        ServiceTime(**{field: value})
