"""Gate 8: contextvars, and what a call inherits, survive threads, retries and other loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    Fallback,
    Hedge,
    LoadShedder,
    Pipeline,
    RateLimiter,
    Retry,
    Timeout,
)

trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace")

PIPELINES = {
    "retry": lambda: [Retry(backoff=Backoff.fixed(0.01))],
    "timeout": lambda: [Timeout(30)],
    "worker thread": lambda: [Timeout(30, thread=True)],
    "retry of worker threads": lambda: [
        Retry(backoff=Backoff.fixed(0.01)),
        Timeout(30, thread=True),
    ],
    "bulkhead": lambda: [Bulkhead(1, max_queue=5)],
    "load shedder": lambda: [LoadShedder(1, max_queue=5)],
    "rate limiter": lambda: [RateLimiter(100, wait=True)],
    "hedge": lambda: [Hedge(30.0)],
    "hedge of failures": lambda: [Retry(backoff=Backoff.fixed(0.01)), Hedge(30.0, on=OSError)],
    "stack": lambda: [
        Timeout(60),
        Retry(backoff=Backoff.fixed(0.01)),
        CircuitBreaker(),
        Bulkhead(1, max_queue=5),
        Timeout(10),
    ],
}

pipelines = pytest.mark.parametrize("make", PIPELINES.values(), ids=PIPELINES)


class Work:
    """Notes the trace it sees; fails so many times first."""

    def __init__(self, failures):
        self.failures = failures
        self.seen = []

    def sync(self):
        self.seen.append(trace.get("lost"))
        if len(self.seen) <= self.failures:
            raise ConnectionError("down")

    async def later(self):
        self.sync()
        await asyncio.sleep(0)


def failures_of(pipeline):
    return 2 if any(isinstance(policy, Retry) for policy in pipeline.policies) else 0


@pipelines
def test_every_sync_attempt_sees_the_callers_context(path, make):
    pipeline = Pipeline(*make())
    work = Work(failures_of(pipeline))
    trace.set("mine")

    pipeline.call(work.sync)

    assert work.seen == ["mine"] * (work.failures + 1)


@pipelines
def test_every_async_attempt_sees_the_callers_context(path, make):
    pipeline = Pipeline(*make())
    work = Work(failures_of(pipeline))

    async def main():
        trace.set("mine")
        await pipeline.execute(work.later)

    asyncio.run(main())

    assert work.seen == ["mine"] * (work.failures + 1)


@pipelines
def test_callers_side_by_side_do_not_see_each_others_context(clock, path, make):
    pipeline, seen = Pipeline(*make()), []

    async def look(mine):
        await asyncio.sleep(1)
        seen.append((mine, trace.get("lost")))

    async def caller(number):
        trace.set(f"caller {number}")
        await pipeline.execute(look, f"caller {number}")

    async def main():
        await asyncio.gather(*(caller(number) for number in range(5)))

    clock.run(main())

    assert len(seen) == 5
    assert all(mine == saw for mine, saw in seen)


def test_hooks_and_fallbacks_see_the_callers_context(clock, path):
    seen = []
    look = lambda *_: seen.append(trace.get("lost"))  # noqa: E731  # three places, one hook
    pipeline = Pipeline(Fallback(look), Retry(backoff=Backoff.fixed(1.0), on_retry=look))

    def fail():
        raise ConnectionError("down")

    trace.set("mine")
    pipeline.call(fail)

    async def main():
        await pipeline.execute(fail)

    clock.run(main())

    assert seen == ["mine"] * 6


def test_what_the_function_sets_is_seen_by_its_caller_as_without_a_pipeline(path):
    """An async call runs in its caller's own task, so that a session opened inside stays open."""
    pipeline = Pipeline(*PIPELINES["stack"]())

    async def log_in():
        trace.set("logged in")

    async def main():
        await pipeline.execute(log_in)
        return trace.get("lost")

    assert asyncio.run(main()) == "logged in"


@pytest.mark.parametrize("thread", [False, True])
def test_the_deadline_is_inherited_by_threads_that_copy_their_context(path, thread):
    pipeline = Pipeline(Timeout(30, thread=thread))

    def remaining():
        deadline = Deadline.current()
        return None if deadline is None else deadline.remaining()

    async def main():
        return await pipeline.execute(asyncio.to_thread, remaining)

    assert asyncio.run(main()) == pytest.approx(30, abs=1)
    assert pipeline.call(remaining) == pytest.approx(30, abs=1)


def test_a_plain_thread_inherits_nothing(path):
    """A thread has a context of its own; nothing of the call may leak into it by other ways."""
    seen = []

    def start():
        thread = threading.Thread(target=lambda: seen.append(Deadline.current()))
        thread.start()
        thread.join()

    Pipeline(Timeout(30)).call(start)

    assert seen == [None]


def test_a_task_started_inside_a_call_is_free_of_its_deadline_when_the_call_has_ended(clock, path):
    inner, outer = Pipeline(Timeout(100)), Pipeline(Timeout(10))
    background = []

    async def later():
        await asyncio.sleep(5)
        assert Deadline.current() is None
        await inner.execute(asyncio.sleep, 50)
        return "lived"

    async def start():
        background.append(asyncio.create_task(later()))

    async def main():
        await outer.execute(start)
        return await background[0]

    assert clock.run(main()) == "lived"


def test_a_context_left_behind_by_a_call_is_gone(path):
    pipeline = Pipeline(*PIPELINES["stack"]())

    def fail():
        raise ValueError("no")

    for fn in (str, fail):
        pipeline.call_outcome(fn)
        with pytest.raises((ValueError, TypeError)):
            pipeline.call(fail)
        assert Deadline.current() is None
