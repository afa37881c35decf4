"""Errors to keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity, SuggestedRecovery

_NOW = datetime.now(UTC) - timedelta(days=1)
NOON = _NOW.replace(hour=12, minute=0, second=0, microsecond=0)
"""A noon that retention leaves alone."""


def error(message="it broke", *, at=NOON, seconds=0.0, **fields):
    """An error; ``seconds`` after ``at``."""
    moment = datetime.fromtimestamp(at.timestamp() + seconds, UTC)
    given = {
        "error_type": "ConnectionError",
        "category": ErrorCategory.NETWORK,
        "severity": ErrorSeverity.MEDIUM,
    } | fields
    return ErrorInfo(timestamp=moment, error_message=message, **given)


FULL = error(
    "cannot reach gpu1",
    traceback="Traceback (most recent call last):\n  File 'x.py', line 3, in f\nConnectionError",
    context={"job": "portrait_017", "seed": 7, "cfg": 7.5, "nested": {"list": [1, None, True]}},
    recovery_attempted=True,
    recovery_successful=True,
    transient=True,
    suggested_recovery=SuggestedRecovery.WAIT_AND_RETRY,
    strategy="reconnect",
    dependency="gpu1",
    operation="render",
    frames=("service:render", "client:send"),
    reason="connection refused",
)
