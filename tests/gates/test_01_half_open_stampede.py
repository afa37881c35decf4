"""Gate 1: at the end of the open period exactly `half_open_max_calls` are admitted."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from functools import partial

import pytest

from holdfast import CircuitBreaker, CircuitBreakerOpenError, Pipeline, Retry, Timeout
from holdfast.machines.circuit import CircuitState
from tests.gates.crowd import PATIENCE, Gauge, in_tasks, in_threads

CALLERS = 20

probes = pytest.mark.parametrize("allowed", [1, 3])


def about_to_probe(clock, allowed, **settings):
    """A breaker whose open period is just over."""
    breaker = CircuitBreaker("api", half_open_max_calls=allowed, timeout=60.0, **settings)
    breaker.trip()
    clock.advance(67.0)
    return breaker


def around(breaker, stacked):
    return Pipeline(Timeout(30), Retry(), breaker, Timeout(10)) if stacked else Pipeline(breaker)


@probes
@pytest.mark.parametrize("stacked", [False, True])
def test_of_20_tasks_exactly_the_allowed_ones_are_admitted(clock, path, allowed, stacked):
    breaker = about_to_probe(clock, allowed)
    pipeline = around(breaker, stacked)
    inside = Gauge()

    async def probe():
        with inside:
            await asyncio.sleep(1)

    async def main():
        return await in_tasks(CALLERS, lambda: pipeline.execute(probe))

    results = clock.run(main())

    assert inside.total == inside.peak == allowed
    assert sum(isinstance(r, CircuitBreakerOpenError) for r in results) == CALLERS - allowed
    assert results.count(None) == allowed


@probes
@pytest.mark.parametrize("stacked", [False, True])
def test_of_20_threads_exactly_the_allowed_ones_are_admitted(clock, path, allowed, stacked):
    breaker = about_to_probe(clock, allowed)
    pipeline = around(breaker, stacked)
    inside, rejected, all_told = Gauge(), Gauge(), threading.Event()

    def probe():
        with inside:
            # A probe that ended early would rightly make room for the next one.
            assert all_told.wait(PATIENCE)

    def caller():
        try:
            pipeline.call(probe)
        except CircuitBreakerOpenError:
            with rejected:
                if rejected.total == CALLERS - allowed:
                    all_told.set()
            raise

    results = in_threads(*[caller] * CALLERS)

    assert inside.total == inside.peak == allowed
    assert sum(isinstance(r, CircuitBreakerOpenError) for r in results) == CALLERS - allowed


class Siege:
    """Callers that note how they were received; the one inside stays until all others are told."""

    def __init__(self, breaker, callers):
        self.breaker, self.callers = breaker, callers
        self.inside, self.refused = Gauge(), Gauge()
        self.all_told = threading.Event()

    def thread(self):
        try:
            self.breaker.call(self.stay)
        except CircuitBreakerOpenError:
            self.note()

    async def task(self):
        try:
            await self.breaker.execute(asyncio.to_thread, self.stay)
        except CircuitBreakerOpenError:
            self.note()

    def loop(self):
        async def main():
            return await in_tasks(4, self.task)

        return asyncio.run(main())

    def stay(self):
        with self.inside:
            assert self.all_told.wait(PATIENCE)

    def note(self):
        with self.refused:
            if self.refused.total == self.callers - 1:
                self.all_told.set()


def test_of_threads_and_two_event_loops_together_one_is_admitted(clock):
    siege = Siege(about_to_probe(clock, 1), callers=12)

    results = in_threads(*[siege.thread] * 4, *[siege.loop] * 2)

    assert results == [None] * 4 + [[None] * 4] * 2
    assert siege.inside.total == 1


def test_asked_by_hand_20_times_it_says_yes_once(clock):
    breaker = about_to_probe(clock, 1)

    assert [breaker.can_execute() for _ in range(CALLERS)].count(True) == 1


def test_asked_by_hand_from_20_threads_it_says_yes_once(clock):
    breaker = about_to_probe(clock, 1)

    assert in_threads(*[breaker.can_execute] * CALLERS).count(True) == 1


@probes
def test_leave_taken_by_hand_serves_one_call_whoever_has_a_copy_of_it(clock, path, allowed):
    breaker = about_to_probe(clock, allowed)
    inside = Gauge()

    async def probe():
        with inside:
            await asyncio.sleep(1)

    async def main():
        assert breaker.can_execute()
        return await in_tasks(CALLERS, lambda: breaker.execute(probe))

    results = clock.run(main())

    assert inside.total == inside.peak == allowed
    assert sum(isinstance(r, CircuitBreakerOpenError) for r in results) == CALLERS - allowed


def test_leave_taken_by_hand_serves_one_of_20_threads_with_copies_of_it(clock):
    breaker = about_to_probe(clock, 1)
    assert breaker.can_execute()
    contexts = [contextvars.copy_context() for _ in range(CALLERS)]
    siege = Siege(breaker, CALLERS)

    in_threads(*[partial(context.run, siege.thread) for context in contexts])

    assert siege.inside.total == 1


def test_each_good_probe_lets_in_one_more_until_it_closes(clock):
    breaker = about_to_probe(clock, 1, success_threshold=3)
    inside = Gauge()

    async def probe():
        with inside:
            await asyncio.sleep(1)

    async def wave():
        before = inside.total
        await in_tasks(CALLERS, lambda: breaker.execute(probe))
        return inside.total - before

    assert [clock.run(wave()) for _ in range(3)] == [1, 1, 1]
    assert breaker.state is CircuitState.CLOSED
    assert clock.run(wave()) == CALLERS


def test_a_failed_probe_shuts_the_door_before_the_next_caller(clock):
    breaker = about_to_probe(clock, 1)
    calls = 0

    async def probe():
        nonlocal calls
        calls += 1
        raise ConnectionError("still down")

    async def main():
        return await in_tasks(CALLERS, lambda: breaker.execute(probe))

    results = clock.run(main())

    assert calls == 1
    assert [type(r) for r in results] == [ConnectionError] + [CircuitBreakerOpenError] * 19
    assert breaker.state is CircuitState.OPEN


def test_outcomes_are_held_to_the_same_number(clock):
    breaker = about_to_probe(clock, 1)
    inside = Gauge()

    async def probe():
        with inside:
            await asyncio.sleep(1)

    async def main():
        return await in_tasks(CALLERS, lambda: breaker.outcome(probe))

    assert [outcome.ok for outcome in clock.run(main())].count(True) == 1
    assert inside.total == 1
