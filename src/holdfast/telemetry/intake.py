"""What is taken from an `ErrorInfo`: cut to size, as plain data, whatever it was filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from itertools import islice
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity, SuggestedRecovery
from holdfast.ports import ambient
from holdfast.telemetry.fingerprint import READ_CHARACTERS, digest
from holdfast.telemetry.kept import (
    ATTEMPTED,
    AWARE,
    ENDS,
    SUCCESSFUL,
    TRANSIENT,
    Extra,
    Facts,
    ending,
)

MESSAGE_CHARACTERS = 500
TRACEBACK_CHARACTERS = 4_000
_NAME_CHARACTERS = 200
_FRAMES = 20
_CONTEXT_MEMBERS = 16
_CONTEXT_CHARACTERS = 200
_EARLIEST, _LATEST = 86_400.0, 32_000_000_000.0
"""Seconds that a `datetime` can hold in any zone on any system: 1970-01-02 until the year 2984."""

Key = tuple[str, str, tuple[str, ...], str, str, str, str, str, str]
"""What a line is made from. Two errors with the same key are the same but for their times."""


@dataclass(frozen=True, slots=True)
class Draft:
    """All that a line needs, but for the group it belongs to."""

    key: Key | None
    """None where something had to be changed, so that the error's own key is another one."""
    fingerprint: str
    error_type: str
    message: str
    category: ErrorCategory
    severity: ErrorSeverity
    facts: Facts


def key_of(info: ErrorInfo) -> Key:
    """What the line of this error is remembered by.

    Raises:
        TypeError: if its message has no length.
    """
    message = info.error_message
    return (
        info.error_type,
        # A message of 10 MB is neither hashed nor remembered as a whole.
        message if len(message) <= READ_CHARACTERS else message[:READ_CHARACTERS],
        info.frames,
        info.category,
        info.severity,
        info.dependency,
        info.operation,
        info.reason,
        info.suggested_recovery,
    )


def draft_of(info: ErrorInfo) -> Draft:
    """Read an error with all care.

    Raises:
        BadInputError: if its category, severity or suggested recovery is none of ours.
    """
    try:
        category = ErrorCategory(info.category)
        severity = ErrorSeverity(info.severity)
        suggested = SuggestedRecovery(info.suggested_recovery)
    except ValueError as error:
        raise BadInputError(f"this error cannot be counted: {error}") from error
    error_type = name_of(info.error_type)
    message = _text(info.error_message)[:READ_CHARACTERS]
    frames = tuple(name_of(frame) for frame in tuple(info.frames)[:_FRAMES])
    dependency = name_of(info.dependency)
    operation = name_of(info.operation)
    reason = name_of(info.reason)
    clean = (error_type, message, frames, category, severity, dependency, operation, reason)
    key: Key = (*clean, suggested)
    try:
        unchanged = key == key_of(info)
    except TypeError:
        unchanged = False
    return Draft(
        key=key if unchanged else None,
        fingerprint=digest(error_type, message, frames, category),
        error_type=error_type,
        message=cut(_text(info.error_message), MESSAGE_CHARACTERS),
        category=category,
        severity=severity,
        facts=(dependency, frames, operation, reason, suggested),
    )


def moments_of(info: ErrorInfo) -> tuple[float, float]:
    """When it happened, in seconds since 1970, and by the clock that rates are kept by.

    The second comes from its age, so that it does not matter when the wall clock is set anew.
    """
    wall = ambient.wall()
    try:
        at = info.timestamp.timestamp()
    except (ValueError, OverflowError, OSError):
        at = wall
    when = ambient.now()
    if at < wall:
        when -= wall - at
        at = max(at, _EARLIEST)
    return min(at, _LATEST), when


def flags_of(info: ErrorInfo) -> int:
    """The yes and no of an error, as one byte."""
    flags = AWARE if info.timestamp.tzinfo is not None else 0
    if info.recovery_attempted:
        flags |= ATTEMPTED
    if info.recovery_successful:
        flags |= SUCCESSFUL
    if info.transient:
        flags |= TRANSIENT
    return flags


def extra_of(info: ErrorInfo) -> tuple[Extra | None, int]:
    """What not every error has, and the flag `ENDS` where it is set."""
    if not info.strategy and info.traceback is None and info.context is None:
        return None, 0
    traceback, ends = _traceback_of(info)
    return (name_of(info.strategy), traceback, _context_of(info.context)), ends


def _traceback_of(info: ErrorInfo) -> tuple[str | None, int]:
    if info.traceback is None:
        return None, 0
    whole, most, ends = _text(info.traceback), TRACEBACK_CHARACTERS, 0
    kind, message = info.error_type, info.error_message
    if (
        type(kind) is type(message) is str
        and len(kind) <= _NAME_CHARACTERS
        and len(message) <= MESSAGE_CHARACTERS
        and whole.endswith(own := ending(kind, message))
    ):
        # Cut where no message makes a difference, so that all messages share it.
        whole, ends = whole[: -len(own)], ENDS
        most -= _NAME_CHARACTERS + MESSAGE_CHARACTERS + len(ending("", ""))
    if len(whole) > most:
        # Its end tells what happened, its beginning only how the program was started.
        whole = "…" + whole[1 - most :]
    return whole, ends


def worth_watching(info: ErrorInfo) -> bool:
    """Whether it is small enough to be held on to for a while."""
    return len(_text(info.error_message)) <= READ_CHARACTERS and (
        info.traceback is None or len(_text(info.traceback)) <= 8 * TRACEBACK_CHARACTERS
    )


def name_of(text: object) -> str:
    """The name of a class, a function, a dependency or a strategy, cut to size."""
    return cut(text, _NAME_CHARACTERS)


def cut(text: object, characters: int) -> str:
    """``text``, or its beginning and a mark that there was more."""
    whole = _text(text)
    return whole if len(whole) <= characters else whole[: characters - 1] + "…"


def plain(value: object, depth: int = 2) -> Any:
    """``value`` as plain data that keeps nothing of the caller's alive, cut to a bounded size."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"<int of {value.bit_length()} bits>"
    if isinstance(value, str):
        return cut(value, _CONTEXT_CHARACTERS)
    if depth and isinstance(value, Mapping):
        told = {
            cut(key, _CONTEXT_CHARACTERS // 2) if isinstance(key, str) else plain(key, 0): plain(
                member, depth - 1
            )
            for key, member in islice(value.items(), _CONTEXT_MEMBERS)
        }
        return told | ({"…": _more(value)} if len(value) > _CONTEXT_MEMBERS else {})
    if depth and isinstance(value, list | tuple | set | frozenset):
        members = [plain(member, depth - 1) for member in islice(value, _CONTEXT_MEMBERS)]
        return members + ([_more(value)] if len(value) > _CONTEXT_MEMBERS else [])
    return f"<{type(value).__name__}>"


def _more(value: Sized) -> str:
    return f"{len(value) - _CONTEXT_MEMBERS:,} more"


def _context_of(context: object) -> dict[str, Any] | None:
    if not isinstance(context, Mapping):
        return None
    try:
        told: dict[str, Any] = plain(context)
    except Exception as error:  # noqa: BLE001 - another thread's change, or anybody's mapping
        return {"unreadable": name_of(type(error).__name__)}
    return told


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - what an exception is made of may be anything
        return f"<{type(value).__name__}>"
