"""Opening a job store: its schema brought up to date, and nothing risked that was accepted.

Unlike a history of errors, a damaged job store is never moved aside: what is in it was promised
to somebody. It is refused with words that say what to do.
"""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from holdfast.errors import BadInputError
from holdfast.stores import schema
from holdfast.stores.address import LASTING, WRITE, Address
from holdfast.stores.jobs import tables
from holdfast.stores.jobs.records import StoreUnavailableError
from holdfast.stores.place import CHECKED_BYTES
from holdfast.stores.strangers import HEADER
from holdfast.stores.trouble import Kind, kind_of, words

CHAIN = schema.Chain(
    known=("0001", "0002", "0003"),
    version_table="holdfast_jobs_version",
    folder=Path(__file__).with_name("migrations"),
    what="job store",
)
_LOCK = 0x686F6C646A6F6273
"""The key of PostgreSQL's advisory lock: "holdjobs" in ASCII."""
WHAT_TO_DO = (
    "It was left as it is: restore a copy, or save what can be read with: holdfast jobs salvage"
)
TROUBLES = (sqlalchemy.exc.SQLAlchemyError, OSError)


def opened(address: Address) -> Engine:
    """An engine on a store that has our tables.

    Raises:
        BadInputError: it can never be used as things are; the message says what to do.
        SchemaTooNewError: a newer Holdfast made it.
        StoreUnavailableError: it cannot be used now.
    """
    path = address.path
    engine = address.engine()
    if path is not None:
        event.listen(engine, "connect", _to_the_disk)
    try:
        if path is not None:
            _look_at(path, address.shown)
        schema.bring_up_to_date(engine, address.shown, CHAIN)
        _check(engine)
    except BadInputError:
        engine.dispose()
        raise
    except TROUBLES as error:
        engine.dispose()
        raise _told_at_first(error, address) from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def writes(
    engine: Engine, *, lasting: bool = True
) -> contextlib.AbstractContextManager[Connection]:
    """A transaction that writes; see `Writer`."""
    return Writer(engine, lasting=lasting).transaction()


class Writer:
    """Transactions that write. One at a time over all processes, so that order is one order.

    Made once for many of them: an engine with options is dear to make.

    Args:
        engine: the database.
        lasting: whether the commit waits for the disk. One that does not survives the death of
            every process, and may be lost when the power is, with what came after it.
    """

    def __init__(self, engine: Engine, *, lasting: bool) -> None:
        self._engine = engine.execution_options(**{WRITE: True, LASTING: lasting})
        self._lasting = lasting

    def transaction(self) -> contextlib.AbstractContextManager[Connection]:
        """Committed at its end, rolled back on an error."""
        return _Writing(self._engine, lasting=self._lasting)


class _Writing:
    def __init__(self, engine: Engine, *, lasting: bool) -> None:
        self._lasting = lasting
        self._inner = engine.begin()

    def __enter__(self) -> Connection:
        connection = self._inner.__enter__()
        if connection.dialect.name == "postgresql":
            try:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                if not self._lasting:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")
            except BaseException as error:
                self._inner.__exit__(type(error), error, error.__traceback__)
                raise
        return connection

    def __exit__(self, *error: Any) -> bool | None:  # noqa: PYI036 - handed on as it is
        return self._inner.__exit__(*error)


def _to_the_disk(connection: Any, _record: Any) -> None:
    """An accepted job must survive a power cut: each commit waits for the disk."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
    # One damaged letter must not hide all rows of a list.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")


def _look_at(path: Path, shown: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(
            f"store must be in a folder that exists or can be made, got {str(path)!r}: "
            f"{error.strerror}"
        ) from None
    if path.is_dir():
        raise BadInputError(f"store must be a file, such as jobs.db; {str(path)!r} is a folder")
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        if file.read(len(HEADER)) != HEADER:
            raise BadInputError(f"store must be a job store; {str(path)!r} is no database at all")
    names: set[str] = set()
    verdict = "ok"
    # Read only: what is damaged is not written to. Other troubles are met where it is opened.
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(connection):
            try:
                found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                names = {str(name) for (name,) in found if not str(name).startswith("sqlite_")}
                if path.stat().st_size <= CHECKED_BYTES:
                    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.DatabaseError as error:
                if kind_of(error) is Kind.CORRUPT:
                    verdict = str(error)
    if names and CHAIN.version_table not in names:
        raise BadInputError(
            f"store must be a job store; {str(path)!r} is the database of another program"
        )
    if verdict != "ok":
        raise BadInputError(f"the job store {shown} is damaged. {WHAT_TO_DO} ({verdict})")


def _check(engine: Engine) -> None:
    with engine.connect() as connection:
        for table in tables.metadata.tables.values():
            connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).all()
    with writes(engine) as connection:
        # A store that cannot be written is found out now, not when the first job comes.
        connection.execute(sa.delete(tables.setting).where(tables.setting.c.name == ""))


def told(error: BaseException, address: Address) -> Exception:
    """What whoever uses a store is told of a database's error."""
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return BadInputError(
            f"what is asked of a job store must be texts and numbers it can keep: {error}"
        )
    error = _first(error)
    kind = kind_of(error)
    if kind is Kind.CORRUPT:
        return StoreUnavailableError(
            f"the job store {address.shown} is damaged. {WHAT_TO_DO} ({words(error)})"
        )
    if kind is Kind.REFUSED:
        return BadInputError(
            f"what is asked of a job store must be texts and numbers it can keep: {words(error)}"
        )
    return StoreUnavailableError(f"job store {address.shown}: {words(error)}")


def _first(error: BaseException) -> BaseException:
    """What went wrong before its savepoint was found to be gone with the whole transaction."""
    first, before = error, error.__context__
    while before is not None:
        if isinstance(before, sqlalchemy.exc.DBAPIError):
            first = before
        before = before.__context__
    return first


def _told_at_first(error: BaseException, address: Address) -> Exception:
    kind = kind_of(error)
    if kind is Kind.CORRUPT:
        return BadInputError(str(told(error, address)))
    if kind is Kind.DENIED:
        return BadInputError(
            f"store must be one that can be written, got {address.shown}: {words(error)}"
        )
    return told(error, address)
