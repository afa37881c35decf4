"""An end to waiting: for the whole call, for one attempt, for lack of progress."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import threading
from functools import partial

import pytest

from holdfast.errors import (
    BadInputError,
    DeadlineExceededError,
    IdleTimeoutError,
    QueueTimeoutError,
    RejectedError,
)
from holdfast.outcome import Ok
from holdfast.pipeline import Pipeline
from holdfast.pipeline.workers import CAP, abandoned
from holdfast.policies.backoff import Backoff
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.effects import Within
from holdfast.policies.policy import Bound
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline, progress
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.scenarios import stage
from tests.scenarios.hands import Hands, heard, innermost, kinds

NAN = math.nan


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


# Settings -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["seconds", "idle"])
@pytest.mark.parametrize("value", [0, -1.0, NAN, math.inf, True, "5"])
def test_limits_that_make_no_sense_are_refused_by_name(field, value):
    with pytest.raises(BadInputError, match=f"^{field} must be above 0.* seconds, got "):
        Timeout(**{field: value})


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({}, "seconds or idle must be given, got neither"),
        ({"seconds": 5.0, "idle": 5.0}, r"idle must be below seconds \(5.0\)"),
        ({"seconds": 5.0, "idle": 9.0}, r"idle must be below seconds \(5.0\)"),
        ({"seconds": 5.0, "thread": 1}, "thread must be True or False, got 1"),
        ({"seconds": 5.0, "on_discard": 1}, "on_discard must be a function or None, got 1"),
        ({"seconds": 5.0, "name": ""}, "name must be a text of 1 to 200 characters, got ''"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Timeout(**chosen)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Timeout(5.0).seconds = 7.0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Timeout(5), "Timeout: at most 5 s"),
        (Timeout(idle=3), "Timeout: at most 3 s without progress"),
        (Timeout(5, 3), "Timeout: at most 5 s, 3 s without progress"),
        (Timeout(5, thread=True), "Timeout: at most 5 s (in a worker thread)"),
    ],
)
def test_it_describes_its_limits_in_one_line(policy, words):
    assert policy.describe() == words


def test_it_bounds_the_worst_case():
    assert Timeout(5.0).bound(Bound(60.0, 3)) == Bound(5.0, 3)
    assert Timeout(5.0).bound(Bound(2.0, 3)) == Bound(2.0, 3)
    assert Timeout(idle=5.0).bound(Bound(60.0, 3)) == Bound(60.0, 3)


def test_the_flow_asks_for_a_limit_and_returns_what_comes_of_it():
    hands = Hands(Timeout(5.0, 2.0, name="render"))
    limit = hands.effect
    assert type(limit) is Within
    assert (limit.policy, limit.seconds, limit.idle, limit.thread) == ("render", 5.0, 2.0, False)
    assert limit.flow is innermost
    hands.give(Ok("picture"))
    assert hands.value == "picture"


# In tasks -------------------------------------------------------------------------------


def test_what_takes_too_long_is_cancelled(clock):
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            ended.append(clock.now())
            raise

    with pytest.raises(DeadlineExceededError, match="limit of 5 s reached after 5 s"):
        clock.run(Timeout(5.0).execute(work))
    assert ended == [1_005.0]


def test_what_ends_in_time_is_left_alone(clock):
    assert clock.run(Timeout(5.0).execute(asyncio.sleep, 4.75, "done")) == "done"
    assert clock.now() == 1_004.75


def test_an_error_of_the_work_is_its_own(clock):
    async def work() -> None:
        await asyncio.sleep(1.0)
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        clock.run(Timeout(5.0).execute(work))


def test_the_callers_own_cancellation_passes_and_its_count_is_kept(clock):
    async def main() -> int:
        task = asyncio.current_task()
        asyncio.get_running_loop().call_later(1.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await Timeout(5.0).execute(asyncio.sleep, 60.0)
        return task.cancelling()

    assert clock.run(main()) == 1


@pytest.mark.parametrize("hot", [True, False])
def test_the_callers_cancellation_in_the_same_tick_wins(clock, hot):
    pipeline = Pipeline(Timeout(5.0))

    async def main() -> int:
        task = asyncio.current_task()
        asyncio.get_running_loop().call_later(5.0, task.cancel)
        with pytest.raises(asyncio.CancelledError):  # noqa: PT012  # both colours in one block
            if hot:
                await pipeline.execute(asyncio.sleep, 60.0)
            else:
                await stage.async_flows(pipeline, partial(asyncio.sleep, 60.0))
        return task.cancelling()

    assert clock.run(main()) == 1


@pytest.mark.parametrize("hot", [True, False])
def test_our_own_cancellation_leaves_no_trace_on_the_task(clock, hot):
    pipeline = Pipeline(Timeout(5.0))

    async def main() -> int:
        with pytest.raises(DeadlineExceededError):  # noqa: PT012  # both colours in one block
            if hot:
                await pipeline.execute(asyncio.sleep, 60.0)
            else:
                await stage.async_flows(pipeline, partial(asyncio.sleep, 60.0))
        await asyncio.sleep(1.0)
        return asyncio.current_task().cancelling()

    assert clock.run(main()) == 0


def test_a_limit_around_a_retry_ends_the_call_and_one_inside_it_each_attempt(clock):
    attempts = []

    async def hangs() -> None:
        attempts.append(clock.now())
        await asyncio.sleep(600.0)

    pipeline = Pipeline(Timeout(20.0), Retry(9, Backoff.fixed(1.0)), Timeout(5.0))
    with pytest.raises(DeadlineExceededError):
        clock.run(pipeline.execute(hangs))
    assert attempts == [1_000.0, 1_006.0, 1_012.0, 1_018.0]
    assert clock.now() == 1_020.0


def test_a_deadline_further_out_shrinks_it_and_is_named(clock):
    async def main() -> None:
        with Deadline.after(3.0):
            await Timeout(60.0).execute(asyncio.sleep, 600.0)

    with pytest.raises(DeadlineExceededError):
        clock.run(main())
    assert clock.now() == 1_003.0


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_time_in_a_queue_ends_in_an_error_of_its_own(clock, colour):
    bulkhead = Bulkhead(1, max_queue=1)
    assert bulkhead.try_take()
    pipeline = Pipeline(Timeout(5.0), bulkhead)
    with heard() as events, pytest.raises(QueueTimeoutError):  # noqa: PT012  # both colours in one block
        if colour == "sync":
            pipeline.call(lambda: 1)
        else:
            clock.run(pipeline.execute(asyncio.sleep, 1.0))
    assert clock.now() == 1_005.0
    assert [e.kind for e in events if hasattr(e, "kind")] == ["queued"]


def test_events_say_what_kind_of_end_it_was(clock):
    with heard() as events, pytest.raises(DeadlineExceededError):
        clock.run(Timeout(5.0, name="render").execute(asyncio.sleep, 60.0))
    assert kinds(events) == ["TimedOut", "CallFailed"]
    assert (events[0].policy, events[0].kind, events[0].seconds) == ("render", "running", 5.0)


# Without progress -----------------------------------------------------------------------


def test_work_that_reports_progress_may_take_as_long_as_it_likes(clock):
    async def work() -> str:
        for _ in range(10):
            await asyncio.sleep(2.0)
            progress()
        return "done"

    assert clock.run(Timeout(idle=3.0).execute(work)) == "done"
    assert clock.now() == 1_020.0


def test_work_that_falls_silent_is_ended(clock):
    async def work() -> None:
        await asyncio.sleep(2.0)
        progress()
        await asyncio.sleep(60.0)

    with pytest.raises(IdleTimeoutError, match="no progress for 3 s"):
        clock.run(Timeout(idle=3.0).execute(work))
    assert clock.now() == 1_005.0


def test_whichever_limit_comes_first_ends_it(clock):
    async def busy() -> None:
        while True:
            await asyncio.sleep(1.0)
            progress()

    with pytest.raises(DeadlineExceededError) as raised:
        clock.run(Timeout(10.0, idle=3.0).execute(busy))
    assert not isinstance(raised.value, IdleTimeoutError)
    assert clock.now() == 1_010.0


def test_sync_work_that_was_silent_for_too_long_is_found_out_when_it_returns(clock):
    def silent() -> None:
        clock.advance(4.0)
        progress()

    with pytest.raises(IdleTimeoutError):
        Timeout(idle=3.0).call(silent)

    def talks() -> str:
        clock.advance(2.0)
        progress()
        clock.advance(2.0)
        return "done"

    assert Timeout(idle=3.0).call(talks) == "done"


# In threads -----------------------------------------------------------------------------


def test_a_sync_result_that_comes_too_late_is_discarded(clock):
    discarded = []

    def late() -> str:
        clock.advance(7.0)
        return "late"

    policy = Timeout(5.0, on_discard=discarded.append)
    with heard() as events, pytest.raises(DeadlineExceededError):
        policy.call(late)
    assert discarded == ["late"]
    assert kinds(events) == ["ResultDiscarded", "TimedOut", "CallFailed"]
    with pytest.raises(DeadlineExceededError):
        policy.call(late)
    assert discarded == ["late", "late"]


def test_sync_work_can_read_its_deadline(clock):
    def work() -> float:
        clock.advance(2.0)
        return Deadline.current().remaining()

    assert Timeout(5.0).call(work) == 3.0


def test_work_in_a_worker_thread_is_left_behind_counted_and_its_result_disposed_of():
    release, disposed = threading.Event(), threading.Event()
    before = abandoned.count

    def hangs() -> str:
        release.wait(10.0)
        return "late"

    policy = Timeout(5.0, thread=True, on_discard=lambda _: disposed.set())
    try:
        with pytest.raises(DeadlineExceededError):
            policy.call(hangs)
        assert abandoned.count == before + 1
    finally:
        release.set()
    assert disposed.wait(10.0)
    assert abandoned.count == before


def test_work_in_a_worker_thread_gives_its_result_or_its_error_back():
    assert Timeout(5.0, thread=True).call(lambda: 7) == 7
    with pytest.raises(KeyError):
        Timeout(5.0, thread=True).call({}.__getitem__, "missing")


def test_no_more_than_so_many_workers_are_left_behind():
    kept = abandoned.count
    abandoned.change(CAP - kept)
    try:
        with pytest.raises(RejectedError, match="workers run on after their time limit"):
            Timeout(5.0, thread=True).call(lambda: 7)
    finally:
        abandoned.change(kept - CAP)


async def test_async_code_says_that_a_sync_function_got_no_worker_thread():
    pipeline = Pipeline(Retry(), Timeout(5, thread=True, name="patience"))

    told = await pipeline.outcome(threading.get_ident)

    assert told.value == threading.get_ident()
    assert len(told.steps) == 1
    assert told.steps[0].startswith("patience: no worker thread for a sync function in async code")


async def test_async_functions_need_none_and_nothing_is_said():
    async def work():
        return 1

    for fn in (work, lambda: work(), partial(asyncio.to_thread, int, 1)):  # noqa: PLW0108
        told = await Pipeline(Timeout(5, thread=True)).outcome(fn)
        assert (told.value, told.steps) == (1, ())
