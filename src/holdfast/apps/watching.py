"""What goes wrong under a gateway, told to an `ErrorHandlingSystem` for its analytics."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from holdfast.comfyui import Failure, events
from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorSeverity
from holdfast.ports import ambient
from holdfast.system.error_handling import ErrorHandlingSystem

MOST = 10_000
"""Jobs whose errors wait for the job's end, at most."""


class ErrorWatch:
    """Records each failed attempt, and, at the job's end, whether what was done about it helped."""

    def __init__(self, system: ErrorHandlingSystem) -> None:
        self._analytics = system.error_analytics
        self._open: OrderedDict[str, list[tuple[int, str]]] = OrderedDict()

    def hear(self, event: events.Event) -> None:
        """Take an event into account."""
        match event:
            case events.AttemptFailed():
                number = self._analytics.record_error(_info(event.failure, final=event.final))
                self._open.setdefault(event.job, []).append((number, event.recovery[:100]))
                if len(self._open) > MOST:
                    self._open.popitem(last=False)
            case events.JobDelivered():
                self._resolve(event.job, successful=True)
            case events.JobFailed():
                self._resolve(event.job, successful=False)

    def _resolve(self, job: str, *, successful: bool) -> None:
        for number, recovery in self._open.pop(job, ()):
            self._analytics.resolve(number, strategy=recovery, successful=successful)


def _info(failure: Failure, *, final: bool) -> ErrorInfo:
    where = {"node": failure.node_id, "class": failure.node_type}
    return ErrorInfo(
        timestamp=datetime.fromtimestamp(ambient.wall(), UTC),
        error_type=failure.exception_type or failure.kind.value,
        error_message=failure.message,
        category=failure.category,
        severity=ErrorSeverity.HIGH if final else ErrorSeverity.MEDIUM,
        traceback=failure.traceback or None,
        context={name: value for name, value in where.items() if value},
        recovery_attempted=not final,
        dependency=failure.server or "",
        operation=failure.node_type or "",
    )
