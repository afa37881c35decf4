"""The driver for asyncio: performs what flows ask for, with tasks and timers.

- The protected function runs in the caller's own task; only races make new ones.
- Whatever ends the call from outside is thrown into the flow, so that it gives
  back what it holds, and passes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from holdfast.outcome import Err, Ok, Result
from holdfast.pipeline.aio_race import race
from holdfast.pipeline.alarms import Alarm, arm, current_task, disarm, queue_for
from holdfast.pipeline.endings import RanOutError, ran_out, time_is_up
from holdfast.pipeline.streams import PLAIN, examine, generator_refused, is_generator
from holdfast.pipeline.waking import resolve, waker
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Flow, Invoke, Park, Race, Run, Sleep, Within
from holdfast.policies.scope import enter, inherit, leave_anywhere
from holdfast.ports import ambient


async def perform(flow: Flow, call: Call) -> Result:
    """Run a flow to its end."""
    answer: Any = None
    interruption: BaseException | None = None
    try:
        while True:
            try:
                if interruption is None:
                    effect = flow.send(answer)
                else:
                    effect = flow.throw(interruption)
                    interruption = None
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            # Or a failed attempt would live on while its successor waits.
            answer = None
            try:
                answer = await answer_to(effect, call)
            except BaseException as error:  # noqa: BLE001  # the flow must give back what it holds
                interruption = error
    finally:
        # The traceback of what failed holds this frame, so nothing here may hold the failure.
        del interruption, answer


async def answer_to(effect: Effect, call: Call) -> Any:
    """Do what a flow asks for."""
    # By identity of the type, most frequent first: `match` would ask each class in turn.
    kind = type(effect)
    if kind is Invoke:
        return await invoke(call)
    if kind is Within:
        return await within(cast("Within", effect), call)
    if kind is Sleep:
        return await asyncio.sleep(cast("Sleep", effect).seconds)
    if kind is Park:
        return await park(cast("Park", effect), call)
    if kind is Run:
        hook = cast("Run", effect)
        return await run(hook.action, hook.arguments)
    return await race(cast("Race", effect), call, perform)


async def invoke(call: Call) -> Result:
    """Call the protected function once."""
    if call.first is not None:
        result, call.first = call.first, None
        if type(result) is Err and type(result.error) is RanOutError:
            # The hot path's limit interrupted it: so it comes to everything inside that limit.
            call.running += 1
            call.ran_out = True
            raise asyncio.CancelledError
        return result
    if (refusal := call.may_not_begin()) is not None:
        return refusal
    call.attempts += 1
    # Not counted down on an interruption: the flow asks what was at work.
    call.running += 1
    try:
        value = call.at_hand.pop() if call.at_hand else call.fn(*call.args, **call.kwargs)
        if hasattr(value, "__await__"):
            value = await value
        elif call.threaded:
            call.say(
                f"{call.threaded}: no worker thread for a sync function in async code: it held up "
                "the event loop, without a limit; use call, or give asyncio.to_thread to execute"
            )
            call.threaded = ""
    except Exception as error:  # noqa: BLE001  # failures travel as values
        call.running -= 1
        return Err(error)
    call.running -= 1
    if type(value) not in PLAIN and not examine(value) and is_generator(value):
        return Err(generator_refused(value))
    return Ok(value)


async def run(action: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
    """Call a hook, sync or async."""
    try:
        value = action(*arguments)
        if hasattr(value, "__await__"):
            value = await value
    except Exception as error:  # noqa: BLE001  # failures travel as values
        return Err(error)
    return Ok(value)


async def park(effect: Park, call: Call) -> bool:
    """Wait for a ticket, granted from whatever thread."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    effect.ticket.attach(waker(loop, over))
    timer = None if effect.seconds is None else loop.call_later(effect.seconds, resolve, over)
    began = ambient.now()
    call.parked += 1
    try:
        await over
    except asyncio.CancelledError:
        call.ended_in_queue()
        raise
    finally:
        call.parked -= 1
        call.waited(ambient.now() - began)
        if timer is not None:
            timer.cancel()
    return effect.ticket.granted


async def within(effect: Within, call: Call) -> Result:
    """Run a flow under a time limit."""
    outer, running = call.scope, call.running
    replayed = call.first is not None
    began = call.began if replayed else ambient.now()
    alarm = inherit(Alarm(), outer)
    if effect.seconds is not None:
        alarm.deadline = min(outer.deadline, began + effect.seconds)
    # Of two limits that end together, the outer one is what ended it.
    own = alarm.deadline < outer.deadline
    late = replayed and own and ran_out(effect, ambient.now() - began)
    task = current_task()
    shared = own and not replayed and effect.seconds is not None
    queue = queue_for(task.get_loop(), effect.seconds or 0.0) if shared else None
    arm(alarm, task, alarm.deadline - ambient.now(), queue)
    idle = None if effect.idle is None else Idle(alarm, effect.idle, call)
    call.scope = alarm
    mark = enter(alarm)
    call.idles += [] if idle is None else [idle]
    threaded, call.threaded = call.threaded, effect.policy if effect.thread else call.threaded
    ended = False
    try:
        # Never in a variable: the frame of what failed may hold this one.
        return await perform(effect.flow(call), call)
    except BaseException as error:
        ended = True
        ours = disarm(alarm) or (late and call.ran_out)
        if not (ours and isinstance(error, asyncio.CancelledError)):
            raise  # and what was running stays counted, for whoever asks further out
        call.running, call.ran_out = running, False
    finally:
        if not ended:
            disarm(alarm)
            call.running = running
        if idle is not None:
            idle.stop()
            call.idles.remove(idle)
        alarm.live = False
        leave_anywhere(mark)
        call.scope, call.threaded = outer, threaded
        # The task holds its failure, whose traceback holds this frame.
        del alarm.task, task
    silent = idle is not None and idle.rang
    return time_is_up(effect, call, ambient.now() - began, idle=silent, queued=alarm.queued_out)


class Idle:
    """Ends a task that reports no progress."""

    __slots__ = ("alarm", "call", "latest", "rang", "seconds", "timer")

    def __init__(self, alarm: Alarm, seconds: float, call: Call) -> None:
        self.alarm = alarm
        self.call = call
        self.seconds = seconds
        self.latest = ambient.now()
        self.rang = False
        alarm.listeners = (*alarm.listeners, self.touch)
        self.timer = alarm.task.get_loop().call_later(seconds, self.check)

    def touch(self) -> None:
        """There was progress; may be called from any thread."""
        self.latest = ambient.now()

    def check(self) -> None:
        """Ring, or look again when the time would be up."""
        left = self.latest + self.seconds - ambient.now()
        if self.call.parked:
            left = self.seconds  # waiting is not running
        if left > 1e-6:
            self.timer = self.alarm.task.get_loop().call_later(left, self.check)
        elif not self.alarm.rang:
            self.rang = self.alarm.rang = True
            self.alarm.task.cancel()

    def stop(self) -> None:
        """No more."""
        self.timer.cancel()
