"""The hot path of sync functions. Its laws are those of `fused`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from holdfast.events import hub
from holdfast.outcome import Err, Ok, Result
from holdfast.pipeline.fused import Rest, Sync
from holdfast.pipeline.stack import hot_paths
from holdfast.pipeline.streams import PLAIN, examine, generator_refused, is_generator
from holdfast.policies.scope import Scope, enter, inherit, innermost, leave
from holdfast.ports import ambient


def fuse_sync(rest: Rest) -> Callable[[Sync], Sync]:
    """Make the maker of hot paths for sync functions."""
    plan = rest.plan
    door, shut, listeners = plan.door, rest.inflight.shut, hub
    has_bulkhead = plan.bulkhead is not None
    slots: list[None] = [] if plan.bulkhead is None else plan.bulkhead.free
    take, give = slots.pop, slots.append
    line: Any = () if plan.bulkhead is None else plan.bulkhead.line
    folds, plain = plan.retries, PLAIN
    limited = plan.limit is not None
    timed = limited or (plan.breaker is not None and plan.breaker.measures)
    has_budget = plan.budget is not None
    has_limiter = plan.limiter is not None
    extras = timed or has_budget or has_limiter

    def make(fn: Sync) -> Sync:
        def fused(*args: Any, **kwargs: Any) -> Any:
            era = door.admits
            if era is None or listeners.active or shut:
                return rest.run(fn, args, kwargs)
            outer = innermost()
            if outer is not None and (outer.deadline != math.inf or not outer.live):
                return rest.run(fn, args, kwargs)
            if has_bulkhead:
                # While somebody waits no slot is free: one given back goes on to them.
                try:
                    take()
                except IndexError:
                    return rest.run(fn, args, kwargs)
            if extras:
                if has_limiter and not rest.may_pass():
                    return rest.run(fn, args, kwargs)
                if has_budget:
                    rest.pay_in(outer)
                if timed:
                    began = ambient.now()
                if limited:
                    scope = inherit(Scope(), outer)
                    scope.deadline = began + rest.limit
                    scope.folds = scope.folds or folds
                    mark = enter(scope)
            # From here on the call is in flight, for those who look at the stack.
            governs = folds  # noqa: F841
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                if limited:
                    scope.live = False
                    leave(mark)
                if not isinstance(error, Exception):
                    if has_bulkhead:
                        rest.bulkhead.give_back()
                    raise
                first: Result = Err(error)
            else:
                if limited:
                    scope.live = False
                    leave(mark)
                if result is not None and type(result) not in plain and not examine(result):
                    if not is_generator(result):
                        if has_bulkhead:
                            rest.bulkhead.give_back()
                        return rest.turn(fn, args, kwargs, result, rest.passed())
                    first = Err(generator_refused(result))
                elif limited and ambient.now() >= scope.deadline:
                    first = Ok(result)
                else:
                    if has_bulkhead:
                        give(None)
                        if line:
                            rest.bulkhead.serve()
                    if door.quiet is not era:
                        rest.recovered(era, ambient.now() - began if timed else None)
                    return result
                del result
            # Without a time limit nobody read the clock, which costs a fifth of the whole path.
            start = began if timed else None
            call = rest.handed_over(first, outer, start, era, (fn, args, kwargs))
            # Or what failed would live as long as its successors.
            del first
            return rest.resume(call)

        hot_paths[id(fused.__code__)] = fused.__code__
        return fused

    return make
