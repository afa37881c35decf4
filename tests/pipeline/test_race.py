"""Races: the first good result wins, and nothing is left of the others."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

from holdfast.errors import DeadlineExceededError, QueueTimeoutError
from holdfast.events import ResultDiscarded, WorkerAbandoned, listen
from holdfast.pipeline import Pipeline, aio_race, workers
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.hedge import Hedge
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock
from tests.gates.cancelling import cancel_at_every_await


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


def discarded(events):
    return [event.reason for event in events if isinstance(event, ResultDiscarded)]


def slow_then(first: float, *others: float, ends=None):
    """An async function: its n-th call takes the n-th number of seconds."""
    seconds = [first, *others]

    async def call():
        number = call.calls
        call.calls += 1
        try:
            await asyncio.sleep(seconds[number])
        finally:
            if ends is not None:
                ends.append(number)
        return number

    call.calls = 0
    return call


# -- tasks -----------------------------------------------------------------------------------


def test_the_losers_have_ended_when_the_winner_is_handed_over(clock):
    ends = []

    async def main():
        fn = slow_then(10, 1, ends=ends)
        assert await Hedge(after=2).execute(fn) == 1
        assert ends == [1, 0]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())
    assert clock.now() == pytest.approx(1003)


def test_a_loser_that_cleans_up_slowly_is_waited_for(clock):
    tidy = []

    async def fn():
        if fn.calls:
            return "second"
        fn.calls = 1
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(3)
            tidy.append(True)

    fn.calls = 0
    assert clock.run(Hedge(after=1).execute(fn)) == "second"
    assert tidy == [True]


def test_a_loser_that_ignores_its_cancellation_is_left_after_the_grace_and_disposed_of(clock):
    thrown = []

    async def fn():
        fn.calls += 1
        if fn.calls > 1:
            return "second"
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(20)
        return "first"

    fn.calls = 0

    async def main():
        began = clock.now()
        assert await Hedge(after=1, on_discard=thrown.append).execute(fn) == "second"
        assert clock.now() - began == pytest.approx(1 + aio_race.GRACE)
        assert thrown == []
        await asyncio.sleep(30)
        assert thrown == ["first"]
        assert not aio_race._leavers

    clock.run(main())


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_cancelled_at_any_suspension_a_race_leaves_nothing_behind(clock, turns):
    async def fn():
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)

    async def hook(_):
        await asyncio.sleep(1)

    def make():
        pipeline = Pipeline(
            Hedge(after=1, max_extra=2, on_discard=hook), CircuitBreaker("c"), Bulkhead(2, 2)
        )
        return pipeline, lambda: pipeline.execute(fn)

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 2


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_cancelled_while_losers_are_disposed_of_a_race_passes_it_on(clock, turns):
    class Twins:
        """Two calls that end in the same moment, so that one result is left over."""

        def __init__(self):
            self.calls = 0

        async def __call__(self):
            self.calls += 1
            await asyncio.sleep(3 - self.calls)

    async def hook(_):
        await asyncio.sleep(1)

    def make():
        pipeline = Pipeline(Hedge(after=1, on_discard=hook))
        return pipeline, lambda: pipeline.execute(Twins())

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 3


def test_a_winner_that_nobody_can_take_any_more_is_disposed_of(clock):
    thrown = []

    async def fn():
        fn.calls += 1
        if fn.calls > 1:
            return "second"
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)

    fn.calls = 0

    async def main():
        task = asyncio.create_task(Hedge(after=1, on_discard=thrown.append).execute(fn))
        await asyncio.sleep(2)
        assert fn.calls == 2
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert thrown == ["second"]

    clock.run(main())


def test_a_second_cancellation_does_not_cut_the_losers_short(clock):
    tidy = []

    async def fn():
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(2)
            tidy.append(True)

    async def main():
        task = asyncio.create_task(Hedge(after=1).execute(fn))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert tidy == [True, True]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())


def test_a_hook_that_raises_spoils_nothing_and_is_told(clock, heard):
    def hook(_):
        raise ValueError("bad hook")

    async def fn():
        fn.calls += 1
        if fn.calls == 1:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                return "late"
        return "good"

    fn.calls = 0
    assert clock.run(Hedge(after=1, on_discard=hook).execute(fn)) == "good"
    assert discarded(heard) == ["a race was lost", "its hook failed: ValueError: bad hook"]


def test_an_async_hook_that_raises_or_hangs_holds_up_nobody_for_ever(clock, heard):
    async def hook(_):
        await asyncio.sleep(1000)
        raise ValueError("bad hook")

    async def fn():
        fn.calls += 1
        if fn.calls == 1:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                return "late"
        return "good"

    fn.calls = 0

    async def main():
        began = clock.now()
        assert await Hedge(after=1, on_discard=hook).execute(fn) == "good"
        assert clock.now() - began <= 1 + aio_race.GRACE + 0.001
        await asyncio.sleep(2000)

    clock.run(main())
    assert "its hook failed: ValueError: bad hook" in discarded(heard)


def test_what_a_loser_raises_while_it_is_cancelled_is_not_reported_as_unseen(clock):
    complaints = []

    async def fn():
        fn.calls += 1
        if fn.calls > 1:
            return "good"
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            raise ValueError("while leaving") from None

    fn.calls = 0

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        assert await Hedge(after=1).execute(fn) == "good"
        gc.collect()

    clock.run(main())
    assert complaints == []


def test_a_breaker_around_a_race_counts_what_a_time_limit_ended_at_work(clock):
    breaker = CircuitBreaker("c", failure_threshold=1)
    pipeline = Pipeline(Timeout(5), breaker, Hedge(after=1))
    with pytest.raises(DeadlineExceededError):
        clock.run(pipeline.execute(slow_then(100, 100)))
    assert breaker.state == "open"


def test_a_breaker_around_a_race_counts_nothing_for_a_callers_cancellation(clock):
    breaker = CircuitBreaker("c", failure_threshold=1)
    pipeline = Pipeline(breaker, Hedge(after=1))

    async def main():
        task = asyncio.create_task(pipeline.execute(slow_then(100, 100)))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    clock.run(main())
    assert breaker.state == "closed"


def test_a_race_that_only_waited_in_a_queue_is_a_queue_timeout_and_counts_for_nobody(clock):
    breaker, bulkhead = CircuitBreaker("c", failure_threshold=1), Bulkhead(1, max_queue=9)
    pipeline = Pipeline(Timeout(5), breaker, Hedge(after=1), bulkhead)

    async def main():
        assert bulkhead.try_take()
        with pytest.raises(QueueTimeoutError):
            await pipeline.execute(slow_then(1, 1))
        bulkhead.give_back()

    clock.run(main())
    assert breaker.state == "closed"


def test_one_hedge_works_in_two_loops_one_after_the_other_and_at_once(clock):
    hedge = Hedge(after=1)
    for _ in range(2):
        assert clock.run(hedge.execute(slow_then(10, 1))) == 1
    results = []

    def run():
        results.append(asyncio.run(Hedge(after=0.01).execute(slow_then(5, 0))))

    clock.__exit__(None, None, None)
    try:
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        clock.__enter__()
    assert results == [1, 1]


def test_a_failed_calls_frames_are_free_while_another_one_still_runs(clock):
    class Buffer:
        pass

    held = []

    async def fn():
        fn.calls += 1
        if fn.calls == 1:
            buffer = Buffer()
            held.append(weakref.ref(buffer))
            await asyncio.sleep(2)
            raise MemoryError("full")
        await asyncio.sleep(5)
        return held[0]() is None

    fn.calls = 0
    gc.collect()
    gc.disable()
    try:
        assert clock.run(Hedge(after=1).execute(fn)) is True
    finally:
        gc.enable()


def test_the_context_reaches_every_call_of_a_race(clock):
    who = contextvars.ContextVar("who", default="nobody")

    async def fn():
        fn.calls += 1
        await asyncio.sleep(10 if fn.calls == 1 else 1)
        return who.get()

    fn.calls = 0

    async def main():
        who.set("me")
        return await Hedge(after=1).execute(fn)

    assert clock.run(main()) == "me"


# -- threads ---------------------------------------------------------------------------------


class Blocked:
    """A sync function whose first call blocks until it is let go; the others return."""

    def __init__(self, result="first"):
        self.go, self.over = threading.Event(), threading.Event()
        self.calls, self.result = 0, result
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.calls += 1
            number = self.calls
        if number > 1:
            return "second"
        self.go.wait(10)
        try:
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result
        finally:
            self.over.set()


def until(test):
    """Wait for another thread a little; says whether it did what was expected."""
    for _ in range(500):
        if test():
            return True
        threading.Event().wait(0.01)
    return False


def test_a_losing_thread_is_counted_until_it_ends_and_its_result_is_disposed_of(clock, heard):
    thrown, fn = [], Blocked()
    assert Hedge(after=1, on_discard=thrown.append).call(fn) == "second"
    assert workers.abandoned.count == 1
    assert [e.abandoned for e in heard if isinstance(e, WorkerAbandoned)] == [1]
    fn.go.set()
    assert until(lambda: thrown == ["first"])
    assert until(lambda: workers.abandoned.count == 0)


def bad_hook(_):
    raise ValueError("bad hook")


async def async_hook(_):
    pass


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (bad_hook, "its hook failed: ValueError: bad hook"),
        (async_hook, "its hook failed: it is async, and this call is sync"),
    ],
)
def test_a_hook_that_fails_kills_no_thread_and_is_told(clock, heard, hook, told):
    fn = Blocked()
    assert Hedge(after=1, on_discard=hook).call(fn) == "second"
    fn.go.set()
    assert until(lambda: told in discarded(heard))
    assert until(lambda: workers.abandoned.count == 0)


def test_a_loser_left_behind_sees_that_its_time_is_over_and_begins_nothing_more(clock):
    seen, fn = [], Blocked(ConnectionError("late"))

    def call():
        try:
            return fn()
        finally:
            deadline = Deadline.current()
            seen.append(None if deadline is None else deadline.expired)

    assert Pipeline(Hedge(after=1), Retry(max_attempts=5)).call(call) == "second"
    fn.go.set()
    assert until(lambda: workers.abandoned.count == 0)
    assert fn.calls == 2
    assert seen == [None, True]


def test_what_ends_a_worker_from_inside_is_raised_in_the_callers_thread(clock):
    def fn():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hedge(after=1).call(fn)
    assert workers.abandoned.count == 0


def test_an_interrupted_caller_leaves_its_workers_counted(clock, monkeypatch):
    fn = Blocked()

    def interrupted(_event, _seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ambient, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Hedge(after=1).call(fn)
    assert workers.abandoned.count == 1
    fn.go.set()
    assert until(lambda: workers.abandoned.count == 0)


def test_a_deadline_ends_a_race_between_threads(clock):
    fn = Blocked()
    with pytest.raises(DeadlineExceededError):
        Pipeline(Timeout(3), Hedge(after=2)).call(lambda: fn() and fn.go.wait(10))
    assert clock.now() == pytest.approx(1003)
    assert workers.abandoned.count == 2
    fn.go.set()
    assert until(lambda: workers.abandoned.count == 0)


def test_without_room_for_losers_there_is_only_the_one_call(clock, monkeypatch):
    monkeypatch.setattr("holdfast.pipeline.sync_race.CAP", 0)
    threads = []

    def fn():
        threads.append(threading.current_thread())
        return "alone"

    assert Hedge(after=0).call(fn) == "alone"
    assert threads == [threading.current_thread()]


def test_a_thread_inherits_the_callers_context(clock):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")
    assert Hedge(after=60).call(who.get) == "me"


def test_a_failed_threads_frames_are_free_while_another_one_still_runs():
    class Buffer:
        pass

    held, lock, numbers = [], threading.Lock(), [0, 1]
    second = threading.Event()

    def fn():
        with lock:
            number = numbers.pop(0)
        if number == 0:
            buffer = Buffer()
            held.append(weakref.ref(buffer))
            second.wait(10)
            raise MemoryError("full")
        second.set()
        return until(lambda: held[0]() is None)

    gc.collect()
    gc.disable()
    try:
        assert Hedge(after=0.01).call(fn) is True
    finally:
        gc.enable()


def test_a_sync_function_that_turns_out_async_is_awaited(clock):
    async def work():
        return "done"

    @Hedge(after=60)
    def fn():
        return work()

    async def main():
        return await fn()

    assert clock.run(main()) == "done"


def test_what_failed_is_gone_before_the_next_call_begins():
    """At a failure the next call begins at once, in the memory of the one that failed."""
    held, seen = [], []

    class Buffer:
        pass

    def work():
        if held:
            seen.append(held[0]())
            return "done"
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        raise OSError

    for _ in range(20):
        held.clear()
        assert Hedge(after=60.0, on=OSError).call(work) == "done"

    assert seen == [None] * 20
