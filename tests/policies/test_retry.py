"""How often to try again and how long to wait, as plain decisions."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.policies.retry import Backoff, Retry

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

NAN = float("nan")
chances = st.floats(0.0, 1.0, exclude_max=True)


def steady(seconds: float = 1.0) -> Backoff:
    """Waits that neither grow nor jitter."""
    return Backoff(seconds, maximum=60.0, base=1.0, jitter=0.0)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"initial": -0.1}, "initial must be at least 0 seconds, got -0.1"),
        ({"initial": 5.0, "maximum": 4.0}, "maximum must be at least initial, got 4.0"),
        ({"base": 0.5}, "base must be at least 1, got 0.5"),
        ({"jitter": -0.01}, "jitter must be between 0 and 1, got -0.01"),
        ({"jitter": 1.01}, "jitter must be between 0 and 1, got 1.01"),
        ({"initial": NAN}, "initial"),
        ({"maximum": NAN}, "maximum"),
        ({"base": NAN}, "base"),
        ({"jitter": NAN}, "jitter"),
    ],
)
def test_waits_that_make_no_sense_are_refused_by_name(chosen, words):
    with pytest.raises(ValueError, match=words):
        Backoff(**chosen)


@pytest.mark.parametrize("attempts", [0, -1])
def test_fewer_than_one_attempt_is_refused(attempts):
    with pytest.raises(ValueError, match=f"max_attempts must be at least 1, got {attempts}"):
        Retry(attempts)


@pytest.mark.parametrize("frozen", [Backoff(), Retry()])
def test_settings_are_frozen(frozen):
    first = dataclasses.fields(frozen)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(frozen, first, 7)


def test_the_last_attempt_is_not_followed_by_a_wait():
    retry = Retry(3, steady())
    assert [retry.wait(n, chance=0.5) for n in (1, 2, 3, 4)] == [1.0, 1.0, None, None]


def test_a_single_attempt_is_never_repeated():
    assert Retry(1).wait(1, chance=0.0) is None


def test_waits_follow_the_backoff():
    retry = Retry(9, Backoff(1.0, maximum=5.0, base=2.0, jitter=0.0))
    waits = [retry.wait(n, chance=0.9) for n in (1, 2, 3, 4)]
    assert waits == pytest.approx([1.0, 2.0, 4.0, 5.0])


def test_no_wait_is_begun_that_would_outlast_the_deadline():
    retry = Retry(9, steady(2.0))
    assert retry.wait(1, chance=0.5, left=2.1) == 2.0
    assert retry.wait(1, chance=0.5, left=2.0) is None
    assert retry.wait(1, chance=0.5, left=-1.0) is None


def test_a_servers_wish_is_honoured_as_the_least_wait():
    retry = Retry(9, steady(2.0))
    assert retry.wait(1, chance=0.5, retry_after=7.5) == 7.5
    assert retry.wait(1, chance=0.5, retry_after=0.5) == 2.0
    assert retry.wait(1, chance=0.5, retry_after=0.0) == 2.0


def test_a_servers_wish_beyond_the_deadline_means_giving_up():
    assert Retry(9, steady(2.0)).wait(1, chance=0.5, retry_after=30.0, left=20.0) is None


@relaxed
@given(
    attempt=st.integers(1, 10**9),
    chance=chances,
    initial=st.floats(0.0, 100.0),
    base=st.floats(1.0, 100.0),
    jitter=st.floats(0.0, 1.0),
)
def test_every_wait_is_a_number_between_nothing_and_the_maximum(
    attempt, chance, initial, base, jitter
):
    waits = Backoff(initial, maximum=3.0 * initial, base=base, jitter=jitter)
    assert 0.0 <= waits.delay(attempt, chance) <= waits.maximum


@relaxed
@given(
    attempts=st.integers(1, 20),
    attempt=st.integers(1, 30),
    chance=chances,
    left=st.none() | st.floats(-10.0, 1e4),
    retry_after=st.none() | st.floats(0.0, 1e4),
)
def test_a_wait_keeps_every_promise_at_once(attempts, attempt, chance, left, retry_after):
    wait = Retry(attempts).wait(attempt, chance=chance, left=left, retry_after=retry_after)
    if attempt >= attempts:
        assert wait is None
    elif wait is not None:
        assert wait >= (retry_after or 0.0)
        assert math.isfinite(wait)
        assert left is None or wait < left
