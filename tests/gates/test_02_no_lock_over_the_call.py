"""Gate 2: a breaker guards its own state with a lock, never the call, a hook or a wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from holdfast import Backoff, Bulkhead, CircuitBreaker, Pipeline, Retry, RetryBudget
from holdfast.events import CircuitChanged, listen
from tests.gates.crowd import PATIENCE, in_tasks, in_threads

CALLERS = 20


def stack(breaker):
    return Pipeline(Retry(backoff=Backoff.none()), breaker, Bulkhead(CALLERS))


def meeting():
    """A call that returns only if all callers are inside at the same time."""
    return threading.Barrier(CALLERS, timeout=PATIENCE)


def test_20_threads_of_a_tenth_of_a_second_take_a_tenth_of_a_second(path):
    breaker = CircuitBreaker("api")
    began = time.monotonic()

    in_threads(*[lambda: breaker.call(time.sleep, 0.1)] * CALLERS)

    # Serial calls would take 2 seconds; on a busy machine threads start late.
    assert time.monotonic() - began < 1.6


@pytest.mark.parametrize("wrap", [Pipeline, stack])
def test_all_callers_are_inside_at_once_while_it_is_closed(path, wrap):
    pipeline, barrier = wrap(CircuitBreaker("api")), meeting()

    results = in_threads(*[lambda: pipeline.call(barrier.wait)] * CALLERS)

    assert sorted(results) == list(range(CALLERS))


def test_all_probes_are_inside_at_once_while_it_is_half_open(path):
    breaker, barrier = CircuitBreaker("api", half_open_max_calls=CALLERS, timeout=0.01), meeting()
    breaker.trip()
    time.sleep(0.02)

    results = in_threads(*[lambda: breaker.call(barrier.wait)] * CALLERS)

    assert sorted(results) == list(range(CALLERS))


def test_all_callers_are_inside_at_once_after_failures_on_record(path):
    breaker, barrier = CircuitBreaker("api"), meeting()
    breaker.record_failure()

    results = in_threads(*[lambda: breaker.call(barrier.wait)] * CALLERS)

    assert sorted(results) == list(range(CALLERS))


def test_20_tasks_overlap(clock, path):
    breaker = CircuitBreaker("api")
    began = clock.now()

    async def main():
        await in_tasks(CALLERS, lambda: breaker.execute(asyncio.sleep, 0.1))

    clock.run(main())

    assert clock.now() - began == pytest.approx(0.1)


def test_a_judgement_of_the_users_may_use_the_breaker_itself():
    breaker = CircuitBreaker("api", on=lambda error: breaker.state == "closed")

    def fail():
        raise ConnectionError("down")

    results = in_threads(*[lambda: breaker.call(fail)] * 2)

    assert [type(r) for r in results] == [ConnectionError] * 2


def test_a_listener_may_use_the_breaker_it_hears_of():
    breaker = CircuitBreaker("api", failure_threshold=1)
    states = []

    def fail():
        raise ConnectionError("down")

    def ask(event):
        if isinstance(event, CircuitChanged):
            states.append(breaker.state)

    with listen(ask):
        results = in_threads(lambda: breaker.call(fail))

    assert [type(r) for r in results] == [ConnectionError]
    assert states == ["open"]


def test_a_listener_that_dawdles_holds_up_nobody_else():
    breaker = CircuitBreaker("api", failure_threshold=1)
    slow, other_done = threading.Event(), threading.Event()

    def dawdle(event):
        if isinstance(event, CircuitChanged) and not slow.is_set():
            slow.set()
            assert other_done.wait(PATIENCE)

    def failing():
        def fail():
            raise ConnectionError("down")

        with pytest.raises(ConnectionError):
            breaker.call(fail)

    def other():
        assert slow.wait(PATIENCE)
        state = breaker.get_state()
        other_done.set()
        return state

    with listen(dawdle):
        results = in_threads(failing, other)

    assert results == [None, "open"]


def test_a_wait_between_attempts_holds_no_slot_line_or_lock():
    breaker, budget = CircuitBreaker("api"), RetryBudget()
    waiting, other_done = threading.Event(), threading.Event()

    def pause(attempt):
        waiting.set()
        assert other_done.wait(PATIENCE)

    retry = Retry(backoff=Backoff.none(), on_retry=pause, budget=budget)
    pipeline, calls = Pipeline(retry, breaker, Bulkhead(1)), []

    def fails_once():
        calls.append(None)
        if len(calls) == 1:
            raise ConnectionError("first")
        return "second"

    def other():
        assert waiting.wait(PATIENCE)
        result = pipeline.call(lambda: "through")
        other_done.set()
        return result

    assert in_threads(lambda: pipeline.call(fails_once), other) == ["second", "through"]
