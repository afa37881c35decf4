"""Why a dependency is down: the latest real failure, kept beyond the breaker that it opened.

A call that an open breaker refuses knows nothing of what is wrong. What is wrong is what opened
the breaker, and that is what recovery has to mend.
"""

from __future__ import annotations

import math
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, RejectedError
from holdfast.outcome import Err, Ok, Result
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.frames import leave_on, left_on
from holdfast.policies.policy import Policy
from holdfast.ports import ambient
from holdfast.system.capture import capture, name_of
from holdfast.system.classification import classify

_NOTED = "__holdfast_noted__"


class Cause:
    """The latest real failure of one dependency that its breaker counted."""

    __slots__ = ("at", "info", "proof")

    def __init__(self) -> None:
        self.info: ErrorInfo | None = None
        self.at = -math.inf
        """Monotonic seconds."""
        self.proof = -math.inf
        """When the effect was seen for which the breaker was closed last: once for each proof."""

    def of_opening(self, opened_at: float) -> ErrorInfo | None:
        """The failure that opened a breaker then, or one since; None if something else did."""
        # A failure is noted just after the breaker has heard of it.
        return self.info if self.at >= opened_at else None


class Noting(Policy):
    """Note each failure of the function itself, inside the retries; at rest otherwise."""

    __slots__ = ("_breaker", "_cause", "dependency")
    settings = frozenset({"dependency"})
    idle_on_success = True

    def __init__(self, dependency: str, cause: Cause, breaker: CircuitBreaker | None) -> None:
        self.dependency = dependency
        self._cause = cause
        self._breaker = breaker

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` and note its failure."""
        result = yield from inner(call)
        if type(result) is Err and not isinstance(result.error, RejectedError):
            note(result.error, call, self.dependency)
            if self._breaker is None or self._breaker.judge(result):
                self._cause.info, self._cause.at = call.noted, ambient.now()
        return result

    def describe(self) -> str:
        """In one line."""
        return f"Noting of {self.dependency!r}: what really failed"


def note(error: Exception, call: Call, dependency: str) -> None:
    """Keep what an error means with its call, and on itself."""
    info = capture(error, dependency=dependency, operation=name_of(call.fn))
    call.noted = info
    leave_on(error, _NOTED, (info, call.history))


def noted(error: BaseException, call: Call) -> ErrorInfo | None:
    """What was noted of this very error in this very call."""
    info, history = left_on(error, _NOTED, (None, None))
    return info if history is call.history else None


class Sparing(Policy):
    """A circuit breaker that holds no want of memory against a dependency.

    It stands where parameters may be reduced: what does not fit is asked for again, smaller, and
    says nothing about whether the dependency works.
    """

    __slots__ = ("breaker",)
    settings = frozenset({"breaker"})

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` through the breaker, which hears nothing of memory errors."""
        spared: list[Err] = []

        def inside(call: Call) -> Flow:
            result: Result = yield from inner(call)
            if type(result) is Err and _is_of_memory(result.error, call):
                spared.append(result)
                return Err(RejectedError("a want of memory"))
            return result

        result = yield from self.breaker.flow(call, inside)
        return spared.pop() if spared and type(result) is not Ok else result

    def describe(self) -> str:
        """In one line."""
        return f"{self.breaker.describe()}; want of memory does not count"

    def snapshot(self) -> dict[str, Any]:
        """The breaker's."""
        return self.breaker.snapshot()


def _is_of_memory(error: BaseException, call: Call) -> bool:
    return (noted(error, call) or classify(error)).category is ErrorCategory.MEMORY
