"""The database as a place that may be damaged, vanish or be replaced while it is in use.

Opens it, brings its schema up to date, and begins a new file where the old one is damaged. The
damaged one is moved aside, never deleted: somebody may want to save what is in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.engine import Engine

from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores import schema, tables
from holdfast.stores.address import Address, writing
from holdfast.stores.strangers import refuse_other_databases, refuse_strangers
from holdfast.stores.trouble import Kind, kind_of, words

LOG = logging.getLogger("holdfast")
CHECKED_BYTES = 16 * 1024 * 1024
"""A file up to this size is checked as a whole when it is opened, which takes some 20 ms."""
_LOCK_SECONDS = 10.0
_INHERITED: list[Engine] = []
"""Engines of the parent process. SQLite forbids even closing them here, so they are kept."""

TROUBLES = (sqlalchemy.exc.SQLAlchemyError, OSError)
"""What a database may raise."""


class Place:
    """One database, opened; any thread may use its `engine`."""

    __slots__ = ("_identity", "_lock", "address", "engine", "lasting", "opened")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.engine = address.engine()
        self.opened = False
        """Whether the schema is known to be right."""
        self.lasting = ""
        """What happened to the file, for as long as this process lives."""
        self._identity = address.identity()
        self._lock = threading.RLock()

    def open(self) -> None:
        """Open it for the first time.

        Raises:
            BadInputError: it can never be written as things are.
            SchemaTooNewError: a newer Holdfast made it.
            sqlalchemy.exc.SQLAlchemyError: it cannot be used now.
        """
        try:
            self._make_folder()
            self.ensure()
        except TROUBLES as error:
            if kind_of(error) is Kind.DENIED:
                raise BadInputError(
                    f"url must be a history that can be written, got {self.address.shown}: "
                    f"{words(error)}"
                ) from None
            raise

    def ensure(self) -> None:
        """See that it is open, has our tables, and is still the same file.

        Raises:
            SchemaTooNewError: a newer Holdfast made it.
            OSError, sqlalchemy.exc.SQLAlchemyError: it cannot be used now.
        """
        with self._lock:
            if self.opened and self.address.path and self.address.identity() != self._identity:
                self.lasting = f"{self.address.shown} was removed or replaced; opened again"
                LOG.warning("error history: %s", self.lasting)
                self.renew()
            if self.opened:
                return
            try:
                self._check()
            except TROUBLES as error:
                if kind_of(error) is not Kind.CORRUPT:
                    raise
                self.heal()
            self._identity = self.address.identity()
            self.opened = True

    def heal(self) -> None:
        """Begin a new file, unless what is there turns out to be well.

        Raises:
            OSError, sqlalchemy.exc.SQLAlchemyError: that did not work either.
        """
        path = self.address.path
        if path is None:
            return
        with self._lock, _alone(path):
            self.renew()
            try:
                self._check(thorough=True)
            except TROUBLES as error:
                if kind_of(error) is not Kind.CORRUPT:
                    raise
                self.renew()
                refuse_strangers(path)
                aside = _move_aside(path)
                self._check()
                self.lasting = (
                    f"{path} was damaged; it is now {aside.name}, and a new one was begun"
                )
                LOG.error("error history: %s", self.lasting)  # noqa: TRY400  # a trace would say no more
            self._identity = self.address.identity()
            self.opened = True

    def renew(self) -> None:
        """Let go of all connections and open again when next asked."""
        with self._lock:
            self.engine.dispose()
            self.opened = False

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def after_fork(self) -> None:
        """Begin anew in a forked child, leaving the parent's connections alone."""
        _INHERITED.append(self.engine)
        self._lock = threading.RLock()
        self.engine = self.address.engine()
        self.opened = False

    def _make_folder(self) -> None:
        if self.address.path is not None:
            try:
                self.address.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInputError(
                    f"url must be in a folder that exists or can be made, got "
                    f"{self.address.shown}: {error.strerror}"
                ) from None

    def _check(self, *, thorough: bool = False) -> None:
        """Bring the schema up to date and see that every table can be read."""
        engine, path = self.engine, self.address.path
        if path is not None and path.is_file() and path.stat().st_size:
            refuse_other_databases(path)
        schema.bring_up_to_date(engine, self.address.shown)
        with engine.connect() as connection:
            for table in tables.metadata.tables.values():
                connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).all()
            if path is not None and (thorough or path.stat().st_size <= CHECKED_BYTES):
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if found != "ok":
                    raise sqlalchemy.exc.DatabaseError(None, None, _Damaged(str(found)))
        with writing(engine) as connection:
            # A file that cannot be written is found out now, not at the first error.
            connection.execute(sa.delete(tables.writer).where(tables.writer.c.id == ""))
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA user_version=1")


class _Damaged(Exception):  # noqa: N818  # never raised: what a check found, as a driver would say it
    sqlite_errorcode = 11


def _move_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ambient.wall()))
    aside, number = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    path.rename(aside)
    for end in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    return aside


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from mending the same file at once."""
    lock = path.with_name(path.name + ".mending")
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            # One who died with the lock must not keep it for ever.
            if time.monotonic() > until:
                with contextlib.suppress(OSError):
                    lock.unlink()
            time.sleep(0.02)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
