"""What both drivers say when a time limit ends something."""

from __future__ import annotations

from holdfast import events
from holdfast.errors import DeadlineExceededError, IdleTimeoutError, QueueTimeoutError
from holdfast.events import hub
from holdfast.outcome import Err
from holdfast.policies.call import Call
from holdfast.policies.effects import Within
from holdfast.ports import ambient

SLACK = 1e-3
"""Seconds by which timers of an event loop may be early."""


class RanOutError(DeadlineExceededError):
    """The hot path's time limit, until the flows say which limit it was."""


def ran_out(effect: Within, elapsed: float) -> bool:
    """Whether a first attempt made by the hot path can have ended at the limit of ``effect``."""
    return effect.seconds is not None and elapsed >= effect.seconds - SLACK


def time_is_up(effect: Within, call: Call, elapsed: float, *, idle: bool, queued: bool) -> Err:
    """The failure of what ran out of time, told to all who listen."""
    if idle:
        kind = "idle"
        error: Exception = IdleTimeoutError(
            f"{call.name}: {effect.policy}: no progress for {effect.idle:.6g} s"
        )
    elif queued:
        kind = "queued"
        error = QueueTimeoutError(
            f"{call.name}: {effect.policy}: still in the queue after {elapsed:.6g} s; it never ran"
        )
    else:
        kind = "running"
        own = effect.seconds is not None and elapsed >= effect.seconds - SLACK
        limit = f"limit of {effect.seconds:.6g} s" if own else "deadline set further out"
        error = DeadlineExceededError(
            f"{call.name}: {effect.policy}: {limit} reached after {elapsed:.6g} s"
        )
    call.ended_in_queue(yes=False)
    call.say(f"{effect.policy}: time is up after {elapsed:.3g} s ({kind})")
    if hub.active:
        hub.emit(events.TimedOut(effect.policy, ambient.now(), elapsed, kind))
    return Err(error)
