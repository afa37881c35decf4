"""One call with everything: what is retried, remembered, counted and told."""

from __future__ import annotations

import asyncio
import json

import pytest

from holdfast import (
    BadInputError,
    CircuitBreakerOpenError,
    CircuitState,
    ErrorCategory,
    ErrorHandlingSystem,
    FallbackChainExhaustedError,
    RejectedError,
    report_of,
)
from holdfast.testing import scenario
from tests.system.calls import OOM, Failing, Repair, run

# -- retry, breaker, chain ---------------------------------------------------------------------


def test_what_passes_by_itself_is_retried(clock, system):
    flaky = Failing(ConnectionError("connection reset by peer"), 2)
    assert run(clock, system.execute_with_resilience(flaky)) == "picture"
    assert flaky.calls == 3
    (stats,) = system.get_system_health()["retry_stats"].values()
    assert stats == {"calls": 1, "attempts": 3, "successes": 1, "failures": 2, "rejected": 0}
    assert system.error_analytics.generate_report()["total_errors"] == 0


@pytest.mark.parametrize(
    "error", [ValueError("width must be a multiple of 8"), MemoryError(), FileNotFoundError("a")]
)
def test_what_does_not_pass_by_itself_is_called_once(clock, system, error):
    failing = Failing(error)
    with pytest.raises(type(error)):
        run(clock, system.execute_with_resilience(failing))
    assert failing.calls == 1


def test_without_retry_it_is_called_once(clock, system):
    failing = Failing(ConnectionError())
    with pytest.raises(ConnectionError):
        run(clock, system.execute_with_resilience(failing, enable_retry=False))
    assert failing.calls == 1


def test_a_breaker_by_name_opens_and_refuses(clock, system):
    failing = Failing(ConnectionError("refused"))

    async def main():
        with pytest.raises(ConnectionError):
            await system.execute_with_resilience(failing, circuit_breaker_name="gpu1")
        # It opens at the fifth failure, which is the second one of this call.
        with pytest.raises(CircuitBreakerOpenError):
            await system.execute_with_resilience(failing, circuit_breaker_name="gpu1")
        with pytest.raises(CircuitBreakerOpenError):
            await system.execute_with_resilience(failing, circuit_breaker_name="gpu1")

    run(clock, main())
    assert failing.calls == 5
    assert system.circuit_breakers["gpu1"].state is CircuitState.OPEN
    health = system.get_system_health()
    assert health["circuit_breakers"]["gpu1"]["state"] == "open"
    assert health["status"] == "unhealthy"


def test_the_function_is_the_first_target_of_the_chain(clock, system):
    first, second = Failing(ValueError("no")), Failing(ValueError("no"), 0)
    system.get_fallback_chain("render").add_fallback(second)
    outcome = run(clock, system.outcome_with_resilience(first, 7, fallback_chain_name="render"))
    assert outcome.value == "picture"
    assert (first.calls, second.calls) == (1, 1)
    assert second.seen == [((7,), {})]
    assert outcome.changes == ("render: target '__call__' gave the result",)


def test_an_exhausted_chain_carries_and_records_every_error_once(clock, system):
    system.get_fallback_chain("render").add_fallback(Failing(KeyError("model")))
    with pytest.raises(FallbackChainExhaustedError) as caught:
        run(
            clock,
            system.execute_with_resilience(Failing(ValueError("no")), fallback_chain_name="render"),
        )
    assert [type(one) for one in caught.value.errors.values()] == [ValueError, KeyError]
    kinds = [info.error_type for info in system.error_analytics.error_history]
    assert kinds == ["ValueError", "KeyError"]


# -- memory --------------------------------------------------------------------------------------


def test_a_failure_is_classified_recorded_and_told(clock, system):
    with pytest.raises(RuntimeError) as caught:
        run(clock, system.execute_with_resilience(Failing(RuntimeError(OOM))))
    (info,) = system.error_analytics.error_history
    assert info.category is ErrorCategory.MEMORY
    assert info.dependency == "system"
    report = report_of(caught.value)
    assert any("memory" in step and "best mended by" in step for step in report.steps)
    told = system.generate_resilience_report()
    assert set(told) >= {"system_health", "error_analytics", "recovery_history", "timestamp"}
    json.dumps(told)


def test_the_same_error_object_is_recorded_for_each_call_that_it_ends(clock, system):
    failing = Failing(ValueError("always this one"))
    for _ in range(3):
        with pytest.raises(ValueError, match="always"):
            run(clock, system.execute_with_resilience(failing))
    assert len(system.error_analytics.error_history) == 3


def test_secrets_reach_neither_analytics_nor_report(clock, system):
    secret = "sk-" + "a1B2" * 12
    with pytest.raises(ValueError, match="key"):
        run(clock, system.execute_with_resilience(Failing(ValueError(f"bad api key {secret}"))))
    told = json.dumps(system.generate_resilience_report())
    assert secret not in told
    assert secret not in (system.error_analytics.error_history[0].traceback or "")


async def test_cancellation_is_no_error(system):
    task = asyncio.create_task(system.execute_with_resilience(asyncio.sleep, 60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(system.error_analytics.error_history) == 0


def test_refusals_are_counted_and_not_recorded(clock, system):
    system.get_circuit_breaker("gpu1").trip()
    for _ in range(10):
        with pytest.raises(CircuitBreakerOpenError):
            system.call_with_resilience(int, circuit_breaker_name="gpu1")
    assert len(system.error_analytics.error_history) == 0
    assert system.get_system_health()["retry_stats"]["int"]["rejected"] == 10


async def test_cancelled_calls_are_no_successes(system):
    task = asyncio.create_task(system.execute_with_resilience(asyncio.sleep, 60))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert system.get_system_health()["retry_stats"]["sleep"]["successes"] == 0


def test_what_failed_on_the_way_to_a_result_is_recorded(clock, system):
    def second(_):
        raise KeyError("model")

    system.get_fallback_chain("c").add_fallback(second).add_fallback(lambda *_: "third")

    def first(_):
        raise ValueError("no")

    assert system.call_with_resilience(first, 1, fallback_chain_name="c") == "third"
    kinds = [info.error_type for info in system.error_analytics.error_history]
    assert kinds == ["ValueError", "KeyError"]


# -- sync, decorator -----------------------------------------------------------------------------


def test_the_sync_twin_does_the_same(clock, system):
    repair = Repair()
    system.recovery_procedure.register(ErrorCategory.MODEL, repair)
    load = scenario().fails(1, RuntimeError("PytorchStreamReader failed")).then_succeeds("model")
    assert system.call_with_resilience(load, circuit_breaker_name="models") == "model"
    assert repair.runs == 1
    outcome = system.call_outcome_with_resilience(scenario().fails(9, ConnectionError()))
    assert not outcome.ok
    assert outcome.attempts == 3


def test_as_a_decorator(clock, system):
    calls = []

    @system.resilient(circuit_breaker_name="gpu1")
    async def render(shot):
        calls.append(shot)
        if len(calls) < 2:
            raise ConnectionError
        return shot

    @system.resilient()
    def load(name):
        return name

    assert run(clock, render(7)) == 7
    assert load("a") == "a"
    assert render.__name__ == "render"
    assert "gpu1" in system.circuit_breakers


def test_a_decorator_refuses_what_it_cannot_protect(system):
    with pytest.raises(BadInputError, match="is no option"):
        system.resilient(breaker="gpu1")
    with pytest.raises(BadInputError, match="generator"):

        @system.resilient()
        def items():
            yield 1


# -- closing -------------------------------------------------------------------------------------


def test_closed_it_lets_nothing_in(clock, system):
    assert system.call_with_resilience(int) == 0
    system.close()
    with pytest.raises(RejectedError):
        system.call_with_resilience(int)
    with pytest.raises(RejectedError):
        system.call_with_resilience(int, circuit_breaker_name="new")


async def test_closing_waits_for_calls_on_their_way():
    async with ErrorHandlingSystem() as system:
        task = asyncio.create_task(system.execute_with_resilience(asyncio.sleep, 0.05))
        await asyncio.sleep(0.01)
    assert task.done()


# -- health --------------------------------------------------------------------------------------


def test_health_of_a_thousand_breakers_is_told_from_their_state(clock):
    system = ErrorHandlingSystem()
    for number in range(1000):
        system.get_circuit_breaker(f"b{number}")
    system.get_circuit_breaker("b7").record_failure()
    health = system.get_system_health()
    assert len(health["circuit_breakers"]) == 1000
    assert health["circuit_breakers"]["b7"]["failure_count"] == 1
    assert health["status"] == "healthy"
