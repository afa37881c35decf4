"""Time limits that share a queue and one timer."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.pipeline import alarms
from holdfast.pipeline.alarms import Alarm, AlarmQueue, arm, current_task, disarm, queue_for
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


def test_a_time_limit_needs_a_task():
    loop = asyncio.new_event_loop()
    errors = []

    def call() -> None:
        try:
            current_task()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(call)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert errors == ["a time limit needs a task: run this in an asyncio task"]


def test_an_alarm_cancels_its_task_when_its_time_is_up(clock):
    async def main() -> bool:
        alarm = Alarm()
        arm(alarm, current_task(), 5.0, None)
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            return disarm(alarm)
        return False

    assert clock.run(main())
    assert clock.now() == 1_005.0


@pytest.mark.parametrize("shared", [True, False])
def test_an_alarm_that_is_off_duty_rings_no_more(clock, shared):
    async def main() -> None:
        alarm = Alarm()
        arm(alarm, current_task(), 5.0, AlarmQueue() if shared else None)
        await asyncio.sleep(4.0)
        assert not disarm(alarm)
        await asyncio.sleep(60.0)

    clock.run(main())
    assert clock.now() == 1_064.0


def test_the_callers_own_cancellation_is_not_ours_even_in_the_same_tick(clock):
    async def main() -> tuple[bool, int]:
        task, alarm = current_task(), Alarm()
        asyncio.get_running_loop().call_later(5.0, task.cancel)
        arm(alarm, task, 5.0, None)
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            return disarm(alarm), task.cancelling()
        return True, 0

    assert clock.run(main()) == (False, 1)


def test_a_cancellation_that_was_pending_before_stays(clock):
    async def main() -> tuple[bool, int]:
        task, alarm = current_task(), Alarm()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1.0)
        arm(alarm, task, 5.0, None)
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            return disarm(alarm), task.cancelling()
        return False, 0

    assert clock.run(main()) == (True, 1)


def test_limits_of_one_length_in_one_loop_share_a_queue(clock):
    async def main() -> list[AlarmQueue]:
        loop = asyncio.get_running_loop()
        return [queue_for(loop, 5.0), queue_for(loop, 5.0), queue_for(loop, 6.0)]

    first, second, third = clock.run(main())
    assert first is second
    assert first is not third
    (other, *_) = clock.run(main())
    assert other is not first


def test_a_thousand_limits_of_one_length_need_one_timer(clock):
    async def main() -> int:
        loop = asyncio.get_running_loop()
        queue = queue_for(loop, 5.0)
        before = len(loop._scheduled)
        for _ in range(1000):
            arm(Alarm(), current_task(), 5.0, queue)
        timers = len(loop._scheduled) - before
        queue.alarms.clear()
        return timers

    assert clock.run(main()) == 1


def test_lengths_that_are_no_longer_used_are_forgotten(clock):
    async def main() -> int:
        loop = asyncio.get_running_loop()
        for number in range(10_000):
            queue_for(loop, 1.0 + number)
        return len(alarms._queues[loop])

    assert clock.run(main()) <= alarms.KEPT


def test_a_closed_loop_is_not_kept_alive():
    async def main() -> None:
        arm(Alarm(), current_task(), 5.0, queue_for(asyncio.get_running_loop(), 5.0))
        await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    known = weakref.ref(loop)
    loop.close()
    del loop

    async def other() -> None:
        queue_for(asyncio.get_running_loop(), 5.0)

    asyncio.run(other())
    gc.collect()
    assert known() is None


class StubTask:
    """Counts cancellations as a task does."""

    def __init__(self) -> None:
        self.count = 0

    def cancelling(self) -> int:
        return self.count

    def cancel(self) -> bool:
        self.count += 1
        return True

    def uncancel(self) -> int:
        self.count -= 1
        return self.count


class Model(RuleBasedStateMachine):
    """Alarms of one length set, taken off duty and left to ring, in any order."""

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.clock.__enter__()
        self.loop = self.clock.new_loop()
        self.queue = AlarmQueue()
        self.set: list[tuple[Alarm, StubTask, float]] = []
        self.rung: list[tuple[Alarm, StubTask]] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()
            self.clock.__exit__(None, None, None)

    def inside(self, action) -> None:
        async def run() -> None:
            action()

        self.loop.run_until_complete(run())

    @rule(pending=st.integers(0, 2))
    def set_one(self, pending: int) -> None:
        alarm, task = Alarm(), StubTask()
        task.count = pending
        self.inside(lambda: arm(alarm, task, 10.0, self.queue))
        self.set.append((alarm, task, self.clock.now() + 10.0))

    @precondition(lambda self: self.set)
    @rule(which=st.integers(0, 99))
    def take_one_off_duty(self, which: int) -> None:
        alarm, task, _ = self.set.pop(which % len(self.set))
        before = task.count
        assert disarm(alarm) is False
        assert task.count == before

    @precondition(lambda self: self.rung)
    @rule(cancelled=st.booleans())
    def answer(self, cancelled) -> None:
        alarm, task = self.rung.pop()
        before = alarm.before
        if cancelled:
            task.cancel()
        assert disarm(alarm) is not cancelled
        assert task.count == before + cancelled

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.5, 10.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        now = self.clock.now()
        self.rung += [(alarm, task) for alarm, task, at in self.set if at <= now]
        self.set = [one for one in self.set if one[2] > now]

    @invariant()
    def is_as_it_should_be(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert list(self.queue.alarms) == [alarm for alarm, _, _ in self.set]
        assert all(alarm.rang and task.count == alarm.before + 1 for alarm, task in self.rung)
        assert not any(alarm.rang for alarm, _, _ in self.set)
        if self.set:
            assert self.queue.timer is not None
            assert self.queue.timer.when() <= self.set[0][2] + 1e-6


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
