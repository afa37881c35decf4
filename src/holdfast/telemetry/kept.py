"""The latest errors as compact records, from which each `ErrorInfo` can be made again.

What errors of one kind have in common is one `Line`, shared by all of them; what is left
is a time, a byte of flags and two references an error, in columns.

Laws:

- Errors have consecutive numbers. The error of a number lies at ``number % size`` until the
  error that is ``size`` numbers later takes its place.
- Not safe for concurrent use: callers guard it with their own lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, overload

from holdfast.error_info import ErrorInfo
from holdfast.errors import ErrorSeverity, SuggestedRecovery
from holdfast.telemetry.groups import Group, Strand

ATTEMPTED = 1
"""Flag: a recovery was attempted."""
SUCCESSFUL = 2
"""Flag: it had a verified effect."""
TRANSIENT = 4
AWARE = 8
"""Flag: the time was given with its zone; it is given back in UTC."""

ENDS = 16
"""Flag: the traceback ends with the error's own line, which is left out of what is kept of it. So
errors of one place whose messages differ share one traceback."""

Facts = tuple[str, tuple[str, ...], str, str, SuggestedRecovery]
"""Dependency, frames, operation, reason, suggested recovery."""
Extra = tuple[str, str | None, Mapping[str, Any] | None]
"""Strategy, traceback, context."""


class Line:
    """What all errors with the same text and place have in common."""

    __slots__ = ("facts", "group", "message", "strand")

    def __init__(self, group: Group, strand: Strand, message: str, facts: Facts) -> None:
        self.group = group
        self.strand = strand
        self.message = message
        self.facts = facts


class Kept:
    """Columns of the last ``size`` errors."""

    __slots__ = ("_least", "extras", "flags", "lines", "next", "size", "times")

    next: int
    """The number that the next error gets."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lines: list[Line | None] = [None] * size
        self.times = array("d", bytes(8 * size))
        self.flags = bytearray(size)
        self.extras: list[Extra | None] = [None] * size
        self._least = self.next = 1

    @property
    def first(self) -> int:
        """The lowest number that is still kept."""
        return max(self._least, self.next - self.size)

    def put_before(self, line: Line, at: float, flags: int, extra: Extra | None) -> None:
        """Keep one more error, before all others. There must be room."""
        self._least = self.first - 1
        self.put(self._least, line, at, flags, extra)

    def put(self, number: int, line: Line, at: float, flags: int, extra: Extra | None) -> None:
        """Write the record of ``number`` over whatever lies at its place."""
        slot = number % self.size
        self.lines[slot] = line
        self.times[slot] = at
        self.flags[slot] = flags
        self.extras[slot] = extra

    def view(self) -> KeptErrors:
        """What is kept now, the oldest first, unmoved by what is recorded later."""
        slots = [number % self.size for number in range(self.first, self.next)]
        return KeptErrors(
            [line for slot in slots if (line := self.lines[slot]) is not None],
            array("d", [self.times[slot] for slot in slots]),
            bytes(self.flags[slot] for slot in slots),
            [self.extras[slot] for slot in slots],
        )


class KeptErrors(Sequence[ErrorInfo]):
    """A snapshot of the kept errors, the oldest first; each is made again when it is asked for."""

    __slots__ = ("_extras", "_flags", "_lines", "_times")

    def __init__(
        self, lines: list[Line], times: array[float], flags: bytes, extras: list[Extra | None]
    ) -> None:
        self._lines, self._times, self._flags, self._extras = lines, times, flags, extras

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> ErrorInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[ErrorInfo]: ...
    def __getitem__(self, index: int | slice) -> ErrorInfo | list[ErrorInfo]:
        if isinstance(index, slice):
            return [self._info(at) for at in range(*index.indices(len(self._lines)))]
        return self._info(index)

    def __iter__(self) -> Iterator[ErrorInfo]:
        return map(self._info, range(len(self._lines)))

    def where(self, wanted: Callable[[Line], bool]) -> list[ErrorInfo]:
        """Those whose line is wanted, the oldest first."""
        return [self._info(at) for at, line in enumerate(self._lines) if wanted(line)]

    def latest(self, severity: ErrorSeverity, limit: int) -> list[ErrorInfo]:
        """The last ``limit`` of that severity, the latest first."""
        found: list[ErrorInfo] = []
        for at in range(len(self._lines) - 1, -1, -1):
            if len(found) == limit:
                break
            if self._lines[at].strand.severity is severity:
                found.append(self._info(at))
        return found

    def _info(self, at: int) -> ErrorInfo:
        line, flags = self._lines[at], self._flags[at]
        dependency, frames, operation, reason, suggested = line.facts
        strategy, traceback, context = self._extras[at] or ("", None, None)
        if flags & ENDS and traceback is not None:
            traceback += ending(line.group.error_type, line.message)
        return ErrorInfo(
            timestamp=datetime.fromtimestamp(self._times[at], UTC if flags & AWARE else None),
            error_type=line.group.error_type,
            error_message=line.message,
            category=line.group.category,
            severity=line.strand.severity,
            traceback=traceback,
            context=None if context is None else dict(context),
            recovery_attempted=bool(flags & ATTEMPTED),
            recovery_successful=bool(flags & SUCCESSFUL),
            transient=bool(flags & TRANSIENT),
            suggested_recovery=suggested,
            strategy=strategy,
            dependency=dependency,
            operation=operation,
            frames=frames,
            reason=reason,
        )


def ending(error_type: str, message: str) -> str:
    """How a traceback ends."""
    return f"{error_type}: {message}\n"
