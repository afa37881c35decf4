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
from holdfast.pipeline.streams import PLAIN, examine, generator_refused, is_generator
from holdfast.policies.scope import enter, inherit, innermost, leave, leave_anywhere
from holdfast.ports import ambient


def fuse_async(rest: Rest) -> Callable[[Sync, bool], Async]:
    """Make the maker of hot paths for async functions.

    The maker's second argument says whether the function is known to be async.
    """
    plan = rest.plan
    circuit, shut, listeners = plan.circuit, rest.inflight.shut, hub
    has_bulkhead, has_budget = plan.bulkhead is not None, plan.budget is not None
    slots: list[None] = [] if plan.bulkhead is None else plan.bulkhead.free
    take, give = slots.pop, slots.append
    line: Any = () if plan.bulkhead is None else plan.bulkhead.line
    folds, plain = plan.retries, PLAIN
    limit, limited = rest.limit, plan.limit is not None
    running_loop = asyncio.get_running_loop
    task_of: Any = asyncio.current_task
    latest: tuple[Any, AlarmQueue] = (None, AlarmQueue())

    def make(fn: Sync, sure: bool) -> Async:  # noqa: FBT001  # an inner function
        async def fused(*args: Any, **kwargs: Any) -> Any:
            nonlocal latest
            era = circuit.admits
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
            alarm.rang = False
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
            if has_budget:
                rest.pay_in(outer)
            began = ambient.now()
            alarms[alarm] = None
            if limited:
                alarm.at = alarm.deadline = began + limit
                if queue.timer is None:
                    queue.watch()
            mark = enter(alarm)
            try:
                result = fn(*args, **kwargs)
                if sure or hasattr(result, "__await__"):
                    result = await result
                if type(result) not in plain and not examine(result) and is_generator(result):
                    raise generator_refused(result)  # noqa: TRY301  # an attempt that failed
            except BaseException as error:
                alarm.live = False
                # Timers the call has left behind keep its context, and that keeps the alarm.
                alarm.task = None
                leave_anywhere(mark)
                alarms.pop(alarm, None)
                ours = alarm.rang and task.uncancel() <= alarm.before
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
                alarms.pop(alarm, None)
                if alarm.rang:
                    task.uncancel()
                if has_bulkhead:
                    give(None)
                    if line:
                        rest.bulkhead.serve()
                if circuit.quiet is not era:
                    rest.recovered(era, ambient.now() - began)
                return result
            call = rest.handed_over(first, outer, began, era, (fn, args, kwargs))
            call.task, call.before = task, alarm.before
            # Or what failed would live as long as its successors, and the task that holds its
            # failure would be held by it.
            del first, alarm, task
            return await rest.resume(call)

        return fused

    return make
