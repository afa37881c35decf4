"""What has failed for good: mended, called again, made smaller, and all of it told."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    CircuitBreakerOpenError,
    CircuitState,
    DeadlineExceededError,
    ErrorCategory,
    ErrorHandlingSystem,
)
from holdfast.system.recovery import ReconnectWithProbe
from tests.system.calls import OOM, Failing, Repair, Service, run

# -- recovery -------------------------------------------------------------------------------------


def test_what_was_recovered_is_called_once_more(clock, system):
    repair = Repair()
    system.recovery_procedure.register(ErrorCategory.MODEL, repair)
    failing = Failing(RuntimeError("PytorchStreamReader failed reading zip archive"), 1)
    outcome = run(clock, system.outcome_with_resilience(failing))
    assert outcome.value == "picture"
    assert (failing.calls, repair.runs) == (2, 1)
    assert outcome.changes == ()
    (info,) = system.error_analytics.error_history
    assert (info.recovery_attempted, info.recovery_successful) == (True, True)
    assert info.strategy == "repair"
    assert system.get_system_health()["recovery_rate"] == 1.0
    (kept,) = system.recovery_procedure.get_recovery_history()
    assert kept["success"]


def test_recovered_and_failed_again_is_no_success(clock, system):
    system.recovery_procedure.register(ErrorCategory.MODEL, Repair())
    failing = Failing(RuntimeError("PytorchStreamReader failed reading zip archive"))
    with pytest.raises(RuntimeError):
        run(clock, system.execute_with_resilience(failing))
    assert failing.calls == 2
    assert system.get_system_health()["recovery_rate"] == 0.0


def test_what_was_not_verified_is_not_called_again(clock, system):
    repair = Repair(works=False)
    system.recovery_procedure.register(ErrorCategory.MODEL, repair)
    failing = Failing(RuntimeError("PytorchStreamReader failed reading zip archive"))
    with pytest.raises(RuntimeError):
        run(clock, system.execute_with_resilience(failing))
    assert (failing.calls, repair.runs) == (1, 1)
    (info,) = system.error_analytics.error_history
    assert (info.recovery_attempted, info.recovery_successful) == (True, False)


def test_recovery_comes_after_all_retries_and_its_call_is_one_call(clock, system):
    repair = Repair()
    system.recovery_procedure.register(ErrorCategory.NETWORK, repair)
    failing = Failing(ConnectionError("connection refused"))
    with pytest.raises(ConnectionError):
        run(clock, system.execute_with_resilience(failing))
    assert failing.calls == 3 + 1
    assert repair.runs == 1


def test_changed_arguments_are_used_and_told(clock, system):
    repair = Repair(changes=lambda context: context.use_arguments((4,)))
    system.recovery_procedure.register(ErrorCategory.MEMORY, repair, first=True)
    failing = Failing(RuntimeError(OOM), 1)
    outcome = run(clock, system.outcome_with_resilience(failing, 8))
    assert [args for args, _ in failing.seen] == [(8,), (4,)]
    assert outcome.value == "picture"
    assert "other arguments" in outcome.changes[0]


def test_an_offered_result_is_told_as_a_change(clock, system):
    repair = Repair(changes=lambda context: context.offer_result("old", "from the cache, 3 s old"))
    system.recovery_procedure.register(ErrorCategory.NETWORK, repair)
    failing = Failing(ConnectionError("connection refused"))
    outcome = run(clock, system.outcome_with_resilience(failing))
    assert outcome.value == "old"
    assert outcome.changes == ("recovery repair: from the cache, 3 s old",)


def test_a_chain_is_asked_after_recovery_and_with_the_arguments_given(clock, system):
    repair = Repair(changes=lambda context: context.use_arguments((4,)))
    system.recovery_procedure.register(ErrorCategory.MEMORY, repair, first=True)
    spare = Failing(ValueError(), 0)
    system.get_fallback_chain("render").add_fallback(spare)
    first = Failing(RuntimeError(OOM))
    run(clock, system.execute_with_resilience(first, 8, fallback_chain_name="render"))
    assert [args for args, _ in first.seen] == [(8,), (4,)]
    assert spare.seen == [((8,), {})]


def test_recovery_can_be_switched_off(clock):
    system = ErrorHandlingSystem({"system": {"recover": False}})
    repair = Repair()
    system.recovery_procedure.register(None, repair)
    with pytest.raises(ConnectionError):
        run(clock, system.execute_with_resilience(Failing(ConnectionError())))
    assert repair.runs == 0


def test_the_total_limit_holds_over_recovery_too(clock):
    system = ErrorHandlingSystem({"system": {"total": 10.0}})

    class Slow(Repair):
        timeout = 60.0

        async def apply(self, error, context):
            await asyncio.sleep(50)

    system.recovery_procedure.register(ErrorCategory.MODEL, Slow())
    began = clock.now()
    with pytest.raises((DeadlineExceededError, RuntimeError)):
        run(
            clock,
            system.execute_with_resilience(
                Failing(RuntimeError("PytorchStreamReader failed reading zip archive"))
            ),
        )
    assert clock.now() - began <= 11


def test_a_refused_call_is_not_recovered(clock, system):
    repair = Repair()
    system.recovery_procedure.register(None, repair)
    system.get_circuit_breaker("gpu1").force_open()
    with pytest.raises(CircuitBreakerOpenError):
        run(
            clock,
            system.execute_with_resilience(Failing(OSError()), circuit_breaker_name="gpu1"),
        )
    assert repair.runs == 0


# -- many at once, and a breaker between -----------------------------------------------------------


@pytest.mark.parametrize("callers", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("retry", [True, False])
def test_callers_that_fail_at_once_reconnect_once_and_all_get_their_result(clock, callers, retry):
    system, service = ErrorHandlingSystem(), Service()
    system.recovery_procedure.register(
        ErrorCategory.NETWORK,
        ReconnectWithProbe(connect=service.connect, probe=lambda: service.up),
    )

    async def main():
        return await asyncio.gather(
            *(
                system.execute_with_resilience(
                    service, circuit_breaker_name="gpu1", enable_retry=retry
                )
                for _ in range(callers)
            ),
            return_exceptions=True,
        )

    assert run(clock, main()) == ["picture"] * callers
    assert service.reconnects == 1
    assert system.circuit_breakers["gpu1"].state is CircuitState.CLOSED
    kinds = {info.error_type for info in system.error_analytics.error_history}
    assert kinds == {"ConnectionRefusedError"}


def test_a_breaker_forced_open_is_not_closed_by_a_recovery(clock, system):
    repair = Repair()
    system.recovery_procedure.register(None, repair)
    failing = Failing(ConnectionError("refused"))
    with pytest.raises((ConnectionError, CircuitBreakerOpenError)):
        run(clock, system.execute_with_resilience(failing, circuit_breaker_name="gpu1"))
    system.get_circuit_breaker("gpu1").force_open()
    with pytest.raises(CircuitBreakerOpenError):
        run(clock, system.execute_with_resilience(failing, circuit_breaker_name="gpu1"))
    assert system.circuit_breakers["gpu1"].state is CircuitState.FORCED_OPEN


def test_what_does_not_fit_is_not_held_against_the_dependency(clock, system):
    def render(*, width, height):
        if width * height > 500_000:
            raise MemoryError("cannot allocate")
        return width, height

    for _ in range(3):
        outcome = system.call_outcome_with_resilience(
            render, width=4000, height=3000, circuit_breaker_name="gpu1", adjust_parameters=True
        )
        assert outcome.ok, outcome.error
    assert system.circuit_breakers["gpu1"].state is CircuitState.CLOSED
    small = system.call_outcome_with_resilience(
        render, width=640, height=480, circuit_breaker_name="gpu1", adjust_parameters=True
    )
    assert (small.value, small.changes) == ((640, 480), ())


def test_a_critical_error_of_one_dependency_leaves_the_others_alone(clock, system):
    failing = Failing(RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError):
        run(clock, system.execute_with_resilience(failing, circuit_breaker_name="gpu1"))
    assert system.graceful_degradation.level("gpu1") == "high"
    assert system.graceful_degradation.level("gpu2") == "full"


def test_one_proof_closes_the_breaker_once(clock):
    system = ErrorHandlingSystem(
        {"circuit_breaker": {"failure_threshold": 1}, "retry": {"budget_ratio": None}}
    )
    connects, calls = [], []

    async def probe():
        await asyncio.sleep(0.05)
        return True

    system.recovery_procedure.register(
        ErrorCategory.NETWORK, ReconnectWithProbe(connect=lambda: connects.append(1), probe=probe)
    )

    async def down():
        calls.append(1)
        raise ConnectionRefusedError("connection refused")

    async def main():
        await asyncio.gather(
            *(
                system.execute_with_resilience(
                    down, circuit_breaker_name="gpu1", enable_retry=False
                )
                for _ in range(100)
            ),
            return_exceptions=True,
        )

    run(clock, main())
    assert len(connects) == 1
    assert len(calls) <= 4
    assert system.circuit_breakers["gpu1"].state is CircuitState.OPEN


def test_a_breaker_opened_by_hand_or_by_something_else_is_left_alone(clock, system):
    repair = Repair()
    system.recovery_procedure.register(ErrorCategory.NETWORK, repair)
    with pytest.raises(ConnectionError):
        run(
            clock,
            system.execute_with_resilience(
                Failing(ConnectionError("refused")), circuit_breaker_name="gpu1", enable_retry=False
            ),
        )
    clock.advance(1)
    system.get_circuit_breaker("gpu1").trip()
    before = repair.runs
    with pytest.raises(CircuitBreakerOpenError):
        system.call_with_resilience(int, circuit_breaker_name="gpu1")
    assert repair.runs == before
    assert system.circuit_breakers["gpu1"].state is CircuitState.OPEN


def test_an_error_that_takes_no_marks_comes_through_as_it_is(clock, system):
    class Stubborn(ConnectionError):
        def __setattr__(self, name, value):
            raise ValueError("no")

    repair = Repair(works=False)
    system.recovery_procedure.register(ErrorCategory.NETWORK, repair)
    with pytest.raises(Stubborn):
        run(clock, system.execute_with_resilience(Failing(Stubborn("x"))))
    assert repair.runs == 1
    assert [one.error_type for one in system.error_analytics.error_history] == ["Stubborn"] * 2


# -- degradation ----------------------------------------------------------------------------------


def test_a_critical_error_takes_a_level_away(clock, system):
    with pytest.raises(RuntimeError):
        run(
            clock,
            system.execute_with_resilience(
                Failing(RuntimeError("CUDA error: an illegal memory access was encountered"))
            ),
        )
    assert system.graceful_degradation.current_level == "high"
    assert system.get_system_health()["status"] == "degraded"


def test_parameters_are_reduced_as_far_as_needed_and_it_is_told(clock, system):
    async def render(*, width, height, steps):
        if width * height > 1000 * 600:
            raise RuntimeError(OOM)
        return width, height

    outcome = run(
        clock,
        system.outcome_with_resilience(
            render, width=1920, height=1080, steps=30, adjust_parameters=True
        ),
    )
    assert outcome.ok
    width, height = outcome.value
    assert width * height <= 600_000
    assert any("width" in one and "1920" in one for one in outcome.changes)
    assert system.graceful_degradation.current_level == "full"
    # That one request was too large says nothing about the next.
    assert system.graceful_degradation.level("system") == "full"


def test_parameters_are_left_alone_unless_it_is_allowed(clock, system):
    system.graceful_degradation.degrade("by hand", levels=2)
    seen = Failing(ValueError(), 0)
    run(clock, system.execute_with_resilience(seen, steps=30))
    assert seen.seen == [((), {"steps": 30})]
    run(clock, system.execute_with_resilience(seen, {"steps": 30}, adjust_parameters=True))
    assert seen.seen[1][0][0]["steps"] < 30


def test_no_other_error_reduces_parameters(clock, system):
    failing = Failing(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        run(clock, system.execute_with_resilience(failing, steps=30, adjust_parameters=True))
    assert failing.calls == 1


def test_latency_is_observed_where_it_is_asked_for(clock):
    system = ErrorHandlingSystem(
        {
            "degradation": {
                "latency": {"degrade": [2, 3], "restore": [1.5, 2]},
                "latency_target": 1.0,
                "minimum_calls": 3,
            }
        }
    )

    async def main():
        for _ in range(5):
            await system.execute_with_resilience(asyncio.sleep, 5)

    run(clock, main())
    assert system.graceful_degradation.current_level != "full"
