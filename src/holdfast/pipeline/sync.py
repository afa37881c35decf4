"""The driver for threads: performs what flows ask for by blocking the caller's own.

A thread cannot be stopped, so a time limit here is the `Deadline` the work can
read, enforced when the work returns; or, on request, a worker thread that the
caller leaves behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, QueueTimeoutError, RejectedError
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.pipeline.endings import time_is_up
from holdfast.pipeline.streams import (
    PLAIN,
    TurnedAsyncError,
    drop,
    examine,
    generator_refused,
    is_generator,
)
from holdfast.pipeline.sync_race import race
from holdfast.pipeline.workers import in_worker
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Flow, Invoke, Park, Run, Sleep, Within
from holdfast.policies.scope import Scope, child, enter, leave
from holdfast.ports import ambient


def perform(flow: Flow, call: Call) -> Result:
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
                answer = answer_to(effect, call)
            except BaseException as error:  # noqa: BLE001  # the flow must give back what it holds
                interruption = error
                call.turned = type(error) is TurnedAsyncError
    finally:
        # The frame of what failed holds this one, so nothing here may hold the failure.
        del interruption, answer


def answer_to(effect: Effect, call: Call) -> Any:
    """Do what a flow asks for."""
    match effect:
        case Invoke():
            return invoke(call)
        case Sleep():
            return ambient.sleep(effect.seconds)
        case Within():
            return within(effect, call)
        case Park():
            return park(effect, call)
        case Run():
            return run(effect.action, effect.arguments)
        case _:
            return race(effect, call, perform)


def invoke(call: Call) -> Result:
    """Call the protected function once."""
    if call.first is not None:
        result, call.first = call.first, None
        return result
    if (refusal := call.may_not_begin()) is not None:
        return refusal
    call.attempts += 1
    # Not counted down on an interruption: the flow asks what was at work.
    call.running += 1
    try:
        value = call.fn(*call.args, **call.kwargs)
    except Exception as error:  # noqa: BLE001  # failures travel as values
        call.running -= 1
        return Err(error)
    if type(value) not in PLAIN and not examine(value):
        if is_generator(value):
            call.running -= 1
            return Err(generator_refused(value))
        call.attempts -= 1
        raise TurnedAsyncError(value)
    call.running -= 1
    return Ok(value)


def run(action: Callable[..., Any], arguments: tuple[Any, ...]) -> Result:
    """Call a hook."""
    try:
        value = action(*arguments)
    except Exception as error:  # noqa: BLE001  # failures travel as values
        return Err(error)
    if type(value) not in PLAIN and not examine(value) and not is_generator(value):
        drop(value)
        return Err(BadInputError(f"{action!r:.100} is async, and this call is sync"))
    return Ok(value)


def park(effect: Park, call: Call) -> bool:
    """Wait for a ticket, granted from whatever thread."""
    over = threading.Event()

    def wake() -> bool:
        over.set()
        return True

    effect.ticket.attach(wake)
    left = call.left()
    seconds = min(left, effect.seconds) if effect.seconds is not None else left
    began = ambient.now()
    ambient.wait(over, None if seconds > threading.TIMEOUT_MAX else max(0.0, seconds))
    call.waited(ambient.now() - began)
    return effect.ticket.granted


def within(effect: Within, call: Call) -> Result:
    """Run a flow under a time limit."""
    outer, running = call.scope, call.running
    began = call.began if call.first is not None else ambient.now()
    scope = child(outer)
    if effect.seconds is not None:
        scope.deadline = min(outer.deadline, began + effect.seconds)
    idle = None if effect.idle is None else Idle(scope, effect.idle)
    call.scope = scope
    mark = enter(scope)
    call.idles += [] if idle is None else [idle]
    result: Result | None = None
    queued = False
    try:
        if effect.thread and call.first is None:
            result = in_worker(effect, call, perform, idle.left if idle is not None else None)
        else:
            result = perform(effect.flow(call), call)
        now = ambient.now()
        stalled = idle is not None and idle.left() <= 0
        if result is not None and now < scope.deadline and not stalled:
            return result
        if type(result) is Err and isinstance(result.error, RejectedError):
            if not isinstance(result.error, QueueTimeoutError):
                return result  # it never ran, and that is more to the point
            queued = True
        if type(result) is Ok:
            _dispose(effect, result)
        elif type(result) is Err:
            call.say(f"{effect.policy}: too late, it failed: {describe(result.error)}")
    finally:
        scope.live = False
        leave(mark)
        call.scope, call.running = outer, running
        if idle is not None:
            call.idles.remove(idle)
        # The frame of what failed holds this one, so nothing here may hold the failure.
        del result
    return time_is_up(
        effect, call, now - began, idle=stalled and now < scope.deadline, queued=queued
    )


def _dispose(effect: Within, result: Ok) -> None:
    if hub.active:
        hub.emit(events.ResultDiscarded(effect.policy, ambient.now(), "it came too late"))
    if effect.dispose is not None:
        run(effect.dispose, (result.value,))


class Idle:
    """Knows how long there has been no progress."""

    __slots__ = ("latest", "longest", "seconds")

    def __init__(self, scope: Scope, seconds: float) -> None:
        self.seconds = seconds
        self.latest = ambient.now()
        self.longest = 0.0
        """The longest silence so far, in seconds."""
        scope.listeners = (*scope.listeners, self.touch)

    def touch(self) -> None:
        """There was progress."""
        now = ambient.now()
        self.longest = max(self.longest, now - self.latest)
        self.latest = now

    def left(self) -> float:
        """Seconds until the time is up; at most 0 if it ever was."""
        return self.seconds - max(self.longest, ambient.now() - self.latest)
