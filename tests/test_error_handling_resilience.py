"""The drop-in: StoryCore-Engine's module, name for name, with what its documentation shows."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import error_handling_resilience as drop_in
from error_handling_resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerOpenError,
    CircuitState,
    ErrorAnalytics,
    ErrorCategory,
    ErrorHandlingSystem,
    ErrorInfo,
    ErrorSeverity,
    FallbackChain,
    FallbackChainExhaustedError,
    GracefulDegradation,
    RecoveryProcedure,
    RetryConfig,
    RetryMechanism,
)
from holdfast.testing import FakeClock

ROOT = Path(__file__).parents[1]


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


def info(category=ErrorCategory.NETWORK, severity=ErrorSeverity.HIGH, **more):
    return ErrorInfo(
        timestamp=datetime.now(),  # noqa: DTZ005  # as the original has it
        error_type="TestError",
        error_message="Test",
        category=category,
        severity=severity,
        **more,
    )


def test_it_is_imported_from_a_checkout_as_in_its_documentation():
    code = "from src.error_handling_resilience import ErrorHandlingSystem; ErrorHandlingSystem()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_every_name_is_there():
    for name in drop_in.__all__:
        assert getattr(drop_in, name)


# -- retry ---------------------------------------------------------------------------------------


def test_delays_grow():
    retry = RetryMechanism(RetryConfig(max_attempts=3, initial_delay=0.1, jitter=False))
    assert [retry.calculate_delay(n) for n in range(3)] == pytest.approx([0.1, 0.2, 0.4])
    jittered = RetryMechanism(RetryConfig(initial_delay=1.0))
    assert all(0.75 <= jittered.calculate_delay(0) <= 1.25 for _ in range(100))
    assert RetryMechanism(RetryConfig(jitter=False)).calculate_delay(50) == 60.0


def test_which_errors_are_retryable():
    retry = RetryMechanism()
    assert retry.is_retryable(ConnectionError())
    assert retry.is_retryable(TimeoutError())
    assert not retry.is_retryable(ValueError())


def test_execute_with_retry(clock):
    retry, calls = RetryMechanism(RetryConfig(max_attempts=3, initial_delay=0.1)), []

    async def flaky_func():
        calls.append(1)
        if len(calls) < 2:
            raise ConnectionError("Temporary error")
        return "success"

    async def always_fails():
        raise ConnectionError("Always fails")

    assert clock.run(retry.execute_with_retry(flaky_func)) == "success"
    assert len(calls) == 2
    with pytest.raises(ConnectionError):
        clock.run(retry.execute_with_retry(always_fails))
    assert retry.get_stats() == {
        "flaky_func": {"attempts": 2, "successes": 1, "failures": 1},
        "always_fails": {"attempts": 3, "successes": 0, "failures": 3},
    }


# -- circuit breaker ------------------------------------------------------------------------------


@pytest.fixture
def breaker(clock):
    return CircuitBreaker("test", CircuitBreakerConfig(failure_threshold=2, timeout=1.0))


def test_it_opens_and_lets_one_in_when_its_time_is_over(breaker, clock):
    assert breaker.state == CircuitState.CLOSED
    assert breaker.can_execute()
    breaker.record_failure()
    assert breaker.state == CircuitState.CLOSED
    breaker.record_failure()
    assert breaker.state == CircuitState.OPEN
    assert not breaker.can_execute()
    clock.advance(1.1)
    assert breaker.can_execute()
    assert breaker.state == CircuitState.HALF_OPEN


def test_asked_first_and_executed_then_is_one_probe(breaker, clock):
    breaker.record_failure()
    breaker.record_failure()
    clock.advance(1.1)

    async def main():
        assert breaker.can_execute()
        return await breaker.execute(work)

    async def work():
        return "success"

    assert clock.run(main()) == "success"


@pytest.mark.parametrize("state", list(CircuitState))
def test_its_state_can_be_assigned(breaker, state):
    breaker.state = state
    assert breaker.state == state
    breaker.state = state.value
    assert breaker.state == state


def test_successes_while_half_open_close_it(breaker):
    breaker.state = CircuitState.HALF_OPEN
    breaker.record_success()
    assert breaker.success_count == 1
    breaker.record_success()
    assert breaker.state == CircuitState.CLOSED


def test_a_failure_while_half_open_opens_it(breaker):
    breaker.state = CircuitState.HALF_OPEN
    breaker.record_failure()
    assert breaker.state == CircuitState.OPEN


def test_execute(breaker, clock):
    async def fail_func():
        raise Exception("Test error")  # noqa: TRY002

    async def main():
        for _ in range(2):
            with pytest.raises(Exception, match="Test error"):
                await breaker.execute(fail_func)
        with pytest.raises(CircuitBreakerOpenError):
            await breaker.execute(fail_func)

    clock.run(main())


def test_its_state_as_a_dict(breaker):
    breaker.record_failure()
    told = breaker.get_state()
    assert told["name"] == "test"
    assert told["state"] == "closed"
    assert (told["failure_count"], told["success_count"]) == (1, 0)
    assert datetime.fromisoformat(told["last_failure_time"])
    json.dumps(told)


# -- fallback chain ------------------------------------------------------------------------------


def test_the_chain(clock):
    chain = FallbackChain("test_chain")

    async def primary(request, quality=1.0):
        raise Exception("Primary failed")  # noqa: TRY002

    async def fallback(request, quality=1.0):
        return request, quality

    chain.add_fallback(primary)
    chain.add_fallback(fallback, {"quality": 0.5})
    assert clock.run(chain.execute("shot")) == ("shot", 0.5)
    assert chain.get_stats() == {
        "primary": {"attempts": 1, "successes": 0},
        "fallback": {"attempts": 1, "successes": 1},
    }
    assert chain.fallbacks[1] == (fallback, {"quality": 0.5})


def test_an_exhausted_chain(clock):
    chain = FallbackChain("test_chain")

    async def primary():
        raise ValueError("bad prompt")

    chain.add_fallback(primary)
    chain.add_fallback(primary)
    with pytest.raises(FallbackChainExhaustedError):
        clock.run(chain.execute())


# -- degradation, analytics, recovery ------------------------------------------------------------


def test_degradation():
    degradation = GracefulDegradation()
    assert degradation.current_level == "full"
    assert degradation.degrade("Test reason") == "high"
    assert degradation.degrade("Another reason") == "medium"
    assert degradation.restore() == "high"
    assert {"quality", "features"} <= set(degradation.get_config())
    params = {"quality": 1.0, "resolution": "1080p", "steps": 50}
    adjusted = degradation.adjust_parameters(params)
    assert adjusted["quality"] == pytest.approx(0.8)
    assert adjusted["steps"] == 40
    assert adjusted["resolution"] == "720p"
    assert params == {"quality": 1.0, "resolution": "1080p", "steps": 50}
    degradation.current_level = "low"
    assert degradation._adjust_resolution("1080p", 0.4) in ["720p", "480p", "360p", "240p"]


def test_analytics():
    analytics = ErrorAnalytics()
    analytics.record_error(info(recovery_attempted=True, recovery_successful=True))
    analytics.record_error(info(recovery_attempted=True))
    assert len(analytics.error_history) == 2
    assert analytics.get_error_rate(timedelta(hours=1)) > 0
    assert analytics.get_most_common_errors() == [("TestError", 2)]
    assert len(analytics.get_errors_by_category(ErrorCategory.NETWORK)) == 2
    assert len(analytics.get_errors_by_severity(ErrorSeverity.HIGH)) == 2
    assert analytics.get_recovery_rate() == 0.5
    report = analytics.generate_report()
    assert {
        "total_errors",
        "error_rate_per_minute",
        "most_common_errors",
        "errors_by_category",
        "errors_by_severity",
        "recovery_rate",
        "recent_critical_errors",
    } <= set(report)


async def test_recovery_claims_nothing_it_has_not_done():
    recovery = RecoveryProcedure()
    assert not await recovery.attempt_recovery(info())
    assert not await recovery.attempt_recovery(info(ErrorCategory.UNKNOWN))
    assert isinstance(recovery.get_recovery_history(), list)


# -- the system ----------------------------------------------------------------------------------


@pytest.fixture
def system(clock):
    return ErrorHandlingSystem()


def test_parts_by_name(system):
    assert isinstance(system.get_circuit_breaker("test"), CircuitBreaker)
    assert system.get_circuit_breaker("test") is system.get_circuit_breaker("test")
    assert isinstance(system.get_fallback_chain("test"), FallbackChain)
    assert system.get_fallback_chain("test") is system.fallback_chains["test"]
    config = CircuitBreakerConfig(failure_threshold=2)
    assert system.get_circuit_breaker("other", config).config.failure_threshold == 2
    assert "other" in system.circuit_breakers


def test_categories_and_severities(system):
    assert system._categorize_error(ConnectionError()) == ErrorCategory.NETWORK
    assert system._categorize_error(MemoryError()) == ErrorCategory.MEMORY
    created = system._create_error_info(ValueError("no"))
    assert (created.error_type, created.error_message) == ("ValueError", "no")


def test_example_1_retry(system, clock):
    async def flaky_function():
        if random.random() < 0.7:
            raise ConnectionError("Network error")
        return "Success"

    async def main():
        return await system.execute_with_resilience(flaky_function, enable_retry=True)

    random.seed(1)
    assert clock.run(main()) == "Success"


def test_example_2_circuit_breaker(system, clock):
    circuit_breaker = system.get_circuit_breaker("api_calls")

    async def make_request():
        raise ConnectionError("down")

    async def api_call():
        return await make_request()

    async def main():
        results = []
        for _ in range(7):
            try:
                results.append(await circuit_breaker.execute(api_call))
            except CircuitBreakerOpenError:
                results.append("cached")
            except ConnectionError:
                results.append("failed")
        return results

    assert clock.run(main()) == ["failed"] * 5 + ["cached"] * 2


def test_example_3_fallback_chain(system, clock):
    fallback_chain = system.get_fallback_chain("video_generation")

    async def primary_workflow():
        raise MemoryError

    async def fallback_workflow():
        return "standard"

    fallback_chain.add_fallback(primary_workflow)
    fallback_chain.add_fallback(fallback_workflow)
    assert clock.run(fallback_chain.execute()) == "standard"


def test_example_6_complete_resilience(system, clock):
    system.get_fallback_chain("my_fallbacks").add_fallback(asyncio.sleep)

    async def my_function(*_):
        raise ValueError("no")

    async def spare(*_):
        return "spare"

    system.get_fallback_chain("spare").add_fallback(spare)

    async def main():
        return await system.execute_with_resilience(
            my_function,
            circuit_breaker_name="my_service",
            fallback_chain_name="spare",
            enable_retry=True,
        )

    assert clock.run(main()) == "spare"
    health = system.get_system_health()
    assert health["degradation_level"] == "full"
    assert health["error_rate"] > 0
    assert health["recovery_rate"] == 0.0
    report = system.generate_resilience_report()
    assert {"system_health", "error_analytics", "recovery_history", "timestamp"} <= set(report)
    json.dumps(report)


def test_without_resilience_the_errors_come_through(system, clock):
    async def main():
        with pytest.raises(ValueError, match="no"):
            await system.execute_with_resilience(fails)

    async def fails():
        raise ValueError("no")

    clock.run(main())
    assert system.error_analytics.generate_report()["total_errors"] == 1
