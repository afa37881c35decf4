"""Saves what can be read of a damaged SQLite job store into a new one.

The damaged file is copied first and never written. Each table is read row by row from both ends,
and through the gaps in between, so that a damaged page costs the rows that lie on it and no others.
A job that lost what it carries, or whose state nobody knows, arrives as a dead letter that says so.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError
from holdfast.machines.tenure import JobState
from holdfast.ports import ambient
from holdfast.stores import address, copying
from holdfast.stores.jobs import opening, tables
from holdfast.stores.jobs.copying import go_on_numbering
from holdfast.stores.jobs.settling import dead_letter
from holdfast.stores.trouble import words

STEP = 500
"""Rows that are read at a time where nothing is damaged."""
_TRIES = 100_000
"""Questions about the gaps of one table, at most."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved."""

    rows: dict[str, int]
    """Rows of each table that are in the new store."""
    damaged: tuple[str, ...]
    """Jobs that are dead letters now, since part of them was lost."""
    notes: tuple[str, ...]
    """What could not be read or kept, in words."""

    @property
    def jobs(self) -> int:
        """How many jobs were saved."""
        return self.rows.get("job", 0)


def salvage(path: str | os.PathLike[str], into: str | os.PathLike[str]) -> Salvaged:
    """Save what can be read of a damaged job store into an empty one.

    Stop what works on it first. It takes as much room again as the file, for a while.

    Args:
        path: the damaged file; it stays as it is.
        into: path or URL of the store to fill. It must be empty.

    Raises:
        BadInputError: ``path`` is no file, is the same as ``into``, or ``into`` is not empty.
        StoreUnavailableError: ``into`` cannot be written.
    """
    source, target = address.parse(path), address.parse(into)
    if source.path is None or not source.path.is_file():
        raise BadInputError(f"path must be a SQLite job store that exists, got {source.shown}")
    if source.url == target.url:
        raise BadInputError(f"into must be another store than {source.shown}")
    engine = opening.opened(target)
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-salvage-") as folder:
            copied = _copied(source.path, Path(folder))
            with opening.writes(engine) as write:
                return _save(copied, write)
    except opening.TROUBLES as error:
        raise opening.told(error, target) from None
    finally:
        engine.dispose()


def _copied(path: Path, folder: Path) -> Path:
    for end in ("", "-wal"):
        each = path.with_name(path.name + end)
        if each.is_file():
            shutil.copyfile(each, folder / f"damaged.db{end}")
    return folder / "damaged.db"


def _save(path: Path, write: Connection) -> Salvaged:
    if write.execute(sa.select(sa.func.count()).select_from(tables.job)).scalar():
        raise BadInputError("into must be an empty store, but it has jobs")
    kept: dict[str, int] = {}
    notes: list[str] = []
    for table in tables.metadata.sorted_tables:
        write.execute(sa.delete(table))
        kept[table.name] = 0
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as read:
                # Raises where not even the names of the tables are left.
                read.execute("SELECT count(*) FROM sqlite_master").fetchone()
                read.text_factory = partial(str, encoding="utf-8", errors="replace")
                refused = 0
                for row in _rows(read, table, notes.append):
                    if _insert(write, table, row):
                        kept[table.name] += 1
                    else:
                        refused += 1
                if refused:
                    notes.append(f"{table.name}: {refused} rows were damaged and left out")
        except sqlite3.Error as error:
            notes.append(f"{table.name}: {words(error)}")
    go_on_numbering(write)
    damaged = _mend(write)
    return Salvaged(kept, damaged, tuple(notes))


def _rows(
    read: sqlite3.Connection, table: sa.Table, note: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Every row that can be read, around what cannot."""
    names = [column.name for column in table.columns]
    listed = ", ".join(f'"{name}"' for name in names)
    # NOT INDEXED: the table itself is read, whatever has become of its indexes.
    asked = f'SELECT rowid, {listed} FROM "{table.name}" NOT INDEXED WHERE '  # noqa: S608 - ours

    def found(where: str, *values: int) -> list[tuple[Any, ...]] | None:
        try:
            return read.execute(asked + where, values).fetchall()
        except sqlite3.DatabaseError:
            return None

    last = -(2**63)
    while some := found("rowid > ? ORDER BY rowid LIMIT ?", last, copying.step(table, STEP)):
        for row in some:
            yield dict(zip(names, row[1:], strict=True))
        last = some[-1][0]
    if some is not None:
        return
    # Something is damaged: from the other end, one by one, and then what lies in between.
    top, tail = 2**63 - 1, 0
    while some := found("rowid < ? AND rowid > ? ORDER BY rowid DESC LIMIT 1", top, last):
        yield dict(zip(names, some[0][1:], strict=True))
        top, tail = some[0][0], tail + 1
    missing = 0
    first = max(last, -1) + 1 if last > -(2**63) else 0
    # A gap may be as wide as the numbers are; where the end is unknown, a bound must do.
    for rowid in range(first, min(top, first + _TRIES)):
        some = found("rowid = ?", rowid)
        if some:
            yield dict(zip(names, some[0][1:], strict=True))
        elif some is None:
            missing += 1
    note(f"{table.name}: damaged after row {max(last, 0)}; {missing} rows could not be read")


def _insert(write: Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    for column in table.columns:
        value = row[column.name]
        if isinstance(column.type, sa.LargeBinary):
            row[column.name] = value.encode() if isinstance(value, str) else value
            continue
        if isinstance(column.type, sa.Boolean):
            row[column.name] = value == 1
        elif isinstance(value, bytes):
            row[column.name] = value.decode("utf-8", "replace")
        if isinstance(row[column.name], str):
            row[column.name] = row[column.name].replace("\x00", "")
    try:
        with write.begin_nested():
            write.execute(sa.insert(table), row)
    except (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.StatementError, ValueError, TypeError):
        return False
    return True


def _mend(write: Connection) -> tuple[str, ...]:
    """Make dead letters of jobs that lost something, and set the counters right."""
    job, body = tables.job.c, tables.job_body.c
    now = ambient.wall()
    lost = write.execute(
        sa.select(job.id)
        .outerjoin_from(tables.job, tables.job_body, body.job == job.id)
        .where(sa.or_(body.job.is_(None), job.state.not_in([each.value for each in JobState])))
    ).scalars()
    damaged = tuple(lost.all())
    for each in damaged:
        dead_letter(write, now, each, "damaged", "part of it was lost when the store was damaged")
    highest = write.execute(sa.select(sa.func.max(job.number))).scalar() or 0
    counter = tables.counter
    known = write.execute(sa.select(counter.c.value).where(counter.c.name == "job")).scalar()
    if known is None:
        write.execute(sa.insert(counter).values(name="job", value=highest))
    elif known < highest:
        write.execute(sa.update(counter).where(counter.c.name == "job").values(value=highest))
    return damaged
