"""Policies around policies around the call, and the one place where a failure is raised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from holdfast import events
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Outcome, Report, Result, describe
from holdfast.policies.call import Call
from holdfast.policies.effects import INVOKE, Flow, Step, Within
from holdfast.policies.frames import leave_on, write_notes
from holdfast.policies.policy import Policy
from holdfast.ports import ambient

NOTES = 10
"""Earlier attempts noted on an exception; its report has more of them."""


def compose(policies: Sequence[Policy], innermost: Step | None = None) -> Step:
    """One flow of all policies, the first one outermost, around the call or another flow."""
    step: Step = innermost or _call_through
    for policy in reversed(policies):
        step = _around(policy, step)
    return step


def _call_through(_: Call) -> Flow:  # the shape of a step
    result: Result = yield INVOKE
    return result


def _around(policy: Policy, inner: Step) -> Step:
    def step(call: Call) -> Flow:
        return policy.flow(call, inner)

    return step


def under_deadline(step: Step, call: Call) -> Flow:
    """The flow of a call, ended by the deadline it inherits if there is one."""
    if call.scope.deadline == math.inf:
        return step(call)
    return _limited(step)


def _limited(step: Step) -> Flow:
    result: Result = yield Within(step, "deadline", None)
    return result


def finish(result: Result, call: Call) -> Result:
    """The end of a call: told to all who listen, and noted on its error."""
    if type(result) is Ok:
        if hub.active:
            now = ambient.now()
            hub.emit(events.CallSucceeded(call.name, now, call.attempts, now - call.began))
        return result
    if hub.active:
        now = ambient.now()
        told = describe(result.error)
        hub.emit(events.CallFailed(call.name, now, call.attempts, now - call.began, told))
    annotate(result.error, call.report(), call.name)
    return result


def outcome_of(result: Result, call: Call) -> Outcome[Any]:
    """The end of a call, for who asked for an outcome."""
    told = call.report()
    return Outcome(
        result.value if type(result) is Ok else None,
        None if type(result) is Ok else result.error,
        call.attempts,
        told.elapsed,
        told.history,
        told.steps,
        told.changes,
    )


def annotate(error: Exception, report: Report, name: str) -> None:
    """Leave the story of a call on its exception: as a report, and as notes to read."""
    if not report.history and not report.steps:
        return
    mark = f"holdfast {name}: "
    # Some exceptions take no attributes; the outcome still has it all.
    leave_on(error, "__holdfast__", report)
    left_out = len(report.history) - NOTES
    lines = [f"{mark}{left_out} earlier attempts are in its report"] if left_out > 0 else []
    lines += [f"{mark}{attempt}" for attempt in report.history[-NOTES:]]
    write_notes(error, mark, lines)


def raise_error(result: Err) -> NoReturn:
    """Raise what a call failed with.

    Raises:
        Exception: always that.
    """
    error = result.error
    try:
        raise error
    finally:
        # Or this frame and the exception would keep each other alive.
        del error, result
