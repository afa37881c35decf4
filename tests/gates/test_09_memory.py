"""Gate 9: what a failed call held is free once its error is handled, without the collector."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref

import pytest

import holdfast
from holdfast import (
    AdaptiveThrottle,
    Backoff,
    Bulkhead,
    Cache,
    Chaos,
    CircuitBreaker,
    DeadlineExceededError,
    Fallback,
    FallbackChain,
    Hedge,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
    Timeout,
)
from holdfast.policies.policy import Policy

pytestmark = pytest.mark.usefixtures("no_collector")


def retries(attempts=3, wait=0.0, **settings):
    return Retry(attempts, backoff=Backoff.fixed(wait), on=MemoryError, **settings)


PIPELINES = {
    "nothing": list,
    "retry": lambda: [retries()],
    "retry with waits": lambda: [retries(wait=1.0)],
    "no retry": lambda: [Retry(on=ConnectionError)],
    "breaker": lambda: [CircuitBreaker()],
    "timeout": lambda: [Timeout(30)],
    "idle timeout": lambda: [Timeout(idle=30)],
    "worker thread": lambda: [Timeout(30, thread=True)],
    "bulkhead": lambda: [Bulkhead(1)],
    "other fallback": lambda: [Fallback(None, on=KeyError)],
    "rate limiter": lambda: [RateLimiter(100)],
    "load shedder": lambda: [LoadShedder(1)],
    "adaptive throttle": lambda: [AdaptiveThrottle()],
    "hedge": lambda: [Hedge(30.0)],
    "fallback chain": lambda: [FallbackChain("chain", stop_on=MemoryError).add_fallback(str)],
    "cache": lambda: [Cache(60, stale_if_error=60)],
    "latency": lambda: [Chaos.latency(0.1, rate=1.0)],
    "stack": lambda: [
        Timeout(60),
        retries(),
        CircuitBreaker(failure_threshold=10),
        Bulkhead(4),
        Timeout(10),
    ],
}

pipelines = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)
ways = pytest.mark.parametrize("way", ["call", "outcome", "decorated"])


class Latents:
    """Stands for gigabytes."""


class Work:
    """A call that fails with something big in its frame."""

    def __init__(self, failures=1000):
        self.failures = failures
        self._latents = []
        self.alive_at_next = 0

    def sync(self, *_):
        self.alive_at_next = max(self.alive_at_next, self.alive)
        latents = Latents()
        self._latents.append(weakref.ref(latents))
        if len(self._latents) <= self.failures:
            raise MemoryError("out of memory")
        return "done"

    async def later(self, *_):
        self.alive_at_next = max(self.alive_at_next, self.alive)
        latents = Latents()
        self._latents.append(weakref.ref(latents))
        await asyncio.sleep(0)
        if len(self._latents) <= self.failures:
            raise MemoryError("out of memory")
        return "done"

    async def hang(self, *_):
        latents = Latents()
        self._latents.append(weakref.ref(latents))
        await asyncio.sleep(1000)

    @property
    def alive(self):
        return sum(latents() is not None for latents in self._latents)

    @property
    def calls(self):
        return len(self._latents)


def run_sync(pipeline, work, way):
    if way == "outcome":
        assert not pipeline.call_outcome(work.sync).ok
        return
    guarded = pipeline(work.sync) if way == "decorated" else lambda: pipeline.call(work.sync)
    try:
        guarded()
    except MemoryError:
        return
    raise AssertionError("it did not fail")


async def run_async(pipeline, work, way):
    if way == "outcome":
        assert not (await pipeline.outcome(work.later)).ok
        return
    guarded = pipeline(work.later) if way == "decorated" else lambda: pipeline.execute(work.later)
    try:
        await guarded()
    except MemoryError:
        return
    raise AssertionError("it did not fail")


@pipelines
@ways
def test_a_failed_sync_call_is_free_when_its_error_is_handled(clock, path, make, way):
    work = Work()

    run_sync(Pipeline(*make()), work, way)

    # A worker thread tells its end a moment before it has left its last frame.
    for _ in range(100):
        if work.alive:
            time.sleep(0.01)
    assert (work.alive_at_next, work.alive) == (0, 0)


@pipelines
@ways
def test_a_failed_async_call_is_free_when_its_error_is_handled(clock, path, make, way):
    work = Work()

    async def main():
        await run_async(Pipeline(*make()), work, way)
        assert (work.alive_at_next, work.alive) == (0, 0)

    clock.run(main())


@pipelines
def test_a_failed_task_is_free_when_it_is_dropped(clock, path, make):
    pipeline, work = Pipeline(*make()), Work()

    async def main():
        task = asyncio.create_task(pipeline.execute(work.later))
        await asyncio.wait([task])
        assert isinstance(task.exception(), MemoryError)
        del task
        assert work.alive == 0

    clock.run(main())


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_nothing_is_held_while_a_sync_retry_waits(clock, path, attempt, monkeypatch):
    work, held = Work(failures=3), []
    monkeypatch.setattr("holdfast.ports.ambient.sleep", lambda s: held.append(work.alive))
    pipeline = Pipeline(
        Timeout(100), retries(4, wait=1.0), CircuitBreaker(), Bulkhead(1), Timeout(30)
    )

    assert pipeline.call(work.sync) == "done"

    assert len(held) == 3
    assert held[attempt - 1] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: [retries(4, wait=10.0)],
        lambda: [Timeout(100), retries(4, wait=10.0), CircuitBreaker(), Bulkhead(1), Timeout(5)],
        lambda: [Fallback(None), retries(4, wait=10.0), Timeout(idle=5)],
    ],
)
def test_nothing_is_held_while_an_async_retry_waits(clock, path, make):
    pipeline, work, held = Pipeline(*make()), Work(failures=3), []

    async def watch():
        for _ in range(3):
            await asyncio.sleep(5)
            held.append((work.calls, work.alive))
            await asyncio.sleep(5)

    async def main():
        watcher = asyncio.create_task(watch())
        assert await pipeline.execute(work.later) == "done"
        await watcher

    clock.run(main())

    assert held == [(1, 0), (2, 0), (3, 0)]


@pytest.mark.parametrize("hook", ["on_retry"])
def test_nothing_is_held_while_a_hook_runs(clock, path, hook):
    work, held = Work(failures=2), []
    retry = retries(wait=1.0, **{hook: lambda *_: held.append(work.alive)})

    retry.call(work.sync)

    assert held == [0, 0]


def test_only_the_last_failure_is_held_by_the_final_error(clock, path):
    """Whoever keeps the error keeps one failed call, not three."""
    pipeline, work = Pipeline(*PIPELINES["stack"]()), Work()
    kept = pipeline.call_outcome(work.sync).error

    assert work.calls == 3
    assert work.alive == 1
    assert kept.__context__ is None
    assert kept.__cause__ is None


def test_only_the_last_failure_is_held_by_the_final_error_of_a_task(clock, path):
    pipeline, work = Pipeline(*PIPELINES["stack"]()), Work()

    async def main():
        kept = (await pipeline.outcome(work.later)).error
        assert work.calls == 3
        assert work.alive == 1
        assert not isinstance(kept.__context__, MemoryError)

    clock.run(main())


def test_a_call_that_succeeds_at_last_holds_nothing(clock, path):
    pipeline, work = Pipeline(*PIPELINES["stack"]()), Work(failures=2)

    assert pipeline.call(work.sync) == "done"
    assert work.alive == 0
    outcome = pipeline.call_outcome(Work(failures=2).sync)
    assert (outcome.value, work.alive) == ("done", 0)


@pytest.mark.parametrize("value", ["instead", lambda error: "instead", lambda: "instead"])
def test_what_a_fallback_replaced_is_free(clock, path, value):
    pipeline, work = Pipeline(Fallback(value), retries()), Work()

    assert pipeline.call(work.sync) == "instead"
    assert work.alive == 0

    async def main():
        assert await pipeline.execute(work.later) == "instead"
        assert work.alive == 0

    clock.run(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: [Timeout(5)],
        lambda: [Timeout(idle=5)],
        lambda: [Timeout(50), Retry(backoff=Backoff.none()), CircuitBreaker(), Timeout(5)],
        lambda: [Bulkhead(1), Timeout(5)],
    ],
    ids=["timeout", "idle", "stack", "bulkhead"],
)
@pytest.mark.parametrize("way", ["execute", "outcome"])
def test_a_call_our_limit_ended_is_free(clock, path, make, way):
    pipeline, work = Pipeline(*make()), Work()

    async def main():
        with contextlib.suppress(DeadlineExceededError):
            await getattr(pipeline, way)(work.hang)
        assert work.calls
        # The loop itself holds the cancellation it is throwing until the task's next turn.
        await asyncio.sleep(0)
        assert work.alive == 0

    clock.run(main())


@pytest.mark.parametrize("way", ["execute", "outcome"])
def test_a_call_its_caller_cancelled_is_free(clock, path, way):
    pipeline, work = Pipeline(*PIPELINES["stack"]()), Work()

    async def main():
        task = asyncio.create_task(getattr(pipeline, way)(work.hang))
        await asyncio.sleep(1)
        assert work.alive == 1
        task.cancel()
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        assert work.alive == 0

    clock.run(main())


def test_a_sync_call_that_came_too_late_is_free(clock, path):
    work = Work(failures=0)

    def late():
        work.sync()
        clock.advance(60)

    outcome = Pipeline(Timeout(5)).call_outcome(late)
    assert isinstance(outcome.error, DeadlineExceededError)
    assert work.alive == 0


def test_a_loop_over_attempts_holds_nothing_between_its_turns(clock, path):
    work, held = Work(failures=2), []

    for attempt in retries(wait=1.0).attempts():
        held.append(work.alive)
        with attempt:
            work.sync()

    assert held == [0, 0, 0]
    assert work.alive == 0


def test_a_loop_over_attempts_that_fails_is_free_when_its_error_is_handled(clock, path):
    work = Work()

    try:
        for attempt in retries(wait=1.0).attempts():
            with attempt:
                work.sync()
    except MemoryError:
        pass

    assert work.calls == 3
    assert work.alive == 0


def test_an_async_loop_over_attempts_holds_nothing_between_its_turns(clock, path):
    work, held = Work(), []

    async def main():
        try:
            async for attempt in retries(wait=1.0).attempts():
                held.append(work.alive)
                with attempt:
                    await work.later()
        except MemoryError:
            pass
        assert held == [0, 0, 0]
        assert work.alive == 0

    clock.run(main())


def test_a_stream_that_never_began_is_free(clock, path):
    work = Work()

    @Pipeline(retries()).stream
    def items():
        work.sync()
        yield 1

    with contextlib.suppress(MemoryError):
        list(items())

    assert work.calls == 3
    assert work.alive == 0


def test_nested_pipelines_hold_nothing(clock, path):
    inner, outer, work = Pipeline(*PIPELINES["stack"]()), Pipeline(Timeout(500), retries()), Work()

    def nested():
        return inner.call(work.sync)

    run_sync(outer, type("Nested", (), {"sync": staticmethod(nested)}), "call")

    assert (work.alive_at_next, work.alive) == (0, 0)


@pytest.mark.parametrize("fn", [lambda argument: None, lambda argument: 1 / 0])
def test_arguments_are_free_when_the_call_has_ended(clock, path, fn):
    pipeline = Pipeline(*PIPELINES["stack"]())
    argument = Latents()
    held = weakref.ref(argument)

    pipeline.call_outcome(fn, argument)
    with contextlib.suppress(ZeroDivisionError):
        pipeline.call(fn, argument)
    del argument

    assert held() is None


def test_results_that_are_not_accepted_are_free_before_the_next_attempt(clock, path):
    seen, held = [], []
    retry = Retry(backoff=Backoff.fixed(1.0), retry_on_result=lambda result: True)

    def render():
        held.append(sum(result() is not None for result in seen))
        result = Latents()
        seen.append(weakref.ref(result))
        return result

    retry.call(render)

    assert held == [0, 0, 0]
    assert seen[-1]() is None


def unwrapped(outcome):
    outcome.unwrap()


def raised_by_hand(outcome):
    raise outcome.error


ways_to_raise = pytest.mark.parametrize("raised", [unwrapped, raised_by_hand])


@ways_to_raise
def test_a_refused_call_does_not_hold_its_callers(clock, raised):
    """Rejections are cheap because they are shared; what raises one must not stay on it."""
    breaker = CircuitBreaker("api")
    breaker.trip()
    held = []

    def caller():
        latents = Latents()
        held.append(weakref.ref(latents))
        raised(breaker.call_outcome(str))

    for _ in range(3):
        with contextlib.suppress(Exception):
            caller()

    assert [latents() for latents in held] == [None] * 3


@ways_to_raise
def test_rejections_that_are_shared_do_not_grow(clock, raised):
    breaker = CircuitBreaker("api")
    breaker.trip()
    depths = []

    for _ in range(3):
        try:
            raised(breaker.call_outcome(str))
        except Exception as error:  # whatever a rejection is
            depth, traceback = 0, error.__traceback__
            while traceback is not None:
                depth, traceback = depth + 1, traceback.tb_next
            depths.append(depth)

    assert len(set(depths)) == 1, depths


def test_every_policy_alone_is_asked_here():
    """A new policy has to be put on the list above, or be here by another name."""
    asked = {type(policy) for make in PIPELINES.values() for policy in make()}
    public = {getattr(holdfast, name) for name in holdfast.__all__}

    assert asked == {kind for kind in public if isinstance(kind, type) and issubclass(kind, Policy)}


def test_a_rejection_is_told_of_no_other_callers_trouble(clock):
    breaker = CircuitBreaker("api")
    breaker.trip()
    try:
        {}["one caller's trouble"]
    except KeyError:
        with contextlib.suppress(Exception):
            raise breaker.call_outcome(str).error  # noqa: B904  # its context is the point

    other = breaker.call_outcome(str).error

    assert (other.__context__, other.__traceback__) == (None, None)
    assert other.retry_after == pytest.approx(60.0)
