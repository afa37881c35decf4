from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.machines.tenure import Calendar, JobState, Tenure

LEASE = 30.0


def test_a_job_that_waits_is_given_once():
    held = Tenure().claimed(100.0, LEASE)
    assert held is not None
    assert (held.state, held.fence, held.lease_until) == (JobState.RUNNING, 1, 130.0)
    assert held.claimed(101.0, LEASE) is None


def test_a_lease_that_ran_out_counts_as_a_try_and_raises_the_fence():
    held = Tenure().claimed(100.0, LEASE)
    again = held.claimed(131.0, LEASE)
    assert again is not None
    assert (again.fence, again.tries) == (2, 1)
    assert not again.holds(1)


def test_a_worker_that_wakes_late_can_do_nothing():
    old = Tenure().claimed(100.0, LEASE)
    new = old.claimed(200.0, LEASE)
    assert new.settled(old.fence, JobState.DELIVERED) is None
    assert new.renewed(old.fence, 201.0, LEASE) is None
    assert new.released(old.fence) is None


def test_a_lease_from_a_clock_that_was_ahead_does_not_last_for_ever():
    held = Tenure().claimed(1_000_000.0, LEASE)
    assert not held.expired(100.0)
    cut = held.cut(100.0, LEASE)
    assert not cut.expired(129.0)
    assert cut.expired(130.0)
    assert cut.holds(held.fence)


def test_a_worker_that_renews_keeps_its_job_through_a_small_step_back_of_the_clock():
    held = Tenure().claimed(1_000.0, LEASE)
    early = 1_000.0 - LEASE / 2
    assert not held.expired(early)
    assert held.cut(early, LEASE) == held


def test_leases_are_in_doubt_for_one_lease_after_the_date_went_forward():
    calendar = Calendar()
    assert not calendar.doubtful(1_000.0, 10.0, LEASE)
    assert not calendar.doubtful(1_060.0, 70.0, LEASE)
    assert calendar.doubtful(5_000.0, 71.0, LEASE)
    assert calendar.doubtful(5_029.0, 100.0, LEASE)
    assert not calendar.doubtful(5_030.0, 101.0, LEASE)


def test_small_steps_and_steps_back_of_the_date_put_no_lease_in_doubt():
    calendar = Calendar()
    calendar.doubtful(1_000.0, 10.0, LEASE)
    assert not calendar.doubtful(1_006.0, 11.0, LEASE)
    assert not calendar.doubtful(500.0, 12.0, LEASE)


def test_a_job_that_was_given_back_is_no_worse_for_it():
    back = Tenure().claimed(100.0, LEASE).released(1)
    assert (back.state, back.tries, back.lease_until) == (JobState.QUEUED, 0, None)


@pytest.mark.parametrize(("left", "state"), [(False, JobState.CANCELLED), (True, JobState.QUEUED)])
def test_what_waits_ends_at_once_unless_something_of_it_is_on_a_server(left, state):
    off = Tenure().called_off(left=left)
    assert (off.state, off.cancel) == (state, True)


def test_an_end_is_no_state_that_goes_on():
    with pytest.raises(ValueError, match="no end"):
        Tenure().settled(0, JobState.QUEUED)


@given(st.sampled_from(JobState))
def test_only_what_failed_or_was_cancelled_can_be_tried_again(state):
    again = Tenure(state, 3, None, 2, cancel=True).again()
    if state in (JobState.FAILED, JobState.CANCELLED):
        assert again == Tenure(JobState.QUEUED, 3, None, 0, cancel=False)
    else:
        assert again is None


class Life(RuleBasedStateMachine):
    """Workers come and go under one job, with clocks that jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.tenure = Tenure()
        self.claims: list[int] = []
        self.ends = 0

    @rule(seconds=st.floats(-100, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def claim(self) -> None:
        got = self.tenure.claimed(self.now, LEASE)
        if got is not None:
            assert got.fence == self.tenure.fence + 1
            self.tenure = got
            self.claims.append(got.fence)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def somebody_settles(self, data) -> None:
        fence = data.draw(st.sampled_from(self.claims))
        ended = self.tenure.settled(fence, JobState.DELIVERED)
        assert (ended is not None) == self.tenure.holds(fence)
        if ended is not None:
            assert fence == max(self.claims)
            self.tenure, self.ends = ended, self.ends + 1

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def somebody_renews(self, data) -> None:
        fence = data.draw(st.sampled_from(self.claims))
        kept = self.tenure.renewed(fence, self.now, LEASE)
        if kept is not None:
            assert not kept.expired(self.now)
            self.tenure = kept

    @rule()
    def call_off(self) -> None:
        self.tenure = self.tenure.called_off(left=bool(self.claims))

    @invariant()
    def never_delivered_twice(self) -> None:
        assert self.ends <= 1
        assert (self.tenure.state is JobState.DELIVERED) == (self.ends == 1)

    @invariant()
    def to_be_had_within_two_leases_if_nobody_renews(self) -> None:
        if not self.tenure.state.ended:
            # Whoever gives out jobs cuts leases from a clock that was ahead.
            cut = self.tenure.cut(self.now, LEASE)
            moments = (self.now, self.now + 2 * LEASE)
            assert any(cut.claimed(each, LEASE) for each in moments)


TestLife = Life.TestCase
