"""What worker threads left behind count for: a late one failed, a loser counts for nobody."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast import CircuitBreaker, CircuitState, Hedge, Pipeline, Timeout
from holdfast.pipeline.workers import abandoned


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    for _ in range(200):
        if not abandoned.count:
            return
        time.sleep(0.01)
    raise AssertionError("a worker never ended")


def test_a_healthy_loser_of_a_race_leaves_the_breaker_closed():
    release, calls = threading.Event(), []

    def first_is_slow():
        calls.append(None)
        if len(calls) == 1:
            release.wait(5.0)
        return len(calls)

    breaker = CircuitBreaker("b", failure_threshold=1)
    assert Pipeline(Hedge(after=0.02), breaker, Timeout(10)).call(first_is_slow) == 2
    release.set()
    while abandoned.count:
        time.sleep(0.005)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_that_is_too_late_is_a_failure_at_once_and_nothing_later(fails):
    release = threading.Event()

    def hangs():
        release.wait(5.0)
        if fails:
            raise ConnectionError

    breaker = CircuitBreaker("b", failure_threshold=2)
    limited = Pipeline(Timeout(0.02, thread=True), breaker)
    for expected in (CircuitState.CLOSED, CircuitState.OPEN):
        with pytest.raises(TimeoutError):
            limited.call(hangs)
        assert breaker.state is expected
    era = breaker.circuit.era
    release.set()
    while abandoned.count:
        time.sleep(0.005)
    assert (breaker.state, breaker.circuit.era) == (CircuitState.OPEN, era)


def test_sync_work_that_returns_after_the_limit_around_the_breaker_failed():
    breaker = CircuitBreaker("b", failure_threshold=1)
    with pytest.raises(TimeoutError):
        Pipeline(Timeout(0.01), breaker).call(time.sleep, 0.03)
    assert breaker.state is CircuitState.OPEN
