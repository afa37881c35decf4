"""An error as a row of a table, and back; without secrets, control characters and excess length.

Whatever a stranger's error holds ends up as bounded plain text here, in the caller's thread,
so that nothing of it waits in memory as it was.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorCategory, ErrorSeverity, SuggestedRecovery
from holdfast.scrub import scrub, scrub_data
from holdfast.stores.records import StoredError
from holdfast.stores.tables import NAME
from holdfast.text import printable

Row = dict[str, Any]

MESSAGE, TRACEBACK, CONTEXT = 4_000, 32_000, 16_000
"""Characters that are kept of each."""
_MARGIN = 4_096
"""So much is read beyond what is kept, so that no secret is cut in two and missed."""
_LATEST = 0xFF_FFFF_FFFF_FFFF
_NUMBERS = itertools.count()


class Ids:
    """Makes ids that sort by time, and are unique over processes and forks."""

    __slots__ = ("_mine",)

    def __init__(self) -> None:
        self._mine = os.urandom(4).hex()

    def at(self, seconds: float) -> str:
        """An id for something that happened then, in seconds since 1970."""
        return f"{prefix(seconds)}{next(_NUMBERS) & 0xFFFFF:05x}{self._mine}"


def prefix(seconds: float) -> str:
    """What the ids of a moment begin with: microseconds since 1970, 14 hexadecimal digits."""
    return f"{min(max(round(seconds * 1e6), 0), _LATEST):014x}"


class Memo:
    """Remembers what texts were scrubbed to, by their hash alone: most errors repeat."""

    __slots__ = ("_known",)
    MOST = 2_048

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], str] = {}

    def clean(self, text: str, limit: int) -> str:
        """What `clean` makes of it."""
        key = hash(text), len(text), limit
        known = self._known.get(key)
        if known is None:
            known = clean(text, limit)
            if len(self._known) >= self.MOST:
                # A new dict: another thread may be looking into the old one.
                self._known = {}
            self._known[key] = known
        return known

    def name(self, value: Any) -> str:
        """A name: a short clean text."""
        return self.clean(str(value), NAME)[:NAME] if value else ""


def clean(text: str, limit: int) -> str:
    """At most ``limit`` characters of a stranger's text, without secrets and control characters."""
    if len(text) <= limit:
        return scrub(printable(text))
    read = scrub(printable(text[: limit + _MARGIN]))
    if len(text) > limit + _MARGIN:
        # The end of what was read may be the first half of a secret.
        read = read[: max(0, len(read) - _MARGIN)]
    kept = read[: limit - 40]
    return f"{kept} … [of {len(text)} characters]"


def name(value: Any) -> str:
    """A name: a short clean text."""
    return clean(str(value), NAME)[:NAME] if value else ""


def of_error(info: ErrorInfo, fingerprint: str, service: str, ids: Ids, memo: Memo) -> Row:
    """The row of `error_event` for an error."""
    at = info.at
    if not math.isfinite(at):
        raise ValueError("a time that is no number")
    category, severity = ErrorCategory(info.category), ErrorSeverity(info.severity)
    return {
        "id": ids.at(at),
        "ts": at,
        "fingerprint": memo.name(fingerprint),
        "service": service,
        "dependency": memo.name(info.dependency),
        "operation": memo.name(info.operation),
        "type": memo.name(info.error_type),
        "message": memo.clean(str(info.error_message), MESSAGE),
        "severity": severity.value,
        "category": category.value,
        "transient": bool(info.transient),
        "suggested_recovery": SuggestedRecovery(info.suggested_recovery).value,
        "recovery_attempted": bool(info.recovery_attempted),
        "recovery_successful": bool(info.recovery_successful),
        "strategy": memo.name(info.strategy),
        "reason": memo.name(info.reason),
        "frames": memo.clean("\n".join(info.frames[:64]), CONTEXT) if info.frames else None,
        "context": None if info.context is None else as_json(info.context),
        "traceback": None if info.traceback is None else memo.clean(info.traceback, TRACEBACK),
    }


def as_json(context: Mapping[str, Any]) -> str:
    """A context as JSON, without secrets; what is too long is cut to a text that says so."""
    text = json.dumps(_finite(scrub_data(context)), ensure_ascii=False, separators=(",", ":"))
    if len(text) > CONTEXT:
        kept = text[: CONTEXT // 2]
        text = json.dumps({"[cut]": kept, "[characters]": len(text)}, ensure_ascii=False)
    return printable(text)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities, and its names are texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def to_error(row: Any) -> StoredError:
    """The error of a row of `error_event`."""
    info = ErrorInfo(
        timestamp=moment(row.ts),
        error_type=row.type,
        error_message=row.message,
        category=ErrorCategory(row.category),
        severity=ErrorSeverity(row.severity),
        traceback=row.traceback,
        context=None if row.context is None else json.loads(row.context),
        recovery_attempted=row.recovery_attempted,
        recovery_successful=row.recovery_successful,
        transient=row.transient,
        suggested_recovery=SuggestedRecovery(row.suggested_recovery),
        strategy=row.strategy,
        dependency=row.dependency,
        operation=row.operation,
        frames=() if row.frames is None else tuple(row.frames.split("\n")),
        reason=row.reason,
    )
    return StoredError(row.id, info, row.fingerprint, row.service)


def moment(seconds: float) -> datetime:
    """A time in UTC; one that no calendar holds becomes the nearest that one does."""
    return datetime.fromtimestamp(min(max(seconds, -62_000_000_000.0), 253_000_000_000.0), UTC)
