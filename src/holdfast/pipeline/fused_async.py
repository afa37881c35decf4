"""The hot path of async functions. Its laws are those of `fused`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from holdfast.events import hub
from holdfast.outcome import Err
from holdfast.pipeline.alarms import Alarm, AlarmQueue
from holdfast.pipeline.endings import RanOutError
from holdfast.pipeline.fused import Async, Rest, Sync
from holdfast.pipeline.stack import hot_paths
from holdfast.pipeline.streams import PLAIN, examine, generator_refused, is_generator
from holdfast.policies.scope import Scope, enter, inherit, innermost, leave, leave_anywhere
from holdfast.ports import ambient


def fuse_async(rest: Rest) -> Callable[[Sync, bool], Async]:
    """Make the maker of hot paths for async functions.

    The maker's second argument says whether the function is known to be async.
    """
    return _with_limit(rest) if rest.plan.limit is not None else _without_limit(rest)


def _without_limit(rest: Rest) -> Callable[[Sync, bool], Async]:
    plan = rest.plan
    door, shut, listeners = plan.door, rest.inflight.shut, hub
    has_bulkhead, has_budget = plan.bulkhead is not None, plan.budget is not None
    has_limiter = plan.limiter is not None
    slots: list[None] = [] if plan.bulkhead is None else plan.bulkhead.free
    take, give = slots.pop, slots.append
    line: Any = () if plan.bulkhead is None else plan.bulkhead.line
    folds, plain = plan.retries, PLAIN
    timed = plan.breaker is not None and plan.breaker.measures

    def make(fn: Sync, sure: bool) -> Async:  # noqa: FBT001  # an inner function
        async def fused(*args: Any, **kwargs: Any) -> Any:
            era = door.admits
            if era is None or listeners.active or shut:
                return await rest.run(fn, args, kwargs)
            outer = innermost()
            if outer is not None and (outer.deadline != math.inf or not outer.live):
                return await rest.run(fn, args, kwargs)
            if has_bulkhead:
                # While somebody waits no slot is free: one given back goes on to them.
                try:
                    take()
                except IndexError:
                    return await rest.run(fn, args, kwargs)
            if has_limiter and not rest.may_pass():
                return await rest.run(fn, args, kwargs)
            if has_budget:
                rest.pay_in(outer)
            if timed:
                began = ambient.now()
            # From here on the call is in flight, for those who look at the stack.
            governs = folds
            if governs:
                # Tasks made in here do not run on top of this frame; they have its context.
                scope = Scope() if outer is None else inherit(Scope(), outer)
                scope.folds = True
                mark = enter(scope)
            try:
                result = fn(*args, **kwargs)
                if sure or hasattr(result, "__await__"):
                    result = await result
                if (
                    result is not None
                    and type(result) not in plain
                    and not examine(result)
                    and is_generator(result)
                ):
                    raise generator_refused(result)  # noqa: TRY301  # an attempt that failed
            except BaseException as error:
                if governs:
                    scope.live = False
                    leave_anywhere(mark)
                if not isinstance(error, Exception):
                    if has_bulkhead:
                        rest.bulkhead.give_back()
                    raise
                first = Err(error)
            else:
                if governs:
                    scope.live = False
                    leave(mark)
                if has_bulkhead:
                    give(None)
                    if line:
                        rest.bulkhead.serve()
                if door.quiet is not era:
                    rest.recovered(era, ambient.now() - began if timed else None)
                return result
            start = began if timed else None
            call = rest.handed_over(first, outer, start, era, (fn, args, kwargs))
            call.task = asyncio.current_task()
            # Or what failed would live as long as its successors.
            del first
            return await rest.resume(call)

        hot_paths[id(fused.__code__)] = fused.__code__
        return fused

    return make


def _with_limit(rest: Rest) -> Callable[[Sync, bool], Async]:
    plan = rest.plan
    door, shut, listeners = plan.door, rest.inflight.shut, hub
    has_bulkhead, has_budget = plan.bulkhead is not None, plan.budget is not None
    has_limiter = plan.limiter is not None
    slots: list[None] = [] if plan.bulkhead is None else plan.bulkhead.free
    take, give = slots.pop, slots.append
    line: Any = () if plan.bulkhead is None else plan.bulkhead.line
    folds, plain, limit = plan.retries, PLAIN, rest.limit
    running_loop = asyncio.get_running_loop
    task_of: Any = asyncio.current_task
    latest: tuple[Any, AlarmQueue] = (None, AlarmQueue())

    def make(fn: Sync, sure: bool) -> Async:  # noqa: FBT001  # an inner function
        async def fused(*args: Any, **kwargs: Any) -> Any:
            nonlocal latest
            era = door.admits
            if era is None or listeners.active or shut:
                return await rest.run(fn, args, kwargs)
            alarm = Alarm()
            outer = innermost()
            if outer is None:
                alarm.folds = folds
            elif outer.deadline != math.inf or not outer.live:
                return await rest.run(fn, args, kwargs)
            else:
                inherit(alarm, outer)
                if folds:
                    alarm.folds = True
            loop = running_loop()
            alarm.task = task = task_of(loop)
            alarm.before = task.cancelling()
            known, queue = latest
            if known is not loop:
                queue = rest.inflight.queue(loop)
                latest = (loop, queue)
            alarms = queue.alarms
            if has_bulkhead:
                # While somebody waits no slot is free: one given back goes on to them.
                try:
                    take()
                except IndexError:
                    return await rest.run(fn, args, kwargs)
            if has_limiter and not rest.may_pass():
                return await rest.run(fn, args, kwargs)
            if has_budget:
                rest.pay_in(outer)
            began = ambient.now()
            # From here on the call is in flight, for those who look at the stack.
            governs = folds  # noqa: F841
            alarm.at = alarm.deadline = began + limit
            alarms[alarm] = None
            if queue.timer is None:
                queue.watch()
            mark = enter(alarm)
            try:
                result = fn(*args, **kwargs)
                if sure or hasattr(result, "__await__"):
                    result = await result
                if (
                    result is not None
                    and type(result) not in plain
                    and not examine(result)
                    and is_generator(result)
                ):
                    raise generator_refused(result)  # noqa: TRY301  # an attempt that failed
            except BaseException as error:
                alarm.live = False
                # Timers the call has left behind keep its context, and that keeps the alarm.
                alarm.task = None
                leave_anywhere(mark)
                rang = alarms.pop(alarm, alarm) is alarm
                ours = rang and task.uncancel() <= alarm.before
                if isinstance(error, Exception):
                    first = Err(error)
                elif ours and isinstance(error, asyncio.CancelledError):
                    first = Err(RanOutError(rest.name))
                else:
                    if has_bulkhead:
                        rest.bulkhead.give_back()
                    # The task holds what is raised, whose traceback holds this frame.
                    del alarm, task
                    raise
            else:
                leave(mark)
                alarm.live = False
                alarm.task = None
                # One that rang has left the queue.
                if alarms.pop(alarm, alarm) is alarm:
                    task.uncancel()
                if has_bulkhead:
                    give(None)
                    if line:
                        rest.bulkhead.serve()
                if door.quiet is not era:
                    rest.recovered(era, ambient.now() - began)
                return result
            call = rest.handed_over(first, outer, began, era, (fn, args, kwargs))
            call.task, call.before = task, alarm.before
            # Or what failed would live as long as its successors, and the task that holds its
            # failure would be held by it.
            del first, alarm, task
            return await rest.resume(call)

        hot_paths[id(fused.__code__)] = fused.__code__
        return fused

    return make
