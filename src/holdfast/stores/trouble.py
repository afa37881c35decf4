"""What can be wrong with a database, and what that means for a history.

The messages of drivers hold whole rows, host names and at times the URL, so what is said
here is made from the kind of trouble and a scrubbed first line.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy.exc

from holdfast.errors import HoldfastError
from holdfast.scrub import scrub
from holdfast.text import printable


class HistoryUnavailableError(HoldfastError):
    """The history cannot be read now. Writing goes on as soon as it is possible."""


class SchemaTooNewError(HoldfastError):
    """The database was made by a newer Holdfast, and this one would damage it."""


class Kind(StrEnum):
    """What kind of trouble it is."""

    CORRUPT = "corrupt"
    """The file is damaged, or no database at all."""
    FULL = "full"
    """There is no room to write."""
    DENIED = "denied"
    """It may not be written or not be opened."""
    BUSY = "busy"
    """Somebody else has it locked."""
    UNREACHABLE = "unreachable"
    """The server does not answer, or has gone away."""
    REFUSED = "refused"
    """The rows themselves were refused; sending them again changes nothing."""


_WORDS = {
    Kind.CORRUPT: "the database is damaged",
    Kind.FULL: "there is no room left to write",
    Kind.DENIED: "the database cannot be opened or written",
    Kind.BUSY: "the database is locked by another process",
    Kind.UNREACHABLE: "the database cannot be reached",
    Kind.REFUSED: "the database refused the rows",
}
# https://www.sqlite.org/rescode.html: the low byte is the primary code.
_SQLITE = {
    11: Kind.CORRUPT,
    26: Kind.CORRUPT,
    13: Kind.FULL,
    10: Kind.FULL,  # most I/O errors are a full or vanished disk; all are tried again
    8: Kind.DENIED,
    14: Kind.DENIED,
    3: Kind.DENIED,
    23: Kind.DENIED,
    5: Kind.BUSY,
    6: Kind.BUSY,
    1: Kind.UNREACHABLE,  # a table is missing: the file was replaced
}


def kind_of(error: BaseException) -> Kind:
    """What kind of trouble an error of SQLAlchemy, of a driver or of the system is."""
    cause = getattr(error, "orig", None) or error
    code, state = getattr(cause, "sqlite_errorcode", None), getattr(cause, "sqlstate", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF, Kind.REFUSED)
    if state is not None:
        return _of_state(state)
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return Kind.BUSY
    if isinstance(cause, OSError):
        return Kind.DENIED if isinstance(cause, PermissionError) else Kind.FULL
    gone = isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated
    broken = isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
    return Kind.UNREACHABLE if gone or broken else Kind.REFUSED


_STATES = {
    "53100": Kind.FULL,
    "53200": Kind.FULL,
    "40": Kind.BUSY,
    "55": Kind.BUSY,
    "28": Kind.DENIED,
    "42": Kind.DENIED,
    "3D": Kind.DENIED,
    "25": Kind.DENIED,
    "22": Kind.REFUSED,
    "23": Kind.REFUSED,
}
"""By SQLSTATE or its class; see https://www.postgresql.org/docs/current/errcodes-appendix.html.
A damaged server is none of these: it is mended by its keeper, never by us."""


def _of_state(state: str) -> Kind:
    return _STATES.get(state) or _STATES.get(state[:2], Kind.UNREACHABLE)


def words(error: BaseException) -> str:
    """The trouble in one line, without secrets, rows and statements."""
    cause = getattr(error, "orig", None) or error
    first = str(cause).strip().partition("\n")[0]
    return f"{_WORDS[kind_of(error)]}: {scrub(printable(first))[:200]}"
