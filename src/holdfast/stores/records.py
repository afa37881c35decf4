"""What is read from a history: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity


@dataclass(frozen=True, slots=True)
class StoredError:
    """One error of the history."""

    id: str
    """In the order of time; given to `ErrorHistory.resolve`, and to `events` as ``before``."""
    info: ErrorInfo
    """As it was given, without secrets; its time is in UTC."""
    fingerprint: str
    """The group it belongs to."""
    service: str
    """Which service it happened in."""


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """What is known of all errors with the same fingerprint in one service."""

    fingerprint: str
    service: str
    error_type: str
    category: ErrorCategory
    severity: ErrorSeverity
    """Of the latest one."""
    message: str
    """Of the latest one."""
    first_seen: datetime
    """In UTC."""
    last_seen: datetime
    """In UTC."""
    count: int
    """All that happened, also those that are kept no longer."""


@dataclass(frozen=True, slots=True)
class StoredRecovery:
    """One attempt to mend something."""

    id: str
    at: datetime
    """In UTC."""
    service: str
    strategy: str
    category: str
    successful: bool
    seconds: float
    """How long it took."""
    error_type: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change of state: of a degradation level or of a circuit breaker."""

    id: str
    at: datetime
    """In UTC."""
    service: str
    kind: str
    """``degradation``, ``breaker`` or whatever the caller called it."""
    name: str
    old: str
    new: str
    reason: str
