"""So many at once and no more, with a fair queue for the rest."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.errors import BadInputError, BulkheadFullError, QueueTimeoutError
from holdfast.outcome import Err, Ok
from holdfast.pipeline import Pipeline
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.effects import Park
from holdfast.policies.policy import Bound
from holdfast.policies.scope import Deadline
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands, heard, kinds


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


# Settings -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, math.nan])
def test_a_number_of_slots_that_makes_no_sense_is_refused_by_name(value):
    with pytest.raises(
        BadInputError, match=r"^max_concurrent must be a whole number of at least 1"
    ):
        Bulkhead(value)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"max_queue": -1}, "max_queue must be a whole number of at least 0, got -1"),
        ({"max_queue": 1.5}, "max_queue must be a whole number of at least 0, got 1.5"),
        ({"max_queue": 1, "max_wait": -1}, "max_wait must be at least 0 seconds, got -1"),
        ({"max_queue": 1, "max_wait": math.nan}, "max_wait must be at least 0 seconds, got nan"),
        ({"max_wait": 5.0}, r"max_queue must be at least 1 for max_wait \(5.0\) to matter, got 0"),
        ({"name": ""}, "name must be a text of 1 to 200 characters, got ''"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Bulkhead(1, **chosen)


def test_by_default_nobody_waits():
    bulkhead = Bulkhead(2)
    assert (bulkhead.max_queue, bulkhead.max_wait) == (0, None)
    assert bulkhead.describe() == "Bulkhead 'bulkhead': 2 at once, nobody waits"


def test_it_describes_its_limits_in_one_line():
    told = Bulkhead(2, 3, 5.0, name="gpu").describe()
    assert told == "Bulkhead 'gpu': 2 at once, 3 may wait for at most 5 s"


def test_the_worst_case_includes_the_wait():
    assert Bulkhead(1).bound(Bound(5.0, 2)) == Bound(5.0, 2)
    assert Bulkhead(1, 1, 3.0).bound(Bound(5.0, 2)) == Bound(8.0, 2)
    assert Bulkhead(1, 1).bound(Bound(5.0, 2)) == Bound(math.inf, 2)


@pytest.mark.parametrize("slots", [1, 1_000_000, 2_000_000])
def test_an_idle_bulkhead_of_any_size_has_nobody_inside(slots):
    assert Bulkhead(slots).running == 0


def test_a_snapshot_tells_limits_and_use():
    bulkhead = Bulkhead(1, 2, 5.0)
    first, second = Hands(bulkhead), Hands(bulkhead)
    assert bulkhead.snapshot() == {
        "max_concurrent": 1, "max_queue": 2, "max_wait": 5.0, "running": 1, "waiting": 1,
    }  # fmt: skip
    second.interrupt(GeneratorExit())
    first.succeed()


# By hand --------------------------------------------------------------------------------


def test_a_call_runs_in_a_slot_and_gives_it_back():
    bulkhead = Bulkhead(1)
    for end in (Ok(1), Err(ValueError())):
        hands = Hands(bulkhead)
        assert (hands.runs, bulkhead.running) == (True, 1)
        hands.give(end)
        assert bulkhead.running == 0


def test_with_all_slots_taken_and_no_queue_it_refuses_at_once():
    bulkhead = Bulkhead(1, name="gpu")
    first = Hands(bulkhead)
    with heard() as events:
        second = Hands(bulkhead)
    assert type(second.error) is BulkheadFullError
    assert str(second.error) == "bulkhead 'gpu': all 1 slots are taken"
    assert kinds(events) == ["Rejected"]
    first.succeed()


def test_with_a_full_queue_it_refuses_and_says_so():
    bulkhead = Bulkhead(1, max_queue=1)
    inside, waiting = Hands(bulkhead), Hands(bulkhead)
    refused = Hands(bulkhead)
    assert "and 1 calls wait already" in str(refused.error)
    waiting.interrupt(GeneratorExit())
    inside.succeed()


def test_a_slot_goes_to_the_first_in_the_queue():
    bulkhead = Bulkhead(1, max_queue=3, max_wait=9.0)
    inside, *line = [Hands(bulkhead) for _ in range(4)]
    assert [type(hands.effect) for hands in line] == [Park] * 3
    assert line[0].effect.seconds == 9.0
    inside.succeed()
    granted = [hands.effect.ticket.granted for hands in line]
    assert granted == [True, False, False]
    assert (bulkhead.running, bulkhead.waiting) == (1, 2)
    for hands in line:
        hands.give(True)
        hands.succeed()
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


def test_nobody_overtakes_the_queue():
    bulkhead = Bulkhead(1, max_queue=2)
    inside, first = Hands(bulkhead), Hands(bulkhead)
    inside.succeed()
    late = Hands(bulkhead)
    assert type(late.effect) is Park
    first.give(True)
    first.succeed()
    assert late.effect.ticket.granted
    late.give(True)
    late.succeed()


def test_one_who_gives_up_leaves_the_queue_without_a_trace():
    bulkhead = Bulkhead(1, max_queue=2)
    inside, first, second = Hands(bulkhead), Hands(bulkhead), Hands(bulkhead)
    first.interrupt(asyncio.CancelledError())
    assert bulkhead.waiting == 1
    inside.succeed()
    assert second.effect.ticket.granted
    second.give(True)
    second.succeed()
    assert bulkhead.running == 0


def test_a_slot_granted_to_one_who_is_just_giving_up_goes_to_the_next():
    bulkhead = Bulkhead(1, max_queue=2)
    inside, first, second = Hands(bulkhead), Hands(bulkhead), Hands(bulkhead)
    inside.succeed()
    assert first.effect.ticket.granted
    first.interrupt(asyncio.CancelledError())
    assert second.effect.ticket.granted
    second.give(True)
    second.succeed()
    assert bulkhead.running == 0


def test_one_whose_time_is_up_is_told_that_it_never_ran():
    bulkhead = Bulkhead(1, max_queue=1, max_wait=5.0, name="gpu")
    inside, waiting = Hands(bulkhead), Hands(bulkhead)
    waiting.give(False)
    assert type(waiting.error) is QueueTimeoutError
    assert "no slot came free in 5 s" in str(waiting.error)
    assert bulkhead.waiting == 0
    inside.succeed()
    assert bulkhead.running == 0


def test_one_whose_time_is_up_just_as_the_slot_comes_has_the_slot():
    bulkhead = Bulkhead(1, max_queue=1, max_wait=5.0)
    inside, waiting = Hands(bulkhead), Hands(bulkhead)
    inside.succeed()
    waiting.give(False)
    assert waiting.runs
    waiting.succeed()
    assert bulkhead.running == 0


def test_a_slot_taken_by_hand_counts():
    bulkhead = Bulkhead(1)
    assert bulkhead.try_take()
    assert not bulkhead.try_take()
    assert type(Hands(bulkhead).error) is BulkheadFullError
    bulkhead.give_back()
    assert bulkhead.try_take()


# Among tasks, threads and loops ---------------------------------------------------------


def test_tasks_get_their_slots_in_the_order_they_came(clock):
    bulkhead, order = Bulkhead(2, max_queue=10), []

    async def work(number: int) -> None:
        order.append(number)
        await asyncio.sleep(1.0 + number / 16)

    async def main() -> None:
        await asyncio.gather(*(bulkhead.execute(work, n) for n in range(8)))

    clock.run(main())
    assert order == list(range(8))
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


def test_a_task_waits_no_longer_than_it_may(clock):
    bulkhead = Bulkhead(1, max_queue=5, max_wait=2.0)

    async def main() -> list[object]:
        calls = [bulkhead.execute(asyncio.sleep, 60.0) for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in clock.run(main())] == [type(None), QueueTimeoutError]


@pytest.mark.parametrize("max_wait", [None, 60.0])
def test_a_thread_waits_no_longer_than_its_deadline_allows(clock, max_wait):
    bulkhead = Bulkhead(1, max_queue=5, max_wait=max_wait)
    assert bulkhead.try_take()
    with Deadline.after(5.0), pytest.raises(QueueTimeoutError):
        bulkhead.call(lambda: 1)
    assert clock.now() == 1_005.0
    assert bulkhead.waiting == 0


def test_the_limit_holds_over_threads():
    bulkhead, lock = Bulkhead(3, max_queue=100), threading.Lock()
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        for _ in range(50):
            pass
        with lock:
            inside -= 1

    def calls() -> None:
        for _ in range(100):
            bulkhead.call(work)

    threads = [threading.Thread(target=calls) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert most <= 3
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)


def test_a_slot_given_back_in_a_thread_wakes_a_task_in_a_loop():
    bulkhead = Bulkhead(1, max_queue=1)
    assert bulkhead.try_take()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(bulkhead.execute(asyncio.sleep, 0.0, "in"))
        while not bulkhead.waiting:  # noqa: ASYNC110  # the queue has no event to wait for
            await asyncio.sleep(0)
        await loop.run_in_executor(None, bulkhead.give_back)
        return await task

    assert asyncio.run(main()) == "in"
    assert bulkhead.running == 0


# A model --------------------------------------------------------------------------------


class Model(RuleBasedStateMachine):
    """Callers that come, run, wait, give up and get what they wait for, in any order."""

    @initialize(slots=st.integers(1, 3), queue=st.integers(0, 3))
    def begin(self, slots: int, queue: int) -> None:
        self.bulkhead = Bulkhead(slots, queue)
        self.slots, self.queue = slots, queue
        self.inside: list[Hands] = []
        self.granted: list[Hands] = []
        self.line: list[Hands] = []
        self.by_hand = 0

    @property
    def taken(self) -> int:
        return len(self.inside) + len(self.granted) + self.by_hand

    def serve(self) -> None:
        while self.line and self.taken < self.slots:
            self.granted.append(self.line.pop(0))

    @rule()
    def come(self) -> None:
        hands = Hands(self.bulkhead)
        if self.taken < self.slots and not self.line:
            assert hands.runs
            self.inside.append(hands)
        elif len(self.line) < self.queue:
            assert type(hands.effect) is Park
            self.line.append(hands)
        else:
            assert type(hands.error) is BulkheadFullError

    @rule()
    def take(self) -> None:
        free = self.taken < self.slots and not self.line
        assert self.bulkhead.try_take() is free
        self.by_hand += free

    @precondition(lambda self: self.by_hand)
    @rule()
    def give(self) -> None:
        self.bulkhead.give_back()
        self.by_hand -= 1
        self.serve()

    @precondition(lambda self: self.inside)
    @rule(which=st.integers(0, 9), good=st.booleans(), ended=st.booleans())
    def end(self, which: int, good, ended) -> None:
        hands = self.inside.pop(which % len(self.inside))
        if ended:
            hands.interrupt(asyncio.CancelledError())
        else:
            hands.give(Ok(1) if good else Err(ValueError()))
        self.serve()

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 9), in_time=st.booleans())
    def go_in(self, which: int, in_time) -> None:
        hands = self.granted.pop(which % len(self.granted))
        hands.give(in_time)
        assert hands.runs
        self.inside.append(hands)

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 9))
    def give_up_what_was_granted(self, which: int) -> None:
        self.granted.pop(which % len(self.granted)).interrupt(asyncio.CancelledError())
        self.serve()

    @precondition(lambda self: self.line)
    @rule(which=st.integers(0, 9), ended=st.booleans())
    def give_up_waiting(self, which: int, ended) -> None:
        hands = self.line.pop(which % len(self.line))
        if ended:
            hands.interrupt(asyncio.CancelledError())
        else:
            object.__setattr__(self.bulkhead, "max_wait", 1.0)
            hands.give(False)
            assert type(hands.error) is QueueTimeoutError

    @invariant()
    def is_as_it_should_be(self) -> None:
        if hasattr(self, "bulkhead"):
            assert (self.bulkhead.running, self.bulkhead.waiting) == (self.taken, len(self.line))
            assert all(h.effect.ticket.granted for h in self.granted)
            assert not any(h.effect.ticket.granted for h in self.line)

    def teardown(self) -> None:
        if hasattr(self, "bulkhead"):
            for hands in self.line + self.granted + self.inside:
                hands.interrupt(GeneratorExit())
            assert (self.bulkhead.running, self.bulkhead.waiting) == (self.by_hand, 0)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


class Loops(RuleBasedStateMachine):
    """Several event loops share one bulkhead, and some are closed with calls still waiting."""

    @initialize(slots=st.integers(1, 2))
    def begin(self, slots: int) -> None:
        self.bulkhead = Bulkhead(slots, max_queue=20)
        self.pipeline = Pipeline(self.bulkhead)
        self.slots = slots
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.tasks: dict[int, list[tuple[asyncio.Task[None], asyncio.Event]]] = {}
        self.entered: list[asyncio.Event] = []

    @staticmethod
    def turn(loop: asyncio.AbstractEventLoop) -> None:
        async def settle() -> None:
            for _ in range(8):
                await asyncio.sleep(0)

        loop.run_until_complete(settle())

    def turn_all(self) -> None:
        for _ in range(2):
            for loop in self.loops:
                self.turn(loop)

    @precondition(lambda self: len(self.loops) < 3)
    @rule()
    def open(self) -> None:
        loop = asyncio.new_event_loop()
        self.loops.append(loop)
        self.tasks[id(loop)] = []

    @precondition(lambda self: self.loops)
    @rule(which=st.integers(0, 9))
    def come(self, which: int) -> None:
        loop = self.loops[which % len(self.loops)]
        end = asyncio.Event()

        async def work() -> None:
            self.entered.append(end)
            try:
                await end.wait()
            finally:
                self.entered.remove(end)

        task = loop.create_task(self.pipeline.execute(work))
        self.tasks[id(loop)].append((task, end))
        self.turn_all()

    @precondition(lambda self: self.entered)
    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        self.entered[which % len(self.entered)].set()
        self.turn_all()

    @precondition(lambda self: any(self.tasks.values()))
    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        tasks = [task for known in self.tasks.values() for task, _ in known if not task.done()]
        if tasks:
            tasks[which % len(tasks)].cancel()
            self.turn_all()

    @precondition(lambda self: self.loops)
    @rule(which=st.integers(0, 9))
    def close_in_good_order(self, which: int) -> None:
        loop = self.loops.pop(which % len(self.loops))
        for task, _ in self.tasks.pop(id(loop)):
            task.cancel()
        self.turn(loop)
        loop.close()
        self.turn_all()

    @invariant()
    def nobody_waits_for_a_free_slot_and_no_slot_is_made_or_lost(self) -> None:
        if hasattr(self, "bulkhead"):
            assert self.bulkhead.running == len(self.entered) <= self.slots
            assert self.bulkhead.waiting == 0 or self.bulkhead.running == self.slots

    def teardown(self) -> None:
        while getattr(self, "loops", None):
            self.close_in_good_order(0)
        if hasattr(self, "bulkhead"):
            assert (self.bulkhead.running, self.bulkhead.waiting) == (0, 0)


TestLoops = Loops.TestCase
TestLoops.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_slot_that_a_closed_loop_could_not_take_is_not_given_back_twice():
    bulkhead = Bulkhead(1, max_queue=1)
    inside, waiting = Hands(bulkhead), Hands(bulkhead)
    waiting.effect.ticket.attach(lambda: False)
    inside.succeed()
    assert bulkhead.running == 0
    waiting.interrupt(GeneratorExit())
    assert bulkhead.running == 0
    assert bulkhead.try_take()
    assert not bulkhead.try_take()


@pytest.mark.parametrize("waiters", [1, 2])
def test_a_loop_that_was_closed_with_waiting_calls_neither_keeps_nor_makes_slots(waiters):
    bulkhead = Bulkhead(1, max_queue=5)
    loop = asyncio.new_event_loop()
    assert bulkhead.try_take()
    calls = [bulkhead.execute(asyncio.sleep, 60.0) for _ in range(waiters)]
    tasks = [loop.create_task(call) for call in calls]
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    assert bulkhead.waiting == waiters
    loop.close()
    bulkhead.give_back()
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    # As the collector does with what was left behind, but now and not at some later time.
    failed = []
    for task, call in zip(tasks, calls, strict=True):
        task._log_destroy_pending = False
        try:
            call.close()
        except ValueError as error:
            failed.append(error)
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    assert bulkhead.call(lambda: "in") == "in"
    assert failed == []


def test_one_whose_time_is_up_in_the_queue_is_an_event():
    bulkhead = Bulkhead(1, max_queue=1, name="gpu")
    inside, waiter = Hands(bulkhead), Hands(bulkhead)
    assert inside.runs
    with heard() as events:
        waiter.give(None)
    assert kinds(events) == ["Rejected"]
    assert events[0].policy == "gpu"
    assert waiter.call.steps == ["gpu: refused: no slot came free in time"]


def test_one_who_is_refused_says_why():
    bulkhead = Bulkhead(1, name="gpu")
    inside, refused = Hands(bulkhead), Hands(bulkhead)
    assert inside.runs
    assert refused.call.steps == ["gpu: refused: all 1 slots are taken"]
