"""What moves a level by itself: errors, rates, failures, slowness, memory; and what holds it."""

from __future__ import annotations

import math

import pytest

from holdfast.errors import BadInputError, ErrorSeverity
from holdfast.system.degradation import (
    Cause,
    DegradationSettings,
    GracefulDegradation,
    MemoryPressure,
    Thresholds,
    graceful,
)
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock(start=0.0) as fake:
        yield fake


def causes(degradation):
    return [(change.cause, change.reason) for change in degradation.history()]


def calls(degradation, number, *, failed=0, seconds=None, scope=None):
    for turn in range(number):
        level = degradation.observe_call(turn >= failed, seconds, scope)
    return level


# Severity


def test_a_critical_error_takes_a_level_once_per_cooldown(clock):
    degradation = GracefulDegradation()
    assert degradation.observe_error("critical", None, "CUDA error") == "high"
    clock.advance(59)
    assert degradation.observe_error(ErrorSeverity.CRITICAL) == "high"
    clock.advance(1)
    assert degradation.observe_error(ErrorSeverity.CRITICAL) == "medium"
    assert causes(degradation) == [
        (Cause.SEVERITY, "critical error: CUDA error"),
        (Cause.SEVERITY, "critical error"),
    ]


def test_lesser_errors_take_none_unless_they_are_told_to(clock):
    degradation = GracefulDegradation()
    for severity in ("low", "medium", "high"):
        assert degradation.observe_error(severity) == "full"
    strict = GracefulDegradation(DegradationSettings(severity="medium"))
    assert strict.observe_error("low") == "full"
    assert strict.observe_error("medium") == "high"
    deaf = GracefulDegradation(DegradationSettings(severity=None))
    assert deaf.observe_error("critical") == "full"


def test_an_error_of_one_dependency_degrades_that_one_alone(clock):
    degradation = GracefulDegradation()
    assert degradation.observe_error("critical", "gpu1") == "high"
    assert degradation.current_level == degradation.level("gpu2") == "full"


def test_critical_errors_that_go_on_keep_the_level_down(clock):
    degradation = GracefulDegradation(DegradationSettings(cooldown=1e6))
    degradation.observe_error("critical")
    for _ in range(10):
        clock.advance(299)
        assert degradation.observe_error("critical") == "high"
    clock.advance(300)
    assert degradation.current_level == "full"


# Errors a minute


RATE = DegradationSettings(error_rate=Thresholds((10, 20, 40, 80), (5, 10, 20, 40)))


def test_the_error_rate_takes_one_level_each_step(clock):
    degradation = GracefulDegradation(RATE)
    assert degradation.observe_rate(9.9) == "full"
    assert degradation.observe_rate(100) == "high"
    assert degradation.observe_rate(100) == "high"
    clock.advance(30)
    assert degradation.observe_rate(30.4) == "medium"
    clock.advance(30)
    assert degradation.observe_rate(30.4) == "medium"
    assert causes(degradation)[1] == (Cause.ERROR_RATE, "30.4 errors a minute")


def test_a_rate_between_the_thresholds_holds_the_level(clock):
    degradation = GracefulDegradation(RATE)
    degradation.observe_rate(12)
    for _ in range(20):
        clock.advance(50)
        assert degradation.observe_rate(6) == "high"
    for _ in range(5):
        clock.advance(60)
        degradation.observe_rate(4.9)
    assert degradation.current_level == "high"
    clock.advance(60)
    assert degradation.current_level == "full"


def test_a_rate_that_nobody_tells_any_more_is_forgotten(clock):
    degradation = GracefulDegradation(RATE)
    degradation.observe_rate(12)
    clock.advance(359)
    assert degradation.current_level == "high"
    clock.advance(1)
    assert degradation.current_level == "full"


def test_without_thresholds_a_rate_says_nothing(clock):
    assert GracefulDegradation().observe_rate(1e9) == "full"


# Failed calls


def test_a_share_of_failures_takes_a_level_once_enough_calls_are_known(clock):
    degradation = GracefulDegradation()
    assert calls(degradation, 9, failed=9) == "full"
    assert degradation.observe_call(True) == "high"
    assert causes(degradation) == [(Cause.FAILURES, "90% of 10 calls failed")]


def test_failures_of_one_level_are_not_held_against_the_next(clock):
    degradation = GracefulDegradation()
    calls(degradation, 10, failed=10)
    clock.advance(31)
    assert calls(degradation, 200) == "high"
    assert len(degradation.history()) == 1


def test_failures_that_go_on_lead_down_to_the_end_and_good_calls_back_up(clock):
    degradation = GracefulDegradation()
    for _ in range(200):
        clock.advance(1)
        degradation.observe_call(False)
    assert degradation.current_level == "minimal"
    assert [c.new for c in degradation.history()] == ["high", "medium", "low", "minimal"]
    for _ in range(1_400):
        clock.advance(1)
        degradation.observe_call(True)
    assert degradation.current_level == "full"


def test_a_service_that_fails_only_when_full_does_not_flap(clock):
    degradation = GracefulDegradation()
    for _ in range(8 * 3_600):
        clock.advance(1)
        degradation.observe_call(degradation.current_level != "full")
    downs = [c for c in degradation.history() if c.degrades]
    # Without doubling there would be one in about 320 seconds: ninety.
    assert len(downs) < 15
    waited = [c.reason for c in degradation.history() if not c.degrades]
    assert waited[:5] == [f"quiet for {s} s" for s in (300, 600, 1200, 2400, 3600)]


def test_failures_of_a_dependency_are_its_own(clock):
    degradation = GracefulDegradation()
    assert calls(degradation, 10, failed=10, scope="gpu1") == "high"
    assert degradation.current_level == "full"


# Latency


def test_calls_slower_than_their_target_take_a_level(clock):
    slow = DegradationSettings(latency=Thresholds((2, 4)), latency_target=1.0)
    degradation = GracefulDegradation(slow)
    assert calls(degradation, 20, seconds=1.9) == "full"
    assert calls(degradation, 30, seconds=3.0) == "high"
    (cause, reason), *more = causes(degradation)
    assert cause is Cause.LATENCY
    assert reason.endswith("times as long as they should")
    assert not more


def test_without_a_target_slow_is_what_is_slow_beside_the_usual(clock):
    degradation = GracefulDegradation(DegradationSettings(latency=Thresholds((2, 4))))
    assert calls(degradation, 200, seconds=75.0) == "full"
    clock.advance(301)
    assert calls(degradation, 40, seconds=200.0) == "high"


def test_slowness_below_the_full_level_does_not_become_the_usual(clock):
    degradation = GracefulDegradation(DegradationSettings(latency=Thresholds((2, 4))))
    calls(degradation, 50, seconds=1.0)
    degradation.degrade("by hand")
    for _ in range(3_000):
        clock.advance(0.5)
        degradation.observe_call(True, 10.0)
    assert degradation.current_level == "medium"  # what 10 times the usual calls for
    assert Cause.LATENCY in {cause for cause, _ in causes(degradation)}


def test_failed_calls_say_nothing_about_latency(clock):
    quick = DegradationSettings(latency=Thresholds((2,)), latency_target=1.0, failures=None)
    assert calls(GracefulDegradation(quick), 100, failed=100, seconds=99.0) == "full"


# Memory


def test_scarce_memory_takes_a_level_and_says_where(clock):
    degradation = GracefulDegradation()
    assert degradation.observe_memory(0.89) == "full"
    assert degradation.observe_memory(MemoryPressure(0.95, None, "/a")) == "high"
    assert causes(degradation) == [(Cause.MEMORY, "95.0% of the memory of /a is in use")]


def test_time_lost_waiting_for_memory_counts_as_well(clock):
    degradation = GracefulDegradation()
    assert degradation.observe_memory(MemoryPressure(0.5, 0.3, "machine")) == "high"
    assert causes(degradation) == [
        (Cause.MEMORY_STALLS, "30.0% of the time is lost waiting for memory")
    ]


def test_with_nothing_given_it_asks_the_machine(clock, monkeypatch):
    degradation = GracefulDegradation()
    monkeypatch.setattr(graceful, "memory_pressure", lambda: MemoryPressure(0.99, 0.0, "machine"))
    assert degradation.observe_memory() == "high"
    monkeypatch.setattr(graceful, "memory_pressure", lambda: None)
    assert degradation.observe_memory(scope="x") == "high"


def test_memory_can_be_ignored(clock):
    settings = DegradationSettings(memory=None, memory_stalls=None)
    assert GracefulDegradation(settings).observe_memory(MemoryPressure(1.0, 1.0, "")) == "full"


# Together


def test_all_signals_must_let_go(clock):
    degradation = GracefulDegradation(RATE)
    degradation.observe_rate(15)
    degradation.observe_memory(0.92)
    for _ in range(20):
        clock.advance(30)
        degradation.observe_rate(0)
        degradation.observe_memory(0.85)
    assert degradation.current_level == "high"
    degradation.observe_memory(0.5)
    clock.advance(300)
    assert degradation.current_level == "full"


def test_one_incident_seen_by_three_drivers_takes_one_level(clock):
    degradation = GracefulDegradation(RATE)
    degradation.observe_rate(1_000)
    degradation.observe_memory(1.0)
    calls(degradation, 20, failed=20)
    assert degradation.observe_error("critical") == "high"


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda d: d.observe_error("awful"), "severity must be one of"),
        (lambda d: d.observe_call(1), "ok must be True or False"),
        (lambda d: d.observe_call(True, -1.0), "seconds must be at least 0"),
        (lambda d: d.observe_call(True, math.nan), "seconds must be at least 0"),
        (lambda d: d.observe_rate(-1), "errors_per_minute must be at least 0"),
        (lambda d: d.observe_rate(math.inf), "errors_per_minute must be at least 0"),
        (lambda d: d.observe_memory(95), "used must be at least 0 and at most 1"),
        (lambda d: d.observe_call(True, 1.0, 5), "scope must be a text"),
    ],
)
def test_what_makes_no_sense_is_refused(act, told):
    with pytest.raises(BadInputError, match=told):
        act(GracefulDegradation())


def test_the_longest_duration_that_a_float_can_hold_is_taken(clock):
    slow = DegradationSettings(latency=Thresholds((2,)))
    assert calls(GracefulDegradation(slow), 30, seconds=1.7e308) == "full"
