"""What the calls of a system tell its degradation, and what that changes for them.

An error that is severe, a rate of errors that is high, a memory that is full: each may take a
level of quality away. What the successes would have to be counted for (the share of failures, the
latency) is measured only where it is asked for, because it costs every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory
from holdfast.outcome import Err, Ok
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.policy import Policy
from holdfast.ports import ambient
from holdfast.telemetry.analytics import ErrorAnalytics

if TYPE_CHECKING:
    from holdfast.system.degradation import DegradationSettings, GracefulDegradation

RATE_SECONDS = 60.0
"""Seconds over which the rate of errors is taken."""


class Levels:
    """The link between failed calls and the level of the service."""

    __slots__ = ("analytics", "degradation", "scoped")

    def __init__(
        self, degradation: GracefulDegradation, analytics: ErrorAnalytics, *, scoped: bool = True
    ) -> None:
        self.degradation = degradation
        self.analytics = analytics
        self.scoped = scoped
        """Whether a severe error of one dependency leaves the others' level alone."""

    def heed(self, call: Call, info: ErrorInfo, scope: str | None) -> None:
        """Hear of an error that nothing has mended; ``scope`` is the dependency, if it has one."""
        degradation, scope = self.degradation, scope if self.scoped else None
        before = degradation.level(scope)
        degradation.observe_error(
            info.severity, scope, reason=f"{info.error_type}: {info.error_message}"[:300]
        )
        if degradation.settings.error_rate is not None:
            degradation.observe_rate(self.analytics.get_error_rate(RATE_SECONDS))
        if info.category is ErrorCategory.MEMORY:
            degradation.observe_memory()
        after = degradation.level(scope)
        if after != before:
            call.say(f"degradation: from {before} to {after}")


def observes(settings: DegradationSettings) -> bool:
    """Whether every call has to be looked at."""
    return settings.failures is not None or settings.latency is not None


class Observing(Policy):
    """Tell the degradation of every call: whether it went well, and how long it took."""

    __slots__ = ("_degradation", "scope")
    settings = frozenset({"scope"})

    def __init__(self, scope: str, degradation: GracefulDegradation) -> None:
        self.scope = scope
        self._degradation = degradation

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` and tell how it went."""
        began = ambient.now() - call.scope.queued
        result = yield from inner(call)
        if type(result) is Err and call.ending(result.error):
            return result
        # Waiting is not running.
        seconds = max(0.0, ambient.now() - call.scope.queued - began)
        for scope in (self.scope, None):
            self._degradation.observe_call(type(result) is Ok, seconds, scope)
        return result

    def describe(self) -> str:
        """In one line."""
        return f"Observing of {self.scope!r}: failures and latency move its level"
