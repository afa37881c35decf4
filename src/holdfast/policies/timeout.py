"""An end to waiting: for the whole call, for one attempt, or for lack of progress.

What a timeout limits follows from where it stands: outside a retry the whole
call, inside it each attempt. A deadline further out shrinks it.

- In async code the work is cancelled, and cancellation by the caller is told
  apart from ours.
- A thread cannot be stopped. In sync code the limit is in `Deadline.current()`
  for the work to heed, and is enforced when it returns; on request the work runs
  in a worker thread that is left behind, counted and capped.
- Waiting in a queue of ours is not running: it ends in `QueueTimeoutError`, which
  no breaker counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from holdfast.errors import BadInputError
from holdfast.outcome import Result
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step, Within
from holdfast.policies.policy import Bound, Policy


@dataclass(frozen=True, slots=True)
class Timeout(Policy):
    """Give up what takes longer than ``seconds``, or makes no progress for ``idle`` seconds."""

    passes_rejections: ClassVar[bool] = True

    seconds: float | None = None
    """Longest time, or None for no limit."""
    idle: float | None = None
    """Longest time without a call of `holdfast.progress()`, or None for no limit."""
    thread: bool = False
    """Sync only: run the work in a worker thread, so that the caller goes on when the time is
    up. The worker cannot be stopped; it is counted, and there is a cap on such workers. In async
    code a sync function is run in the event loop all the same, and the outcome's steps say so."""
    on_discard: Callable[[Any], Any] | None = None
    """Sync only: given a result that came too late."""
    name: str = "timeout"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.seconds("seconds", self.seconds, optional=True)
        checks.seconds("idle", self.idle, optional=True)
        if self.seconds is None and self.idle is None:
            raise BadInputError("seconds or idle must be given, got neither")
        if self.seconds is not None and self.idle is not None and self.idle >= self.seconds:
            raise BadInputError(
                f"idle must be below seconds ({self.seconds}), or it never applies, got {self.idle}"
            )
        if not isinstance(self.thread, bool):
            raise BadInputError(f"thread must be True or False, got {self.thread!r}")
        checks.hook("on_discard", self.on_discard)
        checks.label("name", self.name)

    def describe(self) -> str:
        """The limits in one line."""
        limits = [] if self.seconds is None else [f"{self.seconds:g} s"]
        if self.idle is not None:
            limits.append(f"{self.idle:g} s without progress")
        return f"Timeout: at most {', '.join(limits)}{' (in a worker thread)' * self.thread}"

    def bound(self, inner: Bound) -> Bound:
        """No longer than the limit."""
        return (
            inner
            if self.seconds is None
            else replace(inner, seconds=min(self.seconds, inner.seconds))
        )

    def flow(self, call: Call, inner: Step) -> Flow:  # noqa: ARG002  # the driver has it
        """Run ``inner`` and end it when its time is up."""
        limit = Within(inner, self.name, self.seconds, self.idle, self.thread, self.on_discard)
        result: Result = yield limit
        return result
