"""Gate 6: cancelled at its n-th suspension, for every n, a call leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    Fallback,
    FallbackChain,
    Hedge,
    Idempotency,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
    Timeout,
)
from holdfast.policies.idempotency import Lookup
from tests.gates.cancelling import cancel_at_every_await

TURNS = pytest.mark.parametrize("turns", [0, 1, 2, 3])


class Work:
    """Fails a few times, then succeeds; suspends on the way in three manners."""

    def __init__(self, failures=0, seconds=1.0):
        self.failures = failures
        self.seconds = seconds
        self.entered = self.left = 0

    async def __call__(self):
        self.entered += 1
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(self.seconds)
            await asyncio.get_running_loop().run_in_executor(None, str)
            if self.entered <= self.failures:
                raise ConnectionError("down")
            return "done"
        finally:
            self.left += 1


async def pause(*_):
    await asyncio.sleep(0)
    await asyncio.sleep(1)


def flaky_result(value):
    return value == "done"


async def absent(key):
    await asyncio.sleep(1)
    return Lookup.ABSENT


WAITS = Backoff.fixed(2.0)


def taken(limiter):
    """A limiter whose next call has to wait."""
    assert limiter.try_acquire()
    return limiter


def chain():
    """Both its targets fail at first; the breaker of each is its own."""
    return (
        FallbackChain("images", wait_for_recovery=5)
        .add_fallback(Work(9), {"name": "second", "timeout": 3})
        .add_fallback(pause, {"name": "third"})
    )


SCENARIOS = {
    "retry": lambda: (Retry(backoff=WAITS), 2),
    "retry with hooks": lambda: (
        Retry(backoff=WAITS, on_retry=pause, on_discard=pause, retry_on_result=flaky_result),
        1,
    ),
    "retry with a lookup": lambda: (
        Retry(backoff=WAITS, idempotency=Idempotency.unsafe(reconcile=absent)),
        2,
    ),
    "breaker": lambda: (CircuitBreaker(failure_threshold=2), 1),
    "timeout in time": lambda: (Timeout(5), 0),
    "timeout too late": lambda: (Timeout(0.5), 0),
    "idle timeout": lambda: (Timeout(idle=0.5), 0),
    "bulkhead": lambda: (Bulkhead(1, max_queue=3, max_wait=30), 0),
    "fallback": lambda: (Fallback(pause), 1),
    "rate limiter": lambda: (taken(RateLimiter(1, per=5, wait=True)), 0),
    "load shedder": lambda: (LoadShedder(1), 0),
    "adaptive throttle": lambda: (AdaptiveThrottle(minimum=1), 1),
    "hedge": lambda: (Hedge(0.5, 2, on_discard=pause), 0),
    "hedge that starts at once": lambda: (Hedge(0.0, 2, on_discard=pause), 0),
    "hedge of failures": lambda: (Hedge(0.5, 2, on=ConnectionError), 2),
    "fallback chain": lambda: (chain(), 9),
    "cache": lambda: (Cache(60, key=lambda *_: 1), 0),
    "stale cache": lambda: (Cache(60, stale_if_error=60, key=lambda *_: 1), 1),
    "latency on purpose": lambda: (Chaos.latency(2.0, rate=1.0), 0),
}


def stack(failures, **bulkhead):
    bulkhead = {"max_concurrent": 2, "max_queue": 4, "max_wait": 40} | bulkhead
    return Pipeline(
        Fallback(pause),
        Timeout(60),
        Retry(backoff=WAITS),
        CircuitBreaker(failure_threshold=2, timeout=1.0),
        Bulkhead(**bulkhead),
        Timeout(10),
        name=f"stack {failures}",
    )


def entered_and_left(works):
    for work in works:
        assert work.entered == work.left


@TURNS
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_each_policy_alone(clock, path, scenario, turns):
    works = []

    def make():
        policy, failures = scenario()
        works.append(Work(failures))
        pipeline = Pipeline(policy)
        return pipeline, lambda: pipeline.execute(works[-1])

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 2
    entered_and_left(works)


@TURNS
@pytest.mark.parametrize("failures", [0, 1, 2, 5])
def test_the_stack(clock, path, failures, turns):
    works = []

    def make():
        works.append(Work(failures))
        pipeline = stack(failures)
        return pipeline, lambda: pipeline.execute(works[-1])

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 3
    entered_and_left(works)


@TURNS
def test_a_probe_in_the_stack(clock, path, turns):
    """A cancelled probe must leave room for the next one, and decide nothing."""
    seen = []

    def make():
        pipeline = stack(0)
        breaker = pipeline.policies[3]
        breaker.trip()
        clock.advance(5)
        seen.append((breaker, breaker.state))
        return pipeline, lambda: pipeline.execute(Work())

    clock.run(cancel_at_every_await(make, turns=turns))

    for breaker, before in seen[:-1]:
        assert before == "half_open"
        assert breaker.state in {"half_open", "closed"}


async def hold_the_slots(pipeline):
    """Others hold every slot for a while, so that the call has to queue; and queue behind it."""
    others = [asyncio.create_task(pipeline.execute(asyncio.sleep, 3)) for _ in range(3)]
    results = await asyncio.gather(*others, return_exceptions=True)
    assert not [r for r in results if isinstance(r, BaseException)]


@TURNS
@pytest.mark.parametrize("wrap", ["alone", "stack"])
def test_in_the_queue_of_a_bulkhead(clock, path, wrap, turns):
    """Also in the very turn in which a slot is granted: nobody may lose it."""

    def make():
        if wrap == "alone":
            pipeline = Pipeline(Bulkhead(1, max_queue=5))
        else:
            pipeline = stack(0, max_concurrent=1, max_queue=5)
        return pipeline, lambda: pipeline.execute(asyncio.sleep, 1)

    assert clock.run(cancel_at_every_await(make, turns=turns, company=hold_the_slots)) >= 2


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("before", [-1, 0, 1, 2])
def test_a_slot_granted_to_one_who_is_cancelled_goes_to_the_next(clock, before, turns):
    """The slot comes free, and within a few turns of the loop the first in line is cancelled."""
    bulkhead = Bulkhead(1, max_queue=5)
    entered = []

    async def enter(number):
        entered.append(number)
        await asyncio.sleep(0)

    async def main():
        loop = asyncio.get_running_loop()
        assert bulkhead.try_take()
        line = [asyncio.create_task(bulkhead.execute(enter, number)) for number in range(3)]
        await asyncio.sleep(1)

        def at_turn(turn, action):
            if turn:
                loop.call_soon(at_turn, turn - 1, action)
            else:
                action()

        at_turn(turns, line[0].cancel)
        at_turn(max(0, turns + before), bulkhead.give_back)
        done, _ = await asyncio.wait(line, timeout=10)
        assert len(done) == 3, "somebody waits for a slot that nobody holds"
        assert entered[-2:] == [1, 2]
        assert line[0].cancelled() or entered == [0, 1, 2]

    clock.run(main())

    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


SHARED = {
    "load shedder": lambda: LoadShedder(1, max_queue=9),
    "rate limiter": lambda: RateLimiter(1, per=2, wait=True),
    "cache": lambda: Cache(60, key=lambda *_: 1),
    "hedge": lambda: Hedge(0.5, 1),
}


@TURNS
@pytest.mark.parametrize("make_policy", SHARED.values(), ids=SHARED)
def test_in_company(clock, path, make_policy, turns):
    """Others stand before and behind it in the same queue, and lose nothing by its going."""

    def make():
        pipeline = Pipeline(make_policy())
        return pipeline, lambda: pipeline.execute(asyncio.sleep, 1)

    assert clock.run(cancel_at_every_await(make, turns=turns, company=hold_the_slots)) >= 1


@TURNS
@pytest.mark.parametrize("make_policy", SHARED.values(), ids=SHARED)
def test_as_the_first_of_many(clock, path, make_policy, turns):
    """Others wait for the one that is cancelled: behind its slot, or for its very result."""

    async def follow(pipeline):
        # The one to be cut short begins first.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await hold_the_slots(pipeline)

    def make():
        pipeline = Pipeline(make_policy())
        return pipeline, lambda: pipeline.execute(asyncio.sleep, 1)

    assert clock.run(cancel_at_every_await(make, turns=turns, company=follow)) >= 1


@TURNS
def test_everything_at_once(clock, path, turns):
    """One of each, in an order that makes sense."""
    works = []

    def make():
        pipeline = Pipeline(
            Fallback(pause),
            Timeout(90),
            Cache(60, key=lambda *_: 1),
            Retry(backoff=WAITS),
            LoadShedder(2),
            AdaptiveThrottle(),
            RateLimiter(5, wait=True),
            CircuitBreaker(failure_threshold=9),
            Hedge(0.5, 1, on_discard=pause),
            Bulkhead(4, max_queue=4),
            Timeout(20),
            Chaos.latency(0.1, rate=1.0),
        )
        works.append(Work(1))
        return pipeline, lambda: pipeline.execute(works[-1])

    clock.run(cancel_at_every_await(make, turns=turns))

    entered_and_left(works)


@TURNS
def test_nested_pipelines(clock, path, turns):
    inner = stack(0)

    def make():
        outer = Pipeline(Timeout(100), Retry(backoff=WAITS))
        work = Work(1)
        return outer, lambda: outer.execute(inner.execute, work)

    clock.run(cancel_at_every_await(make, turns=turns))

    assert inner.in_flight == 0
    assert inner.policies[4].running == 0


@TURNS
def test_a_loop_over_attempts(clock, path, turns):
    class Loop:
        """Looks like a pipeline to the one who checks."""

        in_flight, policies = 0, ()

    retry = Retry(backoff=WAITS)

    def make():
        work = Work(2)

        async def loop():
            async for attempt in retry.attempts():
                with attempt:
                    await work()

        return Loop(), loop

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 8


@TURNS
def test_a_protected_stream(clock, path, turns):
    closed = []
    pipeline = stack(0)

    @pipeline.stream
    async def items():
        try:
            for n in range(3):
                await asyncio.sleep(1)
                yield n
        finally:
            closed.append(None)

    opened = []

    def make():
        async def read():
            opened.append(None)
            stream = items()
            try:
                return [item async for item in stream]
            finally:
                await stream.aclose()

        return pipeline, read

    clock.run(cancel_at_every_await(make, turns=turns))

    # A stream that was cancelled before it began has nothing to close.
    assert len(opened) - 1 <= len(closed) <= len(opened)


@TURNS
def test_closing_a_pipeline(clock, turns):
    def make():
        pipeline = stack(0)
        return pipeline, lambda: pipeline.aclose(0.5)

    async def company(pipeline):
        await asyncio.wait([asyncio.create_task(pipeline.execute(asyncio.sleep, 0.1))])

    clock.run(cancel_at_every_await(make, turns=turns, company=company))
