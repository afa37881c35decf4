"""Gate 22: registries, histories, queues and memories of any kind have limits."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    BulkheadFullError,
    Cache,
    CircuitBreaker,
    Hedge,
    LoadShedder,
    LoadShedError,
    Pipeline,
    RateLimiter,
    Registry,
    Retry,
    RetryBudget,
    Timeout,
    report_of,
)
from holdfast.pipeline import alarms
from tests.gates.crowd import in_tasks


def grown(action, rounds):
    """Bytes that stay after many more rounds of the same.

    The least of three looks: threads that earlier tests left behind allocate, too, now and then.
    """
    return min(looked_at(action, rounds * look, rounds) for look in range(3))


def looked_at(action, begin, rounds):
    """Bytes that stay after so many rounds, numbered from ``begin``."""
    for number in range(rounds // 10):
        action(begin + number)
    tracemalloc.start()
    try:
        action(begin + rounds // 10)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(rounds):
            action(begin + rounds + number)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


def test_many_distinct_names_stay_within_the_registry(clock):
    registry = Registry(max_pipelines=100)

    for number in range(5_000):
        registry.get(f"server {number}", lambda name: Pipeline(CircuitBreaker(name))).call(str)

    assert len(registry) <= 100
    assert len(registry.names()) <= 100


def test_many_distinct_breakers_stay_within_the_registry(clock):
    registry = Registry(max_pipelines=100)

    for number in range(5_000):
        registry.breaker(f"server {number}").call(str)

    assert len(registry.breakers()) <= 100
    assert sys.getsizeof(registry.snapshot()) < 100_000


def test_many_distinct_arguments_stay_within_a_cache(clock, path):
    cache = Cache(60, max_entries=100)
    double = cache(lambda n: 2 * n)

    assert [double(n) for n in range(2_000)] == [2 * n for n in range(2_000)]

    assert cache.snapshot()["entries"] <= 100


def test_a_history_is_the_last_hundred_attempts(clock, path):
    def fail():
        raise ConnectionError("x" * 100_000)

    with pytest.raises(ConnectionError) as failed:
        Retry(1_000, Backoff.none()).call(fail)

    report = report_of(failed.value)
    assert len(report.history) == 100
    assert len(report.steps) <= 100
    assert all(len(attempt.error) <= 1_000 for attempt in report.history)
    assert len(failed.value.__notes__) <= 11


@pytest.mark.parametrize(
    ("make", "refused", "room"),
    [
        (lambda: Bulkhead(1, max_queue=10), BulkheadFullError, 11),
        (lambda: LoadShedder(1, max_queue=10), LoadShedError, 11),
    ],
)
def test_queues_refuse_who_finds_them_full(clock, path, make, refused, room):
    policy = make()

    async def main():
        return await in_tasks(500, lambda: policy.execute(asyncio.sleep, 1))

    results = clock.run(main())

    assert results.count(None) == room
    assert sum(isinstance(r, refused) for r in results) == 500 - room


def test_places_asked_for_by_hand_and_forgotten_do_not_pile_up(clock):
    breaker = CircuitBreaker(timeout=1.0, probe_seconds=1.0, half_open_max_calls=1000)
    breaker.trip()
    clock.advance(3)

    def ask(number):
        breaker.can_execute()
        clock.advance(0.01)

    assert grown(ask, 3_000) < 60_000  # all of them would be a million


def test_limits_of_ever_new_lengths_do_not_pile_up(clock):
    async def main():
        for number in range(500):
            with_limit = Pipeline(Timeout(10.0 + number / 1000), Timeout(idle=5.0 + number / 1000))
            await with_limit.execute(asyncio.sleep, 0)
        return len(alarms._queues[asyncio.get_running_loop()])

    assert clock.run(main()) <= alarms.KEPT + 1


def test_runs_of_asyncio_do_not_pile_up(path):
    pipeline = Pipeline(Timeout(10), Retry(), Bulkhead(2), Timeout(5))

    def run(_):
        asyncio.run(pipeline.execute(asyncio.sleep, 0))

    for number in range(30):
        run(number)

    assert len(alarms._queues) <= 3
    assert len(pipeline._inflight._queues) <= 3


STEADY = {
    "retry": lambda: Retry(2, Backoff.none()),
    "breaker": lambda: CircuitBreaker(failure_threshold=None, failure_rate=1.0, window=10.0),
    "budget": lambda: Retry(2, Backoff.none(), budget=RetryBudget()),
    "timeout": lambda: Timeout(5),
    "bulkhead": lambda: Bulkhead(2),
    "rate limiter": lambda: RateLimiter(1e9),
    "load shedder": LoadShedder,
    "throttle": AdaptiveThrottle,
    "hedge": lambda: Hedge("p95", initial=100.0),
}


@pytest.mark.parametrize("make", STEADY.values(), ids=STEADY)
def test_no_policy_grows_with_the_traffic(clock, make):
    """Good calls and bad ones, over hours of fake time; async where it matters."""
    policy = make()

    async def call(number):
        clock.advance(0.5)
        if number % 3 == 0:
            raise ConnectionError(str(number))

    async def traffic(first, count):
        for number in range(first, first + count):
            await policy.outcome(call, number)

    def burst(number):
        clock.run(traffic(number * 40, 40))

    assert grown(burst, 10) < 20_000


def test_a_breaker_is_small():
    seen, size, todo = set(), 0, [CircuitBreaker("api").circuit]
    while todo:
        part = todo.pop()
        if id(part) in seen or isinstance(part, type) or callable(part):
            continue
        seen.add(id(part))
        size += sys.getsizeof(part)
        for name in getattr(type(part), "__slots__", ()):
            todo.append(getattr(part, name, None))  # noqa: PERF401

    assert size < 1_024 + 600  # its settings are shared by most
