"""What the policies of one call share while it lasts."""

from __future__ import annotations

import pytest

from holdfast.errors import DeadlineExceededError
from holdfast.policies.retry import Retry
from holdfast.policies.scope import child
from holdfast.testing import FakeClock
from tests.scenarios.hands import new_call


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


def test_what_the_hot_path_holds_is_handed_over_once_and_to_its_owner_only():
    call, owner, other = new_call(), object(), object()
    call.adopted[id(owner)] = "permit"
    assert call.adopt(other) is None
    assert call.adopt(owner) == "permit"
    assert call.adopt(owner) is None


def test_what_is_left_is_the_time_to_the_tightest_deadline(clock):
    call = new_call()
    assert call.left() == float("inf")
    call.scope.deadline = clock.now() + 5.0
    clock.advance(2.0)
    assert call.left() == 3.0
    clock.advance(9.0)
    assert call.left() == -6.0


def test_steps_are_remembered_up_to_a_limit():
    call = new_call()
    for number in range(250):
        call.say(str(number))
    assert call.report().steps == tuple(str(number) for number in range(150, 250))
    assert len(call.steps) <= 200


def test_a_fork_has_its_own_scope_and_counts_and_the_same_story(clock):
    call = new_call()
    call.retrying = Retry()
    call.attempts = 3
    clock.advance(5.0)
    twin = call.fork()
    assert twin.scope is not call.scope
    assert twin.scope.parent is call.scope
    assert (twin.attempts, twin.running) == (0, 0)
    assert twin.history is call.history
    assert twin.steps is call.steps
    assert twin.retrying is call.retrying
    assert twin.began == call.began == 1_000.0


def test_a_limit_of_ours_is_told_apart_while_the_function_is_at_work():
    call = new_call()
    outer = call.scope
    call.scope = child(child(outer))
    assert not call.interrupted_while_running()
    outer.rang = True
    assert not call.interrupted_while_running()
    call.running = 1
    assert call.interrupted_while_running()


def test_the_report_is_frozen_when_it_is_made(clock):
    call = new_call()
    call.say("first")
    clock.advance(4.0)
    report = call.report()
    call.say("second")
    assert (report.steps, report.elapsed) == (("first",), 4.0)


def test_a_call_past_its_deadline_is_blamed_on_it():
    error = new_call("upload").blame_deadline().error
    assert type(error) is DeadlineExceededError
    assert "upload" in str(error)


class Cancelled:
    """Stands for a task that was cancelled so many times."""

    def __init__(self, times):
        self.cancelling = lambda: times


def test_the_end_was_asked_for_if_it_was_since_the_call_began_and_the_error_came_of_it():
    call, came_of_it = new_call(), ConnectionError()
    call.before, call.cancellation = 1, GeneratorExit
    came_of_it.__context__ = GeneratorExit()
    assert not call.ending(came_of_it)
    call.task = Cancelled(1)
    assert not call.ending(came_of_it)
    call.task = Cancelled(2)
    assert call.ending(came_of_it)
    assert not call.ending(ConnectionError())


def test_an_error_with_a_very_long_past_is_not_followed_to_its_end():
    call, error = new_call(), GeneratorExit()
    for _ in range(200):
        later = ConnectionError()
        later.__context__, error = error, later
    call.task = Cancelled(1)
    assert not call.ending(error)
