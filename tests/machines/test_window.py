"""Counts over the last calls or seconds, against lists of everything that happened."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.errors import BadInputError
from holdfast.machines.window import CountWindow, RollingCounts, TimeWindow


def counts(window, now):
    return window.calls(now), window.failures(now), window.slow(now)


def test_a_count_window_remembers_the_last_calls_only():
    window = CountWindow(3)
    for failed in (True, True, False, False):
        window.record(0.0, failed, True)
    assert counts(window, 0.0) == (3, 1, 3)


def test_a_time_window_forgets_by_whole_buckets():
    window = TimeWindow(10.0, buckets=10)
    window.record(0.0, True, False)
    window.record(0.9, True, True)
    assert counts(window, 9.99) == (2, 2, 1)
    assert counts(window, 10.0) == (0, 0, 0)


def test_an_old_now_is_counted_in_the_present():
    window = TimeWindow(10.0)
    window.record(100.0, False, False)
    window.record(3.0, True, False)
    assert counts(window, 5.0) == (2, 1, 0)


@pytest.mark.parametrize("window", [CountWindow(4), TimeWindow(4.0, 2)])
def test_a_cleared_window_starts_again_from_nothing(window):
    for _ in range(6):
        window.record(7.0, True, True)
    window.clear()
    assert counts(window, 7.0) == (0, 0, 0)
    window.record(7.0, False, True)
    assert counts(window, 7.0) == (1, 0, 1)


def test_a_huge_jump_in_time_costs_a_step_for_each_bucket_at_most():
    class Row(list):
        cleared = 0

        def __iter__(self):
            Row.cleared += 1
            return super().__iter__()

    rolling = RollingCounts(10.0, 10, kinds=1)
    rolling.advance(0.0)
    rolling._rows[:] = [Row(row) for row in rolling._rows]
    rolling.advance(1e15)
    assert Row.cleared == 10


def test_time_that_starts_below_zero_is_as_good_as_any():
    window = TimeWindow(10.0)
    window.record(-1_000.5, True, False)
    assert counts(window, -995.0) == (1, 1, 0)
    assert counts(window, -985.0) == (0, 0, 0)


@pytest.mark.parametrize("seconds", [0, -1, nan, inf])
def test_a_window_without_a_length_is_refused(seconds):
    with pytest.raises(BadInputError, match="seconds"):
        TimeWindow(seconds)


def test_a_window_without_room_is_refused():
    with pytest.raises(BadInputError, match="size must be at least 1, got 0"):
        CountWindow(0)
    with pytest.raises(BadInputError, match="buckets must be at least 1, got 0"):
        TimeWindow(1.0, 0)


class AgainstAListOfEverything(RuleBasedStateMachine):
    @initialize(buckets=st.integers(1, 6), size=st.integers(1, 6))
    def begin(self, buckets, size):
        self.buckets, self.size = buckets, size
        self.by_time, self.by_count = TimeWindow(float(buckets), buckets), CountWindow(size)
        self.now = self.latest = 0.0
        self.happened = []

    @rule(quarters=st.one_of(st.integers(-8, 8), st.sampled_from([60, 4_000_000_000])))
    def time_passes_or_steps_back(self, quarters):
        self.now += quarters / 4

    @rule(failed=st.booleans(), slow=st.booleans())
    def a_call_ends(self, failed, slow):
        self.latest = max(self.latest, self.now)
        self.happened.append((self.latest, failed, slow))
        self.by_time.record(self.now, failed, slow)
        self.by_count.record(self.now, failed, slow)

    @rule()
    def clear(self):
        self.happened.clear()
        self.by_time.clear()
        self.by_count.clear()

    @invariant()
    def both_agree_with_the_list(self):
        if not hasattr(self, "happened"):
            return
        self.latest = max(self.latest, self.now)
        recent = [e for e in self.happened if self.latest // 1 - e[0] // 1 < self.buckets]
        last = self.happened[-self.size :]
        for window, kept in ((self.by_time, recent), (self.by_count, last)):
            naive = len(kept), sum(e[1] for e in kept), sum(e[2] for e in kept)
            assert counts(window, self.now) == naive


TestAgainstAListOfEverything = AgainstAListOfEverything.TestCase
TestAgainstAListOfEverything.settings = settings(deadline=None, max_examples=60)
