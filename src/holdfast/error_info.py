"""One error, remembered as plain data: what it was, what it means, what was done about it.

It holds no exception, no frame and no argument of the call that failed, so that keeping a
history of errors keeps nothing else alive. Who reads exceptions is `holdfast.system`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.errors import ErrorCategory, ErrorSeverity, SuggestedRecovery


@dataclass(slots=True)
class ErrorInfo:
    """What there is to know about one error after its exception is gone."""

    timestamp: datetime
    """When it happened. A naive time is local time."""
    error_type: str
    """Name of the exception's class, without its module."""
    error_message: str
    category: ErrorCategory
    severity: ErrorSeverity
    traceback: str | None = None
    """As Python prints it, or None."""
    context: Mapping[str, Any] | None = None
    """Whatever else helps to understand it, as plain data."""
    recovery_attempted: bool = False
    recovery_successful: bool = False
    """Whether a recovery strategy has had a verified effect."""
    transient: bool = False
    """Whether the very same request may succeed later, unchanged."""
    suggested_recovery: SuggestedRecovery = SuggestedRecovery.NONE
    strategy: str = ""
    """The recovery strategy that helped, or else the last one that was tried."""
    dependency: str = ""
    """What was called: the name of a circuit breaker, a fallback chain, a server."""
    operation: str = ""
    """The function that was called."""
    frames: tuple[str, ...] = ()
    """Where it was raised, as ``module:function``, the innermost first, without line numbers."""
    reason: str = ""
    """The rule that classified it, in words."""

    @property
    def at(self) -> float:
        """When it happened, in seconds since 1970."""
        return self.timestamp.timestamp()
