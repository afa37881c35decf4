"""Breakers and chains by name: one object for each, bounded, with the health that suits them."""

from __future__ import annotations

import threading

import pytest

from holdfast import (
    BadInputError,
    ErrorHandlingSystem,
)

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


@pytest.mark.parametrize("name", [5, "", "a" * 201, ["a"]])
def test_names_that_are_none_are_refused(system, name):
    for option in ("circuit_breaker_name", "fallback_chain_name"):
        with pytest.raises(BadInputError, match="name"):
            system.call_with_resilience(int, **{option: name})


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
