"""Files that are no history of ours: left alone, whatever somebody's settings say.

A wrong path must not cost anybody a file. Only what is a history, or was one before it was damaged,
is ever moved aside to make room for a new one.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from pathlib import Path
from urllib.parse import quote

HEADER = b"SQLite format 3\x00"
ENDINGS = frozenset({".db", ".sqlite", ".sqlite3"})
OURS = b"error_event"
"""Stands in the first pages of every history."""
LOOKED_AT = 1 << 20
"""Bytes."""


def refuse_strangers(path: Path) -> None:
    """Refuse a damaged file that was no history before.

    Raises:
        PermissionError: it does not look like one.
    """
    with path.open("rb") as file:
        beginning = file.read(LOOKED_AT)
    known = beginning.startswith(HEADER) or OURS in beginning or not beginning.strip(b"\x00")
    if not known and path.suffix not in ENDINGS:
        raise PermissionError(errno.EPERM, f"{path.name} is no error history, and is left alone")


def refuse_other_databases(path: Path) -> None:
    """Refuse a database that belongs to somebody else.

    Raises:
        PermissionError: it has tables, and none of ours.
    """
    with path.open("rb") as file:
        if file.read(len(HEADER)) != HEADER:
            return
    names: set[str] = set()
    # Whatever is wrong with the file is found where it is opened in earnest.
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(connection):
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = {str(name) for (name,) in found if not str(name).startswith("sqlite_")}
    if names and not names & {"error_event", "holdfast_version"}:
        raise PermissionError(
            errno.EPERM, f"{path.name} is the database of another program, and is left alone"
        )
