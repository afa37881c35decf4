"""The breaker's state machine: what it admits, what it believes, and how it recovers."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def circuit(**settings) -> Circuit:
    """A circuit that opens at the second failure, for 10 seconds."""
    settings = {"failure_threshold": 2, "open_seconds": 10.0, "probe_seconds": 5.0} | settings
    return Circuit(CircuitSettings(**settings))


def admitted(breaker: Circuit, now: float) -> Permit:
    """A permit, which there must be."""
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def tripped(now: float = 0.0, **settings) -> Circuit:
    """A circuit that has just opened."""
    breaker = circuit(**settings)
    breaker.trip(now)
    return breaker


# Closed ---------------------------------------------------------------------------------


def test_it_starts_closed_and_admits_everybody():
    breaker = circuit()
    assert breaker.state(0.0) is CLOSED
    assert all(breaker.admit(0.0) for _ in range(100))
    assert breaker.retry_after(0.0) == 0.0


def test_consecutive_failures_open_it():
    breaker = circuit(failure_threshold=3)
    for _ in range(2):
        breaker.failure(admitted(breaker, 1.0), 1.0)
    assert breaker.state(1.0) is CLOSED
    breaker.failure(admitted(breaker, 1.0), 1.0)
    assert breaker.state(1.0) is OPEN
    assert breaker.admit(1.0) is None
    assert breaker.retry_after(1.0) == 10.0


def test_a_success_in_between_starts_the_count_again():
    breaker = circuit()
    for _ in range(20):
        breaker.failure(admitted(breaker, 1.0), 1.0)
        breaker.success(admitted(breaker, 1.0), 1.0)
    assert breaker.state(1.0) is CLOSED


def test_an_abandoned_call_counts_neither_way():
    breaker = circuit()
    breaker.failure(admitted(breaker, 1.0), 1.0)
    assert breaker.abandon(admitted(breaker, 1.0), 1.0)
    assert breaker.state(1.0) is CLOSED
    breaker.failure(admitted(breaker, 1.0), 1.0)
    assert breaker.state(1.0) is OPEN


# Half-open ------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 3])
def test_a_stampede_at_the_end_of_the_open_time_admits_exactly_the_probes_allowed(allowed):
    breaker = tripped(half_open_max_calls=allowed)
    permits = [breaker.admit(10.0) for _ in range(20)]
    assert sum(permit is not None for permit in permits) == allowed
    assert breaker.state(10.0) is HALF_OPEN


def test_nobody_is_admitted_a_moment_too_early():
    breaker = tripped()
    assert breaker.admit(9.999) is None
    assert breaker.admit(10.0) is not None


def test_a_good_probe_closes_it():
    breaker = tripped()
    assert breaker.success(admitted(breaker, 10.0), 11.0)
    assert breaker.state(11.0) is CLOSED


def test_as_many_good_probes_as_asked_for_close_it():
    breaker = tripped(success_threshold=3)
    for _ in range(2):
        breaker.success(admitted(breaker, 10.0), 10.0)
        assert breaker.state(10.0) is HALF_OPEN
    breaker.success(admitted(breaker, 10.0), 10.0)
    assert breaker.state(10.0) is CLOSED


def test_one_bad_probe_opens_it_again():
    breaker = tripped(failure_threshold=5)
    breaker.failure(admitted(breaker, 10.0), 10.0)
    assert breaker.state(10.0) is OPEN


def test_an_abandoned_probe_gives_its_place_to_the_next_caller():
    breaker = tripped()
    assert breaker.abandon(admitted(breaker, 10.0), 10.0)
    assert breaker.state(10.0) is HALF_OPEN
    assert breaker.admit(10.0) is not None


def test_a_hung_probe_expires_by_itself():
    breaker = tripped()
    admitted(breaker, 10.0)
    assert breaker.retry_after(12.0) == pytest.approx(3.0)
    assert breaker.admit(14.9) is None
    assert breaker.retry_after(15.0) == 0.0
    assert breaker.admit(15.0) is not None


def test_hung_probes_never_wedge_it_however_many_there_are():
    breaker, now = tripped(), 10.0
    for _ in range(50):
        admitted(breaker, now)
        now += 5.0
    assert breaker.success(admitted(breaker, now), now)
    assert breaker.state(now) is CLOSED


@pytest.mark.parametrize("outcome", ["success", "failure", "abandon"])
def test_the_outcome_of_an_expired_probe_changes_nothing(outcome):
    breaker = tripped()
    late = admitted(breaker, 10.0)
    assert not getattr(breaker, outcome)(late, 15.0)
    assert breaker.state(15.0) is HALF_OPEN


@pytest.mark.parametrize("outcome", ["success", "failure", "abandon"])
def test_a_probes_outcome_counts_once(outcome):
    breaker = tripped(success_threshold=2)
    probe = admitted(breaker, 10.0)
    breaker.abandon(probe, 10.0)
    assert not getattr(breaker, outcome)(probe, 10.0)
    assert breaker.state(10.0) is HALF_OPEN


# Stale permits --------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["success", "failure", "abandon"])
@pytest.mark.parametrize("now", [1.0, 10.0, 11.0])
def test_a_call_that_began_before_it_opened_changes_nothing_after(outcome, now):
    breaker = circuit()
    old = admitted(breaker, 0.0)
    breaker.trip(0.0)
    before = breaker.state(now)
    assert not getattr(breaker, outcome)(old, now)
    assert breaker.state(now) is before


def test_a_call_from_before_the_opening_cannot_close_or_open_it_when_it_is_closed_again():
    breaker = circuit()
    old = [admitted(breaker, 0.0) for _ in range(5)]
    breaker.trip(0.0)
    breaker.success(admitted(breaker, 10.0), 10.0)
    assert not any(breaker.failure(permit, 11.0) for permit in old)
    assert breaker.state(11.0) is CLOSED


def test_a_probe_of_an_earlier_half_open_time_changes_nothing():
    breaker = tripped(half_open_max_calls=2)
    slow, quick = admitted(breaker, 10.0), admitted(breaker, 10.0)
    breaker.failure(quick, 10.5)
    assert not breaker.success(slow, 12.0)
    assert breaker.state(12.0) is OPEN
    assert breaker.state(35.0) is HALF_OPEN
    assert not breaker.success(slow, 35.0)
    assert breaker.state(35.0) is HALF_OPEN


# Growth ---------------------------------------------------------------------------------


def opening_lengths(breaker: Circuit, times: int) -> list[float]:
    """How long each opening lasts when every probe fails."""
    now, lengths = 0.0, []
    breaker.trip(now)
    for _ in range(times):
        lengths.append(breaker.retry_after(now))
        now += lengths[-1]
        breaker.failure(admitted(breaker, now), now)
    return lengths


def test_open_time_grows_and_is_capped():
    breaker = circuit(open_growth=2.0, open_maximum=60.0)
    assert opening_lengths(breaker, 6) == pytest.approx([10, 20, 40, 60, 60, 60])


def test_open_time_is_short_again_after_it_was_closed():
    breaker = circuit(open_growth=3.0)
    opening_lengths(breaker, 3)
    now = 10_000.0
    breaker.success(admitted(breaker, now), now)
    breaker.trip(now)
    assert breaker.retry_after(now) == pytest.approx(10.0)


@pytest.mark.parametrize("growth", [1e3, 1e6, 1e300])
def test_steep_growth_ends_at_the_maximum_and_overflows_nowhere(growth):
    breaker = circuit(open_growth=growth, open_maximum=60.0)
    assert opening_lengths(breaker, 80)[-1] == pytest.approx(60.0)


def test_the_first_opening_does_not_exceed_the_maximum_either():
    assert tripped(open_seconds=100.0, open_maximum=30.0).retry_after(0.0) == 30.0


# Time -----------------------------------------------------------------------------------


def test_time_stepping_back_admits_nobody_and_closes_nothing():
    breaker = tripped(now=100.0)
    assert breaker.admit(5.0) is None
    assert breaker.state(5.0) is OPEN
    assert breaker.admit(110.0) is not None


def test_time_stepping_back_while_half_open_does_not_open_it_again():
    breaker = tripped(now=100.0)
    probe = admitted(breaker, 110.0)
    assert breaker.state(3.0) is HALF_OPEN
    assert breaker.admit(3.0) is None
    assert breaker.success(probe, 3.0)
    assert breaker.state(3.0) is CLOSED


def test_time_stepping_back_does_not_lengthen_the_announced_wait():
    # "A `now` earlier than the last one seen counts as no time passed."
    breaker = tripped(now=100.0)
    assert breaker.retry_after(40.0) <= 10.0


def test_an_opening_lasts_its_time_though_the_clock_stepped_back_at_that_moment():
    # "A `now` earlier than the last one seen counts as no time passed."
    breaker = circuit()
    admitted(breaker, 100.0)
    breaker.trip(40.0)
    assert breaker.admit(101.0) is None


# Settings -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["failure_threshold", "success_threshold", "half_open_max_calls"])
@pytest.mark.parametrize("value", [0, -4])
def test_counts_below_one_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
        CircuitSettings(**{name: value})


@pytest.mark.parametrize("name", ["open_seconds", "open_maximum", "probe_seconds"])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_times_that_are_none_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name} must be above 0 seconds, got {value}"):
        CircuitSettings(**{name: value})


def test_open_time_that_shrinks_is_refused():
    with pytest.raises(ValueError, match=r"open_growth must be at least 1, got 0\.5"):
        CircuitSettings(open_growth=0.5)


@pytest.mark.parametrize(
    "name",
    [
        "failure_threshold",
        "success_threshold",
        "half_open_max_calls",
        "open_seconds",
        "open_maximum",
        "probe_seconds",
        "open_growth",
    ],
)
def test_what_is_not_a_number_is_refused(name):
    # With a NaN for open_seconds the circuit would never close again.
    with pytest.raises(ValueError, match=name):
        CircuitSettings(**{name: math.nan})


# Against a model ------------------------------------------------------------------------


class CircuitMachine(RuleBasedStateMachine):
    """Random callers, outcomes and clocks against the plainest possible account of the rules."""

    @initialize(
        failure_threshold=st.integers(1, 4),
        success_threshold=st.integers(1, 3),
        half_open_max_calls=st.integers(1, 3),
        growth=st.sampled_from([1.0, 2.0]),
    )
    def begin(self, failure_threshold, success_threshold, half_open_max_calls, growth):
        self.settings = CircuitSettings(
            failure_threshold=failure_threshold,
            success_threshold=success_threshold,
            open_seconds=8.0,
            open_growth=growth,
            open_maximum=32.0,
            half_open_max_calls=half_open_max_calls,
            probe_seconds=4.0,
        )
        self.circuit = Circuit(self.settings)
        self.now = 0.0
        self.state = CLOSED
        self.open_until = 0.0
        self.failures = self.successes = self.openings = 0
        self.leases: dict[Permit, float] = {}
        self.fresh: list[Permit] = []  # permits given in the present state
        self.stale: list[Permit] = []  # permits of earlier states, expired or used probes

    def turn(self, state: CircuitState) -> None:
        self.state = state
        self.failures = self.successes = 0
        self.stale += self.fresh
        self.fresh, self.leases = [], {}

    def open(self) -> None:
        length = min(32.0, 8.0 * self.settings.open_growth**self.openings)
        self.openings += 1
        self.open_until = self.now + length
        self.turn(OPEN)

    def let_time_work(self) -> None:
        if self.state is OPEN and self.now >= self.open_until:
            self.turn(HALF_OPEN)
        for permit in [each for each, until in self.leases.items() if until <= self.now]:
            del self.leases[permit]
            self.fresh.remove(permit)
            self.stale.append(permit)

    def take(self, index: int) -> Permit:
        permit = self.fresh[index % len(self.fresh)]
        if self.leases.pop(permit, None) is not None:
            self.fresh.remove(permit)
            self.stale.append(permit)
        return permit

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 8.0, 33.0]))
    def pass_time(self, seconds):
        self.now += seconds
        self.let_time_work()

    @rule()
    def ask(self):
        permit = self.circuit.admit(self.now)
        room = len(self.leases) < self.settings.half_open_max_calls
        assert (permit is not None) == (self.state is CLOSED or (self.state is HALF_OPEN and room))
        if permit is None:
            return
        if self.state is HALF_OPEN:
            self.leases[permit] = self.now + 4.0
        if permit not in self.fresh:
            self.fresh.append(permit)

    @rule()
    def stampede(self):
        for _ in range(12):
            self.ask()

    @precondition(lambda self: self.fresh)
    @rule(index=st.integers(0, 100))
    def succeed(self, index):
        assert self.circuit.success(self.take(index), self.now)
        self.failures = 0
        if self.state is HALF_OPEN:
            self.successes += 1
            if self.successes == self.settings.success_threshold:
                self.openings = 0
                self.turn(CLOSED)

    @precondition(lambda self: self.fresh)
    @rule(index=st.integers(0, 100))
    def fail(self, index):
        assert self.circuit.failure(self.take(index), self.now)
        self.failures += 1
        if self.state is HALF_OPEN or self.failures == self.settings.failure_threshold:
            self.open()

    @precondition(lambda self: self.fresh)
    @rule(index=st.integers(0, 100))
    def abandon(self, index):
        assert self.circuit.abandon(self.take(index), self.now)

    @precondition(lambda self: self.stale)
    @rule(index=st.integers(0, 1_000), outcome=st.sampled_from(["success", "failure", "abandon"]))
    def come_late(self, index, outcome):
        permit = self.stale[index % len(self.stale)]
        assert not getattr(self.circuit, outcome)(permit, self.now)

    @precondition(lambda self: self.state is not OPEN)
    @rule()
    def trip(self):
        self.circuit.trip(self.now)
        self.open()

    @invariant()
    def agrees_on_the_state(self):
        if not hasattr(self, "circuit"):
            return
        assert self.circuit.state(self.now) is self.state

    @invariant()
    def announces_the_wait_and_never_wedges(self):
        if not hasattr(self, "circuit"):
            return
        wait = self.circuit.retry_after(self.now)
        full = len(self.leases) >= self.settings.half_open_max_calls
        if self.state is OPEN:
            assert wait == self.open_until - self.now > 0
        elif self.state is HALF_OPEN and full:
            assert wait == min(self.leases.values()) - self.now > 0
        else:
            assert wait == 0


TestCircuitAgainstAModel = CircuitMachine.TestCase
TestCircuitAgainstAModel.settings = hypothesis_settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
