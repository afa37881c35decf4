"""The driver for threads: the same flows, performed by blocking."""

from __future__ import annotations

import contextvars
import threading

import pytest

from holdfast.errors import BadInputError, DeadlineExceededError
from holdfast.outcome import Err, Ok
from holdfast.pipeline import sync
from holdfast.pipeline.streams import TurnedAsyncError
from holdfast.policies.effects import INVOKE, Park, Run, Sleep, Within
from holdfast.policies.scope import current_scope
from holdfast.policies.ticket import Ticket
from holdfast.testing import FakeClock
from tests.scenarios.hands import innermost, new_call


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


def doing(fn):
    call = new_call()
    call.fn = fn
    return call


def test_the_driver_asks_for_one_thing_at_a_time(clock):
    answers = []

    def flow():
        answers.append((yield INVOKE))
        answers.append((yield Sleep(2.0)))
        answers.append((yield Run(abs, (-3,))))
        return Ok("end")

    assert sync.perform(flow(), doing(lambda: "value")).value == "end"
    assert (answers[0].value, answers[1], answers[2].value) == ("value", None, 3)
    assert clock.slept == [2.0]


def test_a_failure_is_handed_to_the_flow_as_a_value():
    result = sync.perform(innermost(call := doing(lambda: 1 / 0)), call)
    assert type(result.error) is ZeroDivisionError
    assert (call.attempts, call.running) == (1, 0)


def test_an_interruption_is_thrown_into_the_flow_and_passes():
    def ended() -> None:
        raise KeyboardInterrupt

    seen = []

    def flow():
        try:
            yield INVOKE
        finally:
            seen.append("given back")

    with pytest.raises(KeyboardInterrupt):
        sync.perform(flow(), call := doing(ended))
    assert seen == ["given back"]
    assert call.running == 1


def test_a_coroutine_is_carried_out_to_whoever_can_await_it():
    async def work() -> None: ...

    with pytest.raises(TurnedAsyncError) as turned:
        sync.perform(innermost(call := doing(work)), call)
    turned.value.awaitable.close()
    assert call.attempts == 0


def test_an_async_hook_in_a_sync_call_is_a_failure_that_says_so():
    async def hook() -> None: ...

    result = sync.run(hook, ())
    assert type(result.error) is BadInputError
    assert "is async, and this call is sync" in str(result.error)


def test_a_parked_thread_wakes_when_its_ticket_is_granted():
    ticket = Ticket()
    thread = threading.Thread(target=ticket.grant)
    thread.start()
    assert sync.park(Park(ticket, None, "line"), new_call()) is True
    thread.join(10.0)


@pytest.mark.parametrize(("seconds", "deadline", "took"), [(2.0, 9.0, 2.0), (9.0, 2.0, 2.0),
                                                           (None, 2.0, 2.0)])  # fmt: skip
def test_a_parked_thread_waits_no_longer_than_it_may(clock, seconds, deadline, took):
    call = new_call()
    call.scope.deadline = clock.now() + deadline
    assert sync.park(Park(Ticket(), seconds, "line"), call) is False
    assert clock.now() == 1_000.0 + took


def test_no_attempt_begins_after_the_deadline(clock):
    call = doing(lambda: 1)
    call.scope.deadline = clock.now()
    assert type(sync.invoke(call).error) is DeadlineExceededError
    assert call.attempts == 0


def test_the_scope_inside_a_limit_is_its_own_and_gone_afterwards():
    seen = []
    call = doing(lambda: seen.append(current_scope()))
    before = call.scope
    assert type(sync.within(Within(innermost, "limit", 5.0), call)) is Ok
    assert call.scope is before
    assert current_scope() is None
    assert (seen[0].deadline, seen[0].live) == (1_005.0, False)


@pytest.mark.parametrize(("length", "kind"), [(4.75, Ok), (5.0, Err), (9.0, Err)])
def test_a_limit_is_enforced_when_the_work_returns(clock, length, kind):
    result = sync.within(Within(innermost, "limit", 5.0), doing(lambda: clock.advance(length)))
    assert type(result) is kind


@pytest.mark.parametrize("thread", [False, True])
def test_work_sees_the_context_of_its_caller(thread):
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    result = sync.within(Within(innermost, "limit", 5.0, thread=thread), doing(variable.get))
    assert result.value == "set"
