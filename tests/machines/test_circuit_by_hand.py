"""The states that are set by hand: forced open, disabled, metrics only."""

from __future__ import annotations

import math

import pytest

from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def circuit(**settings) -> Circuit:
    """A circuit that opens at the second failure, for 10 seconds."""
    settings = {"failure_threshold": 2, "open_seconds": 10.0, "probe_seconds": 5.0} | settings
    return Circuit(CircuitSettings(**settings))


def fail(breaker: Circuit, now: float, times: int = 1) -> list[Permit]:
    """Let so many calls fail, one after the other."""
    permits = [breaker.admit(now) for _ in range(times)]
    for permit in permits:
        breaker.failure(permit, now)
    return permits


# Forced open ----------------------------------------------------------------------------


def test_forced_open_it_refuses_for_ever():
    breaker = circuit()
    breaker.force_open(0.0)
    assert breaker.state(1e9) is CircuitState.FORCED_OPEN
    assert breaker.admit(1e9) is None
    assert breaker.retry_after(1e9) == breaker.open_until == math.inf
    assert breaker.quiet is None


@pytest.mark.parametrize("order", ["trip", "close"])
@pytest.mark.parametrize("state", ["force_open", "disable"])
def test_what_was_set_by_hand_is_not_moved_by_rules(order, state):
    breaker = circuit()
    getattr(breaker, state)(0.0)
    before = breaker.snapshot(1.0)
    getattr(breaker, order)(1.0)
    assert breaker.snapshot(1.0) == before


@pytest.mark.parametrize("state", ["force_open", "disable", "measure_only"])
def test_setting_the_same_state_twice_is_setting_it_once(state):
    breaker = circuit()
    getattr(breaker, state)(0.0)
    before = breaker.snapshot(0.0)
    getattr(breaker, state)(0.0)
    assert breaker.snapshot(0.0) == before


@pytest.mark.parametrize("state", ["force_open", "disable", "measure_only", "reset"])
@pytest.mark.parametrize("outcome", ["success", "failure", "ignore", "abandon", "renew"])
def test_calls_from_before_the_hand_change_nothing_after(state, outcome):
    breaker = circuit()
    old = breaker.admit(0.0)
    getattr(breaker, state)(0.0)
    before = breaker.snapshot(0.0)
    assert not getattr(breaker, outcome)(old, 0.0)
    assert breaker.snapshot(0.0) == before


# Disabled -------------------------------------------------------------------------------


def test_disabled_it_admits_everything_and_counts_nothing():
    breaker = circuit(failure_threshold=1, failure_rate=0.5, window_calls=20)
    breaker.trip(0.0)
    breaker.disable(0.0)
    fail(breaker, 0.0, times=50)
    told = breaker.snapshot(0.0)
    assert told.state is CircuitState.DISABLED
    assert (told.failures, told.calls, told.openings) == (0, 0, 0)
    assert (breaker.quiet, breaker.open_until) == (breaker.era, 0.0)


# Metrics only ---------------------------------------------------------------------------


def test_measuring_only_it_admits_everything_and_tells_what_it_would_have_done():
    breaker = circuit(half_open_max_calls=2)
    breaker.measure_only(0.0)
    assert not any(permit.shadow for permit in fail(breaker, 0.0, times=2))
    assert breaker.state(0.0) is CircuitState.METRICS_ONLY
    assert breaker.would_be(0.0) is breaker.snapshot(0.0).would_be is OPEN
    assert (breaker.retry_after(0.0), breaker.open_until, breaker.quiet) == (0.0, 0.0, None)
    assert all(permit.shadow for permit in fail(breaker, 5.0, times=20))
    assert breaker.would_be(10.0) is HALF_OPEN
    permits = [breaker.admit(10.0) for _ in range(20)]
    assert [permit.shadow for permit in permits] == [False] * 2 + [True] * 18
    assert all(breaker.failure(permit, 10.0) for permit in permits[2:])
    assert breaker.success(permits[0], 10.0)
    assert breaker.would_be(10.0) is CLOSED


def test_the_shadow_does_what_a_live_breaker_beside_it_does():
    live, shadow = circuit(), circuit()
    shadow.measure_only(0.0)
    outcomes = "++--------+-+--+--" * 4
    for number, outcome in enumerate(outcomes):
        now = number * 2.5
        for breaker in (live, shadow):
            permit = breaker.admit(now)
            if permit is not None:
                (breaker.success if outcome == "+" else breaker.failure)(permit, now)
        assert live.state(now) is shadow.would_be(now)
        assert live.snapshot(now).openings == shadow.snapshot(now).openings
    assert live.snapshot(200.0).openings > 1


def test_measuring_begins_with_what_stands():
    breaker = circuit()
    breaker.trip(0.0)
    breaker.measure_only(1.0)
    assert breaker.would_be(9.9) is OPEN
    assert breaker.would_be(10.0) is HALF_OPEN


def test_a_ramp_is_measured_like_the_rest():
    breaker = circuit(ramp_seconds=10.0)
    breaker.measure_only(0.0)
    breaker.trip(0.0)
    breaker.close(0.0)
    assert breaker.admit(0.0, 0.5).shadow
    assert not breaker.admit(0.0, 0.05).shadow
    assert breaker.retry_after(0.0, 0.5) == 0.0


# Reset ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["force_open", "disable", "measure_only", "trip"])
def test_reset_it_is_closed_and_clean(state):
    breaker = circuit(open_growth=3.0)
    for _ in range(3):
        breaker.trip(0.0)
    getattr(breaker, state)(0.0)
    breaker.reset(0.0)
    told = breaker.snapshot(0.0)
    assert (told.state, told.would_be) == (CLOSED, CLOSED)
    assert (told.failures, told.openings, told.probes, told.retry_after) == (0, 0, 0, 0.0)
    assert (breaker.quiet, breaker.open_until) == (breaker.era, 0.0)
    fail(breaker, 0.0, times=2)
    assert breaker.retry_after(0.0) == pytest.approx(10.0)


def test_reset_it_learns_anew_what_usual_is():
    breaker = circuit(slow_rate=0.5, window_calls=20)
    for seconds in [1.0] * 50:
        breaker.success(breaker.admit(0.0), 0.0, seconds)
    breaker.reset(0.0)
    for seconds in [100.0] * 50:
        breaker.success(breaker.admit(0.0), 0.0, seconds)
    assert breaker.snapshot(0.0).slow_rate == 0.0
    assert breaker.state(0.0) is CLOSED


# A view of it ---------------------------------------------------------------------------


def test_a_snapshot_tells_how_it_stands_and_cannot_be_changed():
    breaker = circuit(failure_rate=0.9, slow_rate=0.9, slow_seconds=1.0, window_calls=20)
    breaker.success(breaker.admit(0.0), 0.0, 3.0)
    fail(breaker, 0.0)
    told = breaker.snapshot(0.0)
    assert (told.failures, told.calls, told.failure_rate, told.slow_rate) == (1, 2, 0.5, 0.5)
    fail(breaker, 0.0)
    breaker.admit(10.0)
    told = breaker.snapshot(12.0)
    assert (told.state, told.era, told.openings, told.probes) == (HALF_OPEN, 2, 1, 1)
    assert (told.failure_rate, told.slow_rate) == (None, None)
    assert told.retry_after == pytest.approx(3.0)
    assert told.reason == "open time over"
    with pytest.raises(AttributeError):
        told.era = 7
