"""What opens a breaker: failures in a row, a share of failures, a share of slow calls."""

from __future__ import annotations

import math

import pytest

from holdfast.errors import BadInputError
from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def circuit(**settings) -> Circuit:
    """A circuit that judges by shares only, from ten calls on."""
    settings = {"failure_threshold": None, "minimum_calls": 10} | settings
    return Circuit(CircuitSettings(**settings))


def play(breaker: Circuit, outcomes: str, now: float = 0.0, seconds: float | None = None) -> None:
    """Make one call for each letter, all at once: `+` succeeds, `-` fails."""
    for outcome in outcomes:
        permit = breaker.admit(now)
        assert permit is not None
        end = breaker.success if outcome == "+" else breaker.failure
        assert end(permit, now, seconds)


# A row of failures ----------------------------------------------------------------------


def test_a_failure_may_count_as_several():
    breaker = Circuit(CircuitSettings(failure_threshold=5))
    permit = breaker.admit(0.0)
    breaker.failure(permit, 0.0, weight=4)
    assert breaker.state(0.0) is CLOSED
    breaker.failure(permit, 0.0, weight=1)
    assert breaker.state(0.0) is OPEN
    assert breaker.reason == "consecutive failures"


@pytest.mark.parametrize("weight", [0, -1, 1.5, True, math.nan])
def test_a_senseless_weight_is_refused(weight):
    breaker = circuit(window=60.0, failure_rate=0.5)
    permit = breaker.admit(0.0)
    with pytest.raises(BadInputError, match="weight must be at least 1"):
        breaker.failure(permit, 0.0, weight=weight)
    assert breaker.snapshot(0.0).calls == 0


# A share of failures --------------------------------------------------------------------


@pytest.mark.parametrize("window", [{"window": 60.0}, {"window_calls": 100}])
def test_a_share_of_failures_opens_it_from_the_minimum_of_calls_on(window):
    breaker = circuit(failure_rate=0.5, **window)
    play(breaker, "-+-+-+-+-")
    assert breaker.state(0.0) is CLOSED
    play(breaker, "+")  # the tenth call: what it completes is judged, good as it is
    assert breaker.state(0.0) is OPEN
    assert breaker.reason == "failure rate"


@pytest.mark.parametrize("window", [{"window": 60.0}, {"window_calls": 100}])
def test_a_smaller_share_of_failures_never_opens_it(window):
    breaker = circuit(failure_rate=0.5, **window)
    play(breaker, "++-" * 500)
    assert breaker.state(0.0) is CLOSED
    told = breaker.snapshot(0.0)
    assert told.failure_rate == pytest.approx(1 / 3, abs=0.01)
    assert told.slow_rate == 0.0
    assert told.calls == (1500 if "window" in window else 100)


@pytest.mark.parametrize("window", [{"window": 60.0}, {"window_calls": 100}])
def test_a_row_of_failures_alone_opens_nothing_where_that_rule_is_off(window):
    breaker = circuit(failure_rate=0.5, **window)
    play(breaker, "+" * 99 + "-" * 49)
    assert breaker.state(0.0) is CLOSED


def test_either_rule_opens_it_where_both_are_on():
    by_row = circuit(failure_rate=0.5, window=60.0, failure_threshold=3)
    play(by_row, "+" * 50 + "---")
    assert (by_row.state(0.0), by_row.reason) == (OPEN, "consecutive failures")
    by_share = circuit(failure_rate=0.5, window=60.0, failure_threshold=3)
    play(by_share, "-+" * 5)
    assert (by_share.state(0.0), by_share.reason) == (OPEN, "failure rate")


def test_failures_out_of_the_window_are_forgotten():
    breaker = circuit(failure_rate=0.5, window=60.0)
    play(breaker, "-" * 9, now=0.0)
    play(breaker, "-" * 9, now=61.0)
    assert breaker.state(61.0) is CLOSED
    assert breaker.snapshot(61.0).calls == 9


def test_the_time_window_forgets_little_by_little():
    breaker = circuit(failure_rate=1.0, window=60.0, minimum_calls=1_000)
    for now in range(60):
        play(breaker, "-", now=float(now))
    assert breaker.snapshot(60.0).calls == pytest.approx(57, abs=3)


def test_a_share_that_is_met_exactly_opens_whatever_floats_make_of_it():
    breaker = circuit(failure_rate=0.07, window_calls=100, minimum_calls=100)
    play(breaker, "+" * 93 + "-" * 7)
    assert breaker.state(0.0) is OPEN


def test_a_closed_circuit_begins_with_an_empty_window():
    breaker = circuit(failure_rate=0.5, window=1_000.0, open_seconds=10.0)
    play(breaker, "-" * 10)
    assert breaker.state(10.0) is HALF_OPEN
    play(breaker, "+", now=10.0)
    play(breaker, "-" * 9, now=10.0)
    assert breaker.state(10.0) is CLOSED


# A share of slow calls ------------------------------------------------------------------


def test_two_hundred_good_calls_of_75_seconds_leave_it_closed():
    breaker = circuit(slow_rate=0.5, failure_rate=0.5, window_calls=100)
    for number in range(200):
        play(breaker, "+", now=number * 75.0, seconds=75.0)
        assert breaker.state(number * 75.0) is CLOSED
    assert breaker.snapshot(15_000.0).slow_rate == 0.0


def test_calls_much_slower_than_usual_open_it():
    breaker = circuit(slow_rate=0.5, window_calls=20, minimum_calls=20)
    play(breaker, "+" * 100, seconds=2.0)
    play(breaker, "+" * 9, seconds=20.0)
    assert breaker.state(0.0) is CLOSED
    play(breaker, "+", seconds=20.0)
    assert (breaker.state(0.0), breaker.reason) == (OPEN, "slow-call rate")


def test_the_chance_given_with_a_success_moves_the_opening_that_it_brings():
    breaker = circuit(
        slow_rate=0.5, slow_seconds=1.0, window_calls=10, open_seconds=10.0, open_growth=1.0
    )
    breaker.trip(0.0)
    breaker.success(breaker.admit(10.0), 10.0, 1.0)
    for _ in range(9):
        breaker.success(breaker.admit(10.0), 10.0, 5.0)
    breaker.success(breaker.admit(10.0), 10.0, 5.0, chance=0.0)
    assert breaker.retry_after(10.0) == pytest.approx(9.0)


def test_failed_calls_may_be_slow_too_but_teach_nothing():
    breaker = circuit(slow_rate=0.9, window_calls=20, minimum_calls=20)
    play(breaker, "-" * 100, seconds=0.01)
    play(breaker, "+" * 20, seconds=5.0)
    assert breaker.snapshot(0.0).slow_rate == 0.0
    play(breaker, "-" * 10, seconds=50.0)
    assert breaker.snapshot(0.0).slow_rate == 0.5


def test_fixed_seconds_are_the_measure_where_they_are_given():
    breaker = circuit(slow_rate=0.9, slow_seconds=30.0, window_calls=20)
    play(breaker, "+" * 9, seconds=30.0)
    assert breaker.snapshot(0.0).slow_rate == 0.0
    play(breaker, "+" * 9, seconds=30.5)
    assert breaker.snapshot(0.0).slow_rate == 0.5


@pytest.mark.parametrize("seconds", [None, math.nan, math.inf, -1.0])
def test_a_duration_that_is_none_is_not_slow_and_teaches_nothing(seconds):
    breaker = circuit(slow_rate=0.5, window_calls=20)
    play(breaker, "+" * 50, seconds=seconds)
    play(breaker, "+" * 20, seconds=75.0)
    assert breaker.snapshot(0.0).slow_rate == 0.0


def test_durations_are_not_looked_at_unless_asked_for():
    breaker = circuit(failure_rate=0.5, window_calls=20)
    play(breaker, "+" * 50, seconds=1.0)
    play(breaker, "+" * 50, seconds=1_000.0)
    assert breaker.snapshot(0.0).slow_rate == 0.0


# Other settings -------------------------------------------------------------------------


def test_other_settings_keep_the_counts_in_the_same_window():
    breaker = circuit(failure_rate=0.9, window_calls=20)
    play(breaker, "-+" * 10)
    era = breaker.era
    stricter = CircuitSettings(
        failure_threshold=None, failure_rate=0.5, window_calls=20, minimum_calls=10
    )
    breaker.reconfigure(stricter, 0.0)
    assert (breaker.state(0.0), breaker.era) == (CLOSED, era)
    assert breaker.snapshot(0.0).calls == 20
    play(breaker, "-")
    assert breaker.state(0.0) is OPEN


@pytest.mark.parametrize("window", [{"window": 60.0}, {"window_calls": 10}, {"window_calls": 400}])
def test_another_window_goes_on_with_the_shares_of_the_old_one(window):
    breaker = circuit(failure_rate=0.9, window_calls=100)
    play(breaker, "+-" * 40)
    breaker.reconfigure(
        CircuitSettings(failure_threshold=None, failure_rate=0.9, minimum_calls=10, **window), 5.0
    )
    told = breaker.snapshot(5.0)
    assert told.calls == min(80, window.get("window_calls", 80))
    assert told.failure_rate == pytest.approx(0.5)


def test_what_usual_is_stays_known_under_another_measure_of_slow():
    breaker = circuit(slow_rate=0.5, window_calls=20, slow_factor=10.0)
    play(breaker, "+" * 50, seconds=2.0)
    settings = CircuitSettings(
        failure_threshold=None, slow_rate=0.5, window_calls=20, slow_factor=2.0, slow_warmup=7
    )
    breaker.reconfigure(settings, 0.0)
    play(breaker, "+" * 5, seconds=5.0)
    assert breaker.snapshot(0.0).slow_rate == 0.25


def test_other_settings_leave_an_opening_and_its_end_alone():
    breaker = Circuit(CircuitSettings(open_seconds=10.0))
    breaker.trip(0.0)
    breaker.reconfigure(CircuitSettings(open_seconds=50.0), 1.0)
    assert breaker.retry_after(1.0) == pytest.approx(9.0)
    assert breaker.quiet is None


def test_openings_forgotten_under_the_old_settings_stay_forgotten():
    breaker = Circuit(CircuitSettings(open_seconds=10.0, open_forget=5.0))
    breaker.trip(0.0)
    breaker.success(breaker.admit(10.0), 10.0)
    breaker.reconfigure(CircuitSettings(open_seconds=10.0, open_forget=500.0), 20.0)
    breaker.trip(20.0)
    assert breaker.retry_after(20.0) == pytest.approx(10.0)


def test_a_window_switched_on_ends_the_quiet():
    breaker = Circuit()
    breaker.reconfigure(CircuitSettings(failure_rate=0.5, window=60.0), 0.0)
    assert breaker.quiet is None
    breaker.reconfigure(CircuitSettings(), 0.0)
    assert breaker.quiet == breaker.era
