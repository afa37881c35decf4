"""The driver for asyncio: what flows ask for is done, and what they must hear is thrown in."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from holdfast.outcome import Err, Ok
from holdfast.pipeline import aio
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


def test_a_failure_is_handed_to_the_flow_as_a_value(clock):
    error = KeyError()

    def fails() -> None:
        raise error

    result = clock.run(aio.perform(innermost(call := doing(fails)), call))
    assert type(result) is Err
    assert result.error is error
    assert (call.attempts, call.running) == (1, 0)


def test_an_interruption_is_thrown_into_the_flow_and_passes(clock):
    seen = []

    def flow():
        try:
            yield Sleep(60.0)
        except BaseException as error:
            seen.append(type(error))
            raise

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, asyncio.current_task().cancel)
        await aio.perform(flow(), new_call())

    with pytest.raises(asyncio.CancelledError):
        clock.run(main())
    assert seen == [asyncio.CancelledError]


def test_a_flow_that_cleans_up_with_effects_is_served_while_it_is_ended(clock):
    order = []

    def flow():
        try:
            yield Sleep(60.0)
        except asyncio.CancelledError:
            yield Run(order.append, ("cleaned",))
            raise

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, asyncio.current_task().cancel)
        await aio.perform(flow(), new_call())

    with pytest.raises(asyncio.CancelledError):
        clock.run(main())
    assert order == ["cleaned"]


def test_what_is_at_work_stays_counted_when_it_is_interrupted(clock):
    call = doing(lambda: asyncio.sleep(60.0))

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, asyncio.current_task().cancel)
        await aio.perform(innermost(call), call)

    with pytest.raises(asyncio.CancelledError):
        clock.run(main())
    assert call.running == 1


def test_hooks_of_both_colours_answer_with_results(clock):
    async def hook(value: int) -> int:
        await asyncio.sleep(1.0)
        return value + 1

    async def main() -> list[object]:
        good = await aio.run(hook, (1,))
        plain = await aio.run(int, ("7",))
        bad = await aio.run(int, ("x",))
        return [good.value, plain.value, type(bad.error)]

    assert clock.run(main()) == [2, 7, ValueError]


@pytest.mark.parametrize(("granted", "seconds", "took"), [(2.0, 9.0, 2.0), (9.0, 2.0, 2.0)])
def test_a_parked_call_wakes_at_its_grant_or_when_its_time_is_up(clock, granted, seconds, took):
    ticket = Ticket()

    async def main() -> bool:
        asyncio.get_running_loop().call_later(granted, ticket.grant)
        return await aio.park(Park(ticket, seconds, "line"), new_call())

    assert clock.run(main()) is (granted < seconds)
    assert clock.now() == 1_000.0 + took


def test_a_call_ended_in_the_queue_remembers_that_it_was_there(clock):
    call = new_call()

    async def main() -> None:
        asyncio.get_running_loop().call_later(1.0, asyncio.current_task().cancel)
        await aio.park(Park(Ticket(), None, "line"), call)

    with pytest.raises(asyncio.CancelledError):
        clock.run(main())
    assert call.scope.queued_out


def test_context_variables_of_the_work_stay_visible_to_the_caller(clock):
    variable = contextvars.ContextVar("variable", default="unset")

    async def work() -> None:
        variable.set("set")

    async def main() -> str:
        await aio.within(Within(innermost, "limit", 5.0), doing(work))
        return variable.get()

    assert clock.run(main()) == "set"


def test_the_scope_inside_a_limit_is_its_own_and_gone_afterwards(clock):
    seen = []

    async def main() -> None:
        call = doing(lambda: seen.append(current_scope()))
        before = call.scope
        result = await aio.within(Within(innermost, "limit", 5.0), call)
        assert type(result) is Ok
        assert call.scope is before
        assert current_scope() is None

    clock.run(main())
    (scope,) = seen
    assert scope.deadline == 1_005.0
    assert not scope.live


def test_a_time_limit_leaves_no_timer_behind(clock):
    async def main() -> int:
        loop = asyncio.get_running_loop()
        for _ in range(100):
            await aio.within(Within(innermost, "limit", 5.0, idle=2.0), doing(lambda: 1))
        return sum(not timer.cancelled() for timer in loop._scheduled)

    assert clock.run(main()) <= 1


def test_no_attempt_begins_after_the_deadline(clock):
    call = doing(lambda: 1)
    call.scope.deadline = clock.now()
    result = clock.run(aio.invoke(call))
    assert type(result) is Err
    assert call.attempts == 0


def test_the_driver_asks_for_one_thing_at_a_time(clock):
    answers = []

    def flow():
        answers.append((yield INVOKE))
        answers.append((yield Sleep(2.0)))
        answers.append((yield Run(abs, (-3,))))
        return Ok("end")

    result = clock.run(aio.perform(flow(), doing(lambda: "value")))
    assert result.value == "end"
    assert (answers[0].value, answers[1], answers[2].value) == ("value", None, 3)
    assert clock.now() == 1_002.0
