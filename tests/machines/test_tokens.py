"""A steady rate with room for bursts, against a bucket of tokens in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from holdfast.errors import BadInputError
from holdfast.machines.tokens import Bookings, Gcra


def test_a_burst_passes_at_once_and_the_next_one_waits_for_the_rate():
    tokens = Gcra(rate=10, per=1, burst=3)
    assert [tokens.take(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert tokens.take(5.0) == pytest.approx(0.1)
    assert tokens.take(5.1) == 0.0


def test_a_refusal_takes_nothing():
    tokens = Gcra(1, 1, 1)
    assert tokens.take(0.0) == 0.0
    assert [tokens.take(0.0) for _ in range(5)] == [1.0] * 5
    assert tokens.take(1.0) == 0.0


def test_what_exceeds_the_burst_never_passes():
    tokens = Gcra(1, 1, 2)
    assert tokens.take(0.0, 2.5) == inf
    assert tokens.reserve(0.0, 2.5) is None
    assert tokens.available(0.0) == 2.0


def test_bookings_queue_up_one_behind_the_other():
    tokens = Gcra(2, 1, 1)
    assert [tokens.reserve(0.0) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert tokens.reserve(0.0, longest=1.9) is None
    assert tokens.reserve(0.0, longest=2.0) == 2.0
    assert tokens.available(0.0) == 0.0


def test_a_cancelled_booking_makes_room_but_never_more_than_the_burst():
    tokens = Gcra(1, 1, 2)
    tokens.reserve(0.0)
    tokens.cancel()
    tokens.cancel()
    assert tokens.available(0.0) == 2.0


def test_a_clock_that_steps_back_counts_as_no_time():
    tokens = Gcra(1, 1, 1)
    assert tokens.take(100.0) == 0.0
    assert tokens.take(40.0) == 1.0
    assert tokens.take(100.5) == 0.5


@settings(deadline=None)
@given(
    rate=st.floats(1e-3, 1e4),
    start=st.floats(0.0, 1e6),
    costs=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=20),
)
def test_whoever_waits_as_long_as_told_gets_through(rate, start, costs):
    tokens, now = Gcra(rate, 1.0, 5.0), start
    for cost in costs:
        wait = tokens.take(now, cost)
        now += wait
        if wait:
            assert tokens.take(now, cost) <= 1e-6
            now += 1e-6
            tokens.take(now, cost)


@pytest.mark.parametrize("field", ["rate", "per", "burst"])
@pytest.mark.parametrize("value", [0, -1, nan, inf])
def test_settings_that_could_not_work_are_refused(field, value):
    with pytest.raises(BadInputError, match=field):
        Gcra(**{"rate": 1, "per": 1, "burst": 1, field: value})


@pytest.mark.parametrize("cost", [-1, nan])
def test_a_cost_below_nothing_is_refused(cost):
    tokens = Gcra(1, 1, 1)
    for call in (tokens.take, tokens.reserve):
        with pytest.raises(BadInputError, match="cost"):
            call(0.0, cost)
    with pytest.raises(BadInputError, match="cost"):
        tokens.cancel(cost)


class AgainstABucketOfTokens(RuleBasedStateMachine):
    """The naive model: a balance in tokens that may be overdrawn by bookings."""

    @initialize(interval=st.sampled_from([0.25, 0.5, 1.0, 4.0]), burst=st.integers(1, 8))
    def begin(self, interval, burst):
        self.tokens = Gcra(rate=1, per=interval, burst=burst)
        self.interval, self.burst = Fraction(interval), Fraction(burst)
        self.now, self.latest, self.balance = 0.0, 0.0, Fraction(burst)
        self.tokens.available(0.0)

    def refill(self):
        earned = Fraction(max(0.0, self.now - self.latest)) / self.interval
        self.balance = min(self.burst, self.balance + earned)
        self.latest = max(self.latest, self.now)

    @rule(eighths=st.integers(-40, 80))
    def time_passes_or_steps_back(self, eighths):
        self.now += eighths / 8

    @rule(cost=st.integers(0, 10))
    def take(self, cost):
        self.refill()
        told = self.tokens.take(self.now, cost)
        if cost > self.burst:
            assert told == inf
        elif self.balance >= cost:
            self.balance -= cost
            assert told == 0.0
        else:
            assert told == (cost - self.balance) * self.interval

    @rule(cost=st.integers(0, 10), longest=st.sampled_from([0.0, 1.0, 8.0, inf]))
    def reserve(self, cost, longest):
        self.refill()
        told = self.tokens.reserve(self.now, cost, longest)
        wait = max(Fraction(0), (cost - self.balance) * self.interval)
        if cost > self.burst or wait > longest:
            assert told is None
        else:
            self.balance -= cost
            assert told == wait

    @rule(cost=st.integers(0, 1))
    def cancel(self, cost):
        self.tokens.cancel(cost)
        self.balance = min(self.burst, self.balance + cost)

    @rule()
    def available(self):
        self.refill()
        assert self.tokens.available(self.now) == max(0, self.balance)


TestAgainstABucketOfTokens = AgainstABucketOfTokens.TestCase
TestAgainstABucketOfTokens.settings = settings(deadline=None, max_examples=60)


def test_turns_are_booked_one_after_the_other():
    bookings = Bookings(Gcra(1.0, 1.0, 2.0))
    assert [bookings.book(0.0) for _ in range(4)] == [
        (0.0, True),
        (0.0, True),
        (1.0, True),
        (2.0, True),
    ]
    assert bookings.book(0.0, longest=2.9) == (3.0, False)
    assert bookings.book(0.0, longest=3.0) == (3.0, True)


def test_the_last_turn_given_back_is_booked_again_and_so_are_those_before_it():
    bookings = Bookings(Gcra(1.0, 1.0, 1.0))
    for _ in range(4):
        bookings.book(0.0)
    bookings.give_back(0.5, 2.0)
    bookings.give_back(0.5, 3.0)
    assert bookings.book(0.5) == (1.5, True)
    assert bookings.book(0.5) == (2.5, True)


def test_a_turn_given_back_goes_to_the_next_and_one_that_has_come_is_lost():
    bookings = Bookings(Gcra(1.0, 1.0, 1.0))
    for _ in range(4):
        bookings.book(0.0)
    bookings.give_back(0.25, 1.0)
    assert bookings.book(0.5) == (0.5, True)
    bookings.give_back(1.0, 1.0)
    assert bookings.book(1.0) == (3.0, True)


@settings(deadline=None, max_examples=60)
@given(
    burst=st.integers(1, 4),
    moves=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.integers(0, 9)), max_size=60),
)
def test_whatever_is_given_back_no_stretch_of_time_sees_more_than_the_rate(burst, moves):
    bookings, now, turns = Bookings(Gcra(1.0, 1.0, burst)), 0.0, []
    for step, which in moves:
        now += step
        coming = [turn for turn in turns if turn > now]
        if which < 4 and which < len(coming):
            turns.remove(coming[which])
            bookings.give_back(now, coming[which])
        else:
            wait, booked = bookings.book(now)
            assert booked
            turns.append(now + wait)
    turns.sort()
    for first in range(len(turns)):
        for last in range(first, len(turns)):
            assert last - first + 1 <= burst + turns[last] - turns[first] + 1e-6
