"""One call with everything: what is retried, mended, degraded, remembered, and told."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from holdfast import (
    BadInputError,
    CircuitBreakerOpenError,
    CircuitState,
    DeadlineExceededError,
    ErrorCategory,
    ErrorHandlingSystem,
    FallbackChainExhaustedError,
    RejectedError,
    Strategy,
    report_of,
)
from holdfast.system.recovery import ReconnectWithProbe
from holdfast.testing import FakeClock, scenario

OOM = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 24.00 GiB"


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def system():
    return ErrorHandlingSystem()


class Failing:
    """Fails so many times, then succeeds."""

    def __init__(self, error, times=10**9):
        self.error, self.times, self.calls, self.seen = error, times, 0, []

    async def __call__(self, *args, **kwargs):
        self.calls += 1
        self.seen.append((args, kwargs))
        if self.calls <= self.times:
            raise self.error
        return "picture"


class Repair(Strategy):
    """Repairs if its effect can be verified."""

    name = "repair"
    timeout = 5.0
    cooldown = 0.0
    shared = False

    def __init__(self, *, works=True, changes=None):
        self.works, self.changes, self.runs = works, changes, 0

    def applies(self, error, context):
        return True

    def apply(self, error, context):
        self.runs += 1
        if self.changes:
            self.changes(context)

    def verify(self, error, context):
        return self.works


def run(clock, coroutine):
    return clock.run(coroutine)


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


# -- names ---------------------------------------------------------------------------------------


def test_a_name_is_always_the_same_object(system):
    assert system.get_circuit_breaker("a") is system.get_circuit_breaker("a")
    assert system.get_fallback_chain("a") is system.get_fallback_chain("a")
    with pytest.raises(BadInputError, match="failure_threshold must be what"):
        system.get_circuit_breaker("a", {"failure_threshold": 9})
    assert system.get_circuit_breaker("b", {"failure_threshold": 9}).circuit.settings


def test_a_million_names_do_not_exhaust_memory(clock):
    system = ErrorHandlingSystem({"system": {"max_breakers": 10, "max_chains": 3}})
    kept = system.get_circuit_breaker("kept")
    kept.trip()
    held = system.get_circuit_breaker("held")
    for number in range(200):
        system.get_circuit_breaker(f"breaker-{number}")
        system.call_with_resilience(int, circuit_breaker_name=f"breaker-{number}")
    assert len(system.circuit_breakers) == 10
    assert sum(map(len, system._ready.values())) <= 10
    assert system.circuit_breakers["kept"] is kept
    assert system.get_circuit_breaker("held") is held
    for number in range(3):
        system.get_fallback_chain(f"chain-{number}")
    with pytest.raises(BadInputError, match="max_chains"):
        system.get_fallback_chain("one more")


def test_functions_beyond_the_limit_share_their_counts(system):
    for number in range(1100):

        def work():
            return 1

        work.__qualname__ = f"work{number}"
        system.call_with_resilience(work)
    stats = system.get_system_health()["retry_stats"]
    assert len(stats) == 1001
    assert stats["(others)"]["calls"] == 100


def test_many_threads_share_one_system(system):
    failing = threading.Barrier(8)

    def work():
        failing.wait()
        for number in range(50):
            outcome = system.call_outcome_with_resilience(
                int, "x" if number % 2 else "1", circuit_breaker_name=f"b{number % 5}"
            )
            assert outcome.ok or "ValueError" in repr(outcome.error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert system.error_analytics.generate_report()["total_errors"] <= 200
    assert len(system.circuit_breakers) == 5


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


# -- many at once, and a breaker between -----------------------------------------------------------


class Service:
    """Down until somebody reconnects."""

    def __init__(self):
        self.up, self.reconnects, self.calls = False, 0, 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(0.01)
        if not self.up:
            raise ConnectionRefusedError("connection refused")
        return "picture"

    def connect(self):
        self.reconnects += 1
        self.up = True


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


def test_refusals_are_counted_and_not_recorded(clock, system):
    system.get_circuit_breaker("gpu1").trip()
    for _ in range(10):
        with pytest.raises(CircuitBreakerOpenError):
            system.call_with_resilience(int, circuit_breaker_name="gpu1")
    assert len(system.error_analytics.error_history) == 0
    assert system.get_system_health()["retry_stats"]["int"]["rejected"] == 10


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


def test_wrong_requests_open_no_breaker(clock, system):
    for _ in range(10):
        with pytest.raises(ValueError, match="invalid literal"):
            system.call_with_resilience(int, "twelve", circuit_breaker_name="gpu1")
    assert system.call_with_resilience(int, "12", circuit_breaker_name="gpu1") == 12
    assert system.get_system_health()["status"] == "healthy"


def test_functions_that_share_a_chain_do_not_share_their_health(clock, system):
    system.get_fallback_chain("c").add_fallback(lambda *_: "fallback")

    def broken(_):
        raise ConnectionError("connection refused")

    for _ in range(6):
        assert system.call_with_resilience(broken, 1, fallback_chain_name="c") == "fallback"
    assert system.call_with_resilience(str, 5, fallback_chain_name="c") == "5"


def test_what_failed_on_the_way_to_a_result_is_recorded(clock, system):
    def second(_):
        raise KeyError("model")

    system.get_fallback_chain("c").add_fallback(second).add_fallback(lambda *_: "third")

    def first(_):
        raise ValueError("no")

    assert system.call_with_resilience(first, 1, fallback_chain_name="c") == "third"
    kinds = [info.error_type for info in system.error_analytics.error_history]
    assert kinds == ["ValueError", "KeyError"]


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


async def test_cancelled_calls_are_no_successes(system):
    task = asyncio.create_task(system.execute_with_resilience(asyncio.sleep, 60))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert system.get_system_health()["retry_stats"]["sleep"]["successes"] == 0


@pytest.mark.parametrize("name", [5, "", "a" * 201, ["a"]])
def test_names_that_are_none_are_refused(system, name):
    for option in ("circuit_breaker_name", "fallback_chain_name"):
        with pytest.raises(BadInputError, match="name"):
            system.call_with_resilience(int, **{option: name})


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

        def __getattr__(self, name):
            raise RuntimeError("no")

    repair = Repair(works=False)
    system.recovery_procedure.register(ErrorCategory.NETWORK, repair)
    with pytest.raises(Stubborn):
        run(clock, system.execute_with_resilience(Failing(Stubborn("x"))))
    assert repair.runs == 1
    assert [one.error_type for one in system.error_analytics.error_history] == ["Stubborn"] * 2
