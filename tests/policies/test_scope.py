"""What a running call inherits, and the deadline a user can set and read."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading

import pytest

from holdfast.errors import BadInputError, DeadlineExceededError
from holdfast.pipeline import Pipeline
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.retry import Retry
from holdfast.policies.scope import (
    Deadline,
    Scope,
    child,
    current_scope,
    enter,
    innermost,
    leave,
    progress,
)
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


def test_outside_any_call_there_is_no_scope_and_no_deadline():
    assert current_scope() is None
    assert Deadline.current() is None
    progress()


def test_a_fresh_scope_has_no_limit_and_the_first_attempt():
    scope = Scope()
    assert (scope.deadline, scope.attempt, scope.folds, scope.live) == (math.inf, 1, False, True)
    assert (scope.parent, scope.key, scope.listeners, scope.rang) == (None, None, (), False)


def test_a_scope_has_no_other_attributes():
    with pytest.raises(AttributeError):
        _ = Scope().colour
    with pytest.raises(AttributeError):
        Scope().colour = "red"


def test_a_child_inherits_what_is_handed_down_and_not_what_is_its_parents_own():
    parent = Scope()
    parent.deadline, parent.folds, parent.attempt, parent.key = 7.0, True, 3, "job"
    parent.listeners, parent.rang = (print,), True
    heir = child(parent)
    assert (heir.deadline, heir.folds, heir.attempt, heir.key) == (7.0, True, 3, "job")
    assert (heir.listeners, heir.parent) == ((print,), parent)
    assert (heir.rang, heir.live) == (False, True)


def test_a_dead_scope_is_passed_over():
    outer, inner = Scope(), None
    first = enter(outer)
    inner = child(outer)
    second = enter(inner)
    assert current_scope() is inner
    inner.live = False
    assert current_scope() is outer
    outer.live = False
    assert current_scope() is None
    leave(second)
    leave(first)


@pytest.mark.parametrize("bad", [-1, -0.1, math.nan, True, "5", None])
def test_a_deadline_that_makes_no_sense_is_refused(bad):
    with pytest.raises(BadInputError, match="seconds must be at least 0 seconds, got "):
        Deadline.after(bad)


def test_a_deadline_knows_what_is_left(clock):
    limit = Deadline.after(5.0)
    assert (limit.remaining(), limit.expired) == (5.0, False)
    limit.check()
    clock.advance(7.0)
    assert (limit.remaining(), limit.expired) == (0.0, True)
    with pytest.raises(DeadlineExceededError):
        limit.check()


def test_the_tightest_deadline_applies_and_each_ends_with_its_block():
    with Deadline.after(5.0) as outer:
        with Deadline.after(9.0):
            assert Deadline.current() == outer
        with Deadline.after(2.0) as inner:
            assert Deadline.current() == inner
        assert Deadline.current() == outer
    assert Deadline.current() is None


def test_the_same_deadline_can_be_used_as_a_block_again_and_inside_itself():
    limit = Deadline.after(5.0)
    for _ in range(2):
        with limit, limit:
            assert Deadline.current() == limit
    assert Deadline.current() is None


def test_equal_deadlines_are_equal():
    assert Deadline(5.0) == Deadline(5.0)
    assert hash(Deadline(5.0)) == hash(Deadline(5.0))
    assert Deadline(5.0) != Deadline(6.0)
    assert Deadline(5.0) != 5.0
    assert repr(Deadline(1_002.5)) == "Deadline(in 2.500 s)"


def test_a_deadline_without_end_is_none():
    with Deadline.after(math.inf):
        assert Deadline.current() is None


def test_a_deadline_is_inherited_by_a_thread_that_copies_the_context():
    seen = []
    with Deadline.after(5.0) as limit:
        context = contextvars.copy_context()
    with Deadline.after(5.0):
        live = contextvars.copy_context()
        thread = threading.Thread(target=lambda: seen.append(live.run(Deadline.current)))
        thread.start()
        thread.join(10.0)
    assert seen == [limit]
    assert context.run(Deadline.current) is None


def test_nested_pipelines_inherit_the_deadline(clock):
    inner = Pipeline(Timeout(60.0))
    seen = []

    def look() -> None:
        seen.append(Deadline.current().remaining())

    Pipeline(Timeout(8.0)).call(inner.call, look)
    clock.run(Pipeline(Timeout(8.0)).execute(lambda: inner.execute(look)))
    assert seen == [8.0, 8.0]


def test_no_attempt_begins_after_the_deadline(clock):
    ran = []
    with Deadline.after(1.0):
        clock.advance(1.0)
        with pytest.raises(DeadlineExceededError):
            Retry().call(lambda: ran.append(1))
        with pytest.raises(DeadlineExceededError):
            clock.run(Retry().execute(lambda: ran.append(1)))
    assert ran == []


def test_a_deadline_interrupts_a_running_attempt(clock):
    async def main() -> None:
        with Deadline.after(3.0):
            await Retry().execute(asyncio.sleep, 60.0)

    with pytest.raises(DeadlineExceededError):
        clock.run(main())
    assert clock.now() == 1_003.0


def test_progress_is_heard_by_all_around():
    heard = []
    outer = Scope()
    outer.listeners = (lambda: heard.append("outer"),)
    inner = child(outer)
    inner.listeners = (*inner.listeners, lambda: heard.append("inner"))
    mark = enter(inner)
    progress()
    leave(mark)
    assert heard == ["outer", "inner"]


def test_a_block_leaves_nothing_behind_in_the_context():
    before = innermost()
    for _ in range(3):
        with Deadline.after(5.0):
            pass
    assert innermost() is before


def test_what_outlives_a_call_is_no_longer_inside_it(clock):
    policy = CircuitBreaker(failure_on_result=lambda _: False)

    async def later():
        assert current_scope() is not None
        return contextvars.copy_context()

    def now():
        assert current_scope() is not None
        return contextvars.copy_context()

    assert policy.call(now).run(current_scope) is None
    assert clock.run(policy.execute(later)).run(current_scope) is None


async def test_one_deadline_may_be_entered_by_many_tasks_at_once():
    deadline = Deadline.after(60.0)

    async def work(seconds: float) -> float:
        with deadline:
            await asyncio.sleep(seconds)
            return Deadline.current().at

    told = await asyncio.gather(work(0.02), work(0.0), work(0.01))
    assert told == [deadline.at] * 3
    assert Deadline.current() is None


def test_one_deadline_may_be_entered_by_many_threads_at_once():
    deadline, barrier, told = Deadline.after(60.0), threading.Barrier(4), []

    def work() -> None:
        with deadline:
            barrier.wait(5.0)
            told.append(Deadline.current().at)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [deadline.at] * 4


@pytest.mark.parametrize("at", [float("nan"), "5", None, True])
def test_a_moment_that_is_none_is_refused(at):
    with pytest.raises(BadInputError, match=r"^at must be"):
        Deadline(at)
