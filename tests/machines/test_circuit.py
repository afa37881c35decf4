"""The breaker's state machine: what it admits, what it believes, and how it recovers."""

from __future__ import annotations

import sys

import pytest

from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
OUTCOMES = ["success", "failure", "ignore", "abandon", "renew"]


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


def test_good_probes_of_an_earlier_half_open_time_do_not_help_to_close_it():
    breaker = tripped(success_threshold=2, open_growth=1.0)
    breaker.success(admitted(breaker, 10.0), 10.0)
    breaker.failure(admitted(breaker, 10.0), 10.0)
    breaker.success(admitted(breaker, 20.0), 20.0)
    assert breaker.state(20.0) is HALF_OPEN


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


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_outcome_of_an_expired_probe_changes_nothing(outcome):
    breaker = tripped()
    late = admitted(breaker, 10.0)
    assert not getattr(breaker, outcome)(late, 15.0)
    assert breaker.state(15.0) is HALF_OPEN


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_probes_outcome_counts_once(outcome):
    breaker = tripped(success_threshold=2)
    probe = admitted(breaker, 10.0)
    breaker.abandon(probe, 10.0)
    assert not getattr(breaker, outcome)(probe, 10.0)
    assert breaker.state(10.0) is HALF_OPEN


def test_an_ignored_outcome_frees_the_probes_place_and_proves_nothing():
    breaker = tripped()
    assert breaker.ignore(admitted(breaker, 10.0), 10.0)
    assert breaker.state(10.0) is HALF_OPEN
    assert breaker.admit(10.0) is not None


def test_progress_begins_the_probes_lease_anew():
    breaker = tripped()
    probe = admitted(breaker, 10.0)
    for now in (14.0, 18.0, 22.0):
        assert breaker.renew(probe, now)
        assert breaker.admit(now) is None
    assert breaker.success(probe, 26.9)
    assert breaker.state(26.9) is CLOSED


def test_progress_does_not_raise_an_expired_probe_from_the_dead():
    breaker = tripped()
    probe = admitted(breaker, 10.0)
    assert not breaker.renew(probe, 15.0)
    assert breaker.admit(15.0) is not None


def test_progress_of_a_probe_closes_it_where_that_is_asked_for():
    breaker = tripped(progress_closes=True)
    probe = admitted(breaker, 10.0)
    assert breaker.renew(probe, 11.0)
    assert breaker.state(11.0) is CLOSED
    assert not breaker.failure(probe, 12.0)
    assert breaker.state(12.0) is CLOSED


def test_progress_counts_as_one_success_of_several():
    breaker = tripped(progress_closes=True, success_threshold=2)
    probe = admitted(breaker, 10.0)
    assert breaker.renew(probe, 11.0)
    assert not breaker.renew(probe, 12.0)
    assert not breaker.success(probe, 12.0)
    assert breaker.state(12.0) is HALF_OPEN


def test_progress_of_an_ordinary_call_changes_nothing():
    breaker = circuit(progress_closes=True)
    permit = admitted(breaker, 1.0)
    breaker.failure(permit, 1.0)
    assert breaker.renew(permit, 1.0)
    assert breaker.snapshot(1.0).failures == 1


def test_with_too_many_probes_the_announced_wait_reaches_to_the_first_free_place():
    breaker = tripped(half_open_max_calls=3)
    for now in (10.0, 11.0, 12.0):
        admitted(breaker, now)
    breaker.reconfigure(CircuitSettings(half_open_max_calls=2, probe_seconds=5.0), 12.0)
    wait = breaker.retry_after(12.0)
    assert wait == pytest.approx(4.0)
    assert breaker.admit(12.0 + wait - 0.01) is None
    assert breaker.admit(12.0 + wait) is not None


# Stale permits --------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", OUTCOMES)
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


@pytest.mark.parametrize(("closed", "opening"), [(0.0, 270.0), (99.0, 270.0), (100.0, 10.0)])
def test_openings_are_forgotten_after_a_closed_stretch_and_not_before(closed, opening):
    breaker = circuit(open_growth=3.0, success_threshold=1)
    opening_lengths(breaker, 2)
    breaker.success(admitted(breaker, 1_000.0), 1_000.0)
    assert breaker.state(1_000.0) is CLOSED
    breaker.trip(1_000.0 + closed)
    assert breaker.retry_after(1_000.0 + closed) == pytest.approx(opening)


def test_how_long_openings_are_remembered_can_be_set():
    breaker = circuit(open_growth=3.0, open_forget=0.0)
    opening_lengths(breaker, 3)
    breaker.success(admitted(breaker, 5_000.0), 5_000.0)
    breaker.trip(5_000.0)
    assert breaker.retry_after(5_000.0) == pytest.approx(10.0)


def test_who_has_seen_it_work_wipes_the_openings_away():
    breaker = circuit(open_growth=3.0)
    opening_lengths(breaker, 3)
    breaker.close(1_000.0)
    breaker.trip(1_000.0)
    assert breaker.retry_after(1_000.0) == pytest.approx(10.0)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 9.0), (0.5, 10.0), (0.75, 10.5)])
def test_chance_moves_every_opening_but_the_first_a_little_either_way(chance, seconds):
    breaker = circuit(failure_threshold=1, open_growth=1.0)
    breaker.trip(0.0, chance)
    assert breaker.retry_after(0.0) == 10.0
    breaker.trip(0.0, chance)
    assert breaker.retry_after(0.0) == pytest.approx(seconds)
    again = circuit(failure_threshold=1, open_growth=1.0)
    again.trip(0.0)
    again.failure(admitted(again, 10.0), 10.0, chance=chance)
    assert again.retry_after(10.0) == pytest.approx(seconds)


def test_no_chance_moves_the_opening_beyond_its_maximum():
    breaker = circuit(open_maximum=10.0, open_jitter=0.5)
    breaker.trip(0.0, 0.999)
    assert breaker.retry_after(0.0) == 10.0


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


# Ramp -----------------------------------------------------------------------------------


def closed_again(**settings) -> Circuit:
    """A circuit that closed at second 10."""
    breaker = tripped(**settings)
    breaker.success(admitted(breaker, 10.0), 10.0)
    assert breaker.state(10.0) is CLOSED
    return breaker


@pytest.mark.parametrize(("now", "share"), [(10.0, 10), (15.0, 55), (19.0, 91), (20.0, 100)])
def test_after_closing_the_admitted_share_grows_from_a_tenth_to_all(now, share):
    breaker = closed_again(ramp_seconds=10.0)
    chances = [(number + 0.5) / 100 for number in range(100)]
    assert sum(breaker.admit(now, chance) is not None for chance in chances) == share


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.99])
def test_the_ramp_tells_a_refused_call_when_its_chance_is_enough(chance):
    breaker = closed_again(ramp_seconds=10.0)
    assert breaker.admit(10.0, chance) is None
    wait = breaker.retry_after(10.0, chance)
    assert 0 < wait < 10.0
    assert breaker.admit(10.0 + wait - 0.01, chance) is None
    assert breaker.admit(10.0 + wait + 1e-9, chance) is not None


def test_without_a_ramp_all_calls_are_admitted_at_once():
    assert closed_again().admit(10.0, 0.999) is not None


def test_a_circuit_that_never_opened_or_was_reset_has_no_ramp():
    assert circuit(ramp_seconds=10.0).admit(0.0, 0.999) is not None
    breaker = closed_again(ramp_seconds=10.0)
    breaker.reset(11.0)
    assert breaker.admit(11.0, 0.999) is not None


def test_failures_during_the_ramp_count_as_ever():
    breaker = closed_again(ramp_seconds=10.0)
    for _ in range(2):
        breaker.failure(admitted(breaker, 11.0), 11.0)
    assert breaker.state(11.0) is OPEN


# Quiet ----------------------------------------------------------------------------------


def test_it_is_quiet_while_nothing_needs_to_be_asked_or_told():
    breaker = circuit()
    assert breaker.quiet == breaker.era
    permit = admitted(breaker, 0.0)
    breaker.failure(permit, 0.0)
    assert breaker.quiet is None
    breaker.success(permit, 0.0)
    assert breaker.quiet == breaker.era
    breaker.trip(0.0)
    assert breaker.quiet is None
    assert breaker.open_until == 10.0
    probe = admitted(breaker, 10.0)
    assert breaker.quiet is None
    assert breaker.open_until == 0.0
    breaker.success(probe, 10.0)
    assert breaker.quiet == breaker.era > permit.era


@pytest.mark.parametrize(
    "rules", [{"window": 60.0}, {"window_calls": 100}, {"window_calls": 100, "slow_rate": 0.5}]
)
def test_a_window_keeps_it_from_being_quiet(rules):
    assert circuit(**rules).quiet is None


def test_it_is_quiet_again_when_the_ramp_is_over():
    breaker = closed_again(ramp_seconds=10.0)
    admitted(breaker, 19.9)
    assert breaker.quiet is None
    admitted(breaker, 20.0)
    assert breaker.quiet == breaker.era


# Size -----------------------------------------------------------------------------------


def size(thing: object) -> int:
    """Bytes of a thing and of what its slots hold, things shared by all circuits left out."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return 0 if thing is None else sys.getsizeof(thing)
    slots = getattr(type(thing), "__slots__", ())
    return sys.getsizeof(thing) + sum(size(getattr(thing, slot)) for slot in slots)


def test_a_default_circuit_takes_less_than_a_kilobyte_without_its_settings():
    breaker = Circuit()
    for now in (1.0, 2.0):
        breaker.failure(admitted(breaker, now), now)
    unshared = size(breaker) - size(breaker.settings) - size(breaker._evidence.settings)
    assert 100 < unshared < 1024
