"""Gate 23: counters are right under 8 threads, and no state change depends on luck."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    Cache,
    CircuitBreaker,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
    RetryBudget,
    Timeout,
    listen,
)
from holdfast.events import CircuitChanged
from holdfast.machines.circuit import CircuitState
from tests.gates.crowd import Gauge, in_threads

THREADS = 8
CALLS = 300


@pytest.fixture(autouse=True)
def impatient():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def all_together(body):
    results = in_threads(*[body] * THREADS)
    assert [r for r in results if isinstance(r, BaseException)] == []
    return results


def fail():
    raise ConnectionError("down")


def test_failures_are_counted_to_the_last(path):
    breaker = CircuitBreaker(failure_threshold=THREADS * CALLS + 1)

    all_together(lambda: [breaker.call_outcome(fail) for _ in range(CALLS)])

    assert breaker.snapshot()["failures"] == THREADS * CALLS
    assert breaker.state is CircuitState.CLOSED
    breaker.record_failure()
    assert breaker.state is CircuitState.OPEN


def test_calls_in_a_window_are_counted_to_the_last(path):
    breaker = CircuitBreaker(
        failure_threshold=None, failure_rate=1.0, window_calls=THREADS * CALLS * 2
    )

    def body():
        for number in range(CALLS):
            breaker.call_outcome(fail if number % 2 else str)

    all_together(body)

    told = breaker.snapshot()
    assert told["calls"] == THREADS * CALLS
    assert told["failure_rate"] == 0.5


def test_it_opens_once(heard):
    breaker = CircuitBreaker(failure_threshold=THREADS)

    all_together(lambda: [breaker.call_outcome(fail) for _ in range(50)])

    changes = [(e.old, e.new) for e in heard if isinstance(e, CircuitChanged)]
    assert changes == [("closed", "open")]


def test_a_breaker_that_flaps_always_lets_in_no_more_than_it_may(path):
    breaker = CircuitBreaker(
        failure_threshold=1, success_threshold=1, timeout=0.0005, timeout_growth=1.0
    )
    probes, wrong = Gauge(), []

    def call():
        with probes:
            if breaker.circuit.last_state is CircuitState.HALF_OPEN and probes.now > THREADS:
                wrong.append(probes.now)
        fail()

    all_together(lambda: [breaker.call_outcome(call) for _ in range(CALLS)])

    assert wrong == []
    assert breaker.snapshot()["probes"] == 0


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda limit: Bulkhead(limit, max_queue=100),
        lambda limit: LoadShedder(limit, max_queue=100),
        Bulkhead,
    ],
    ids=["bulkhead", "load shedder", "no queue"],
)
def test_limits_hold_and_every_slot_comes_back(path, limit, make):
    policy, inside = make(limit), Gauge()

    def work():
        with inside:
            pass

    all_together(lambda: [policy.call_outcome(work) for _ in range(CALLS)])

    assert inside.peak <= limit
    assert (policy.running, policy.waiting) == (0, 0)
    assert policy.call(str) == ""


def test_in_flight_comes_back_to_nothing(path):
    pipeline = Pipeline(
        Timeout(60), Retry(2, Backoff.none()), CircuitBreaker(failure_threshold=10**9), Bulkhead(99)
    )

    def body():
        for number in range(CALLS):
            pipeline.call_outcome(fail if number % 3 == 0 else str)

        async def main():
            for number in range(CALLS // 10):
                await pipeline.outcome(fail if number % 3 == 0 else str)

        asyncio.run(main())

    all_together(body)

    assert pipeline.in_flight == 0
    assert pipeline.policies[3].running == 0


def test_a_budget_is_spent_to_the_last_and_no_further():
    budget = RetryBudget(ratio=0, floor=1_000, seconds=10_000.0)

    spent = all_together(lambda: sum(budget.try_spend() for _ in range(CALLS)))

    assert sum(spent) == 1_000


def test_a_rate_is_kept_to_the_last():
    limiter = RateLimiter(1, per=10_000.0, burst=1_000)

    taken = all_together(lambda: sum(limiter.try_acquire() for _ in range(CALLS)))

    assert sum(taken) == 1_000


def test_a_cache_makes_each_call_once(path):
    cache, calls = Cache(1000), Gauge()

    def load(key):
        with calls:
            return key

    double = cache(load)

    results = all_together(lambda: [double(number % 50) for number in range(CALLS)])

    assert all(result == [number % 50 for number in range(CALLS)] for result in results)
    assert calls.total == 50


def test_listeners_come_and_go_while_others_speak():
    breaker, heard = CircuitBreaker(failure_threshold=10**9), []

    def body():
        for _ in range(CALLS // 3):
            with listen(heard.append):
                breaker.call_outcome(fail)

    all_together(body)

    assert breaker.snapshot()["failures"] == THREADS * (CALLS // 3)
    assert len(heard) >= THREADS * (CALLS // 3)


def test_one_decorated_function_serves_all_threads_with_their_own_arguments(path):
    pipeline = Pipeline(Retry(3, Backoff.none()), Bulkhead(99))
    local = threading.local()

    @pipeline
    def flaky(number):
        local.failed = not getattr(local, "failed", False)
        if local.failed:
            raise ConnectionError("every other call")
        return number

    results = all_together(lambda: [flaky(number) for number in range(CALLS)])

    assert results == [list(range(CALLS))] * THREADS


def test_states_set_by_hand_and_calls_do_not_tear(path):
    breaker = CircuitBreaker(failure_threshold=2, timeout=0.001)
    settings = [breaker.force_open, breaker.disable, breaker.metrics_only, breaker.trip]

    def body():
        for number in range(CALLS):
            breaker.call_outcome(fail if number % 2 else str)
            settings[number % 4]()
            breaker.reset()

    all_together(body)

    breaker.reset()
    told = breaker.snapshot()
    assert (told["state"], told["failures"], told["probes"]) == ("closed", 0, 0)


class Guarded:
    """Stands in for a machine, and notes when two threads are in it at the same time."""

    def __init__(self, machine):
        self.machine = machine
        self.inside = Gauge()

    def __getattr__(self, name):
        found = getattr(self.machine, name)
        if not callable(found):
            return found

        def guarded(*args, **kwargs):
            with self.inside:
                # A lock that is missing would let another thread in here.
                time.sleep(0)
                return found(*args, **kwargs)

        return guarded


@pytest.mark.parametrize(
    ("make", "use", "field"),
    [
        (RetryBudget, lambda budget: (budget.deposit(), budget.try_spend()), "_machine"),
        (CircuitBreaker, lambda breaker: breaker.call_outcome(fail), "circuit"),
        (CircuitBreaker, lambda breaker: (breaker.can_execute(), breaker.state), "circuit"),
        (lambda: RateLimiter(1e9), lambda limiter: limiter.try_acquire(), "_gcra"),
        (AdaptiveThrottle, lambda throttle: throttle.call_outcome(str), "_machine"),
    ],
    ids=["budget", "breaker", "breaker by hand", "rate limiter", "throttle"],
)
def test_no_two_threads_are_in_one_machine(heard, make, use, field):
    """Its laws hold for one caller at a time; the lock around it is what makes them hold."""
    policy = make()
    guarded = Guarded(getattr(policy, field))
    object.__setattr__(policy, field, guarded)

    all_together(lambda: [use(policy) for _ in range(20)])

    assert guarded.inside.total > 0
    assert guarded.inside.peak == 1
