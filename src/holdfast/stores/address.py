"""Where a history lies: a path or a URL, and the engine that speaks to it.

The one place that knows SQLite from PostgreSQL before a connection is made. A URL's
password is never shown: `Address.shown` is for messages and ``repr``.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url

from holdfast.errors import BadInputError
from holdfast.scrub import scrub

WRITE = "holdfast_write"
"""The execution option of a connection that is going to write."""
LASTING = "holdfast_lasting"
"""The execution option that says whether a commit waits for the disk."""
_BUSY_SECONDS = 5.0
_CONNECT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Address:
    """A database."""

    url: URL = field(repr=False)
    shown: str
    """Without credentials."""
    path: Path | None
    """The file, if it is SQLite."""

    def engine(self) -> Engine:
        """A new engine; connects when first used."""
        if self.path is None:
            return sa.create_engine(
                self.url,
                pool_size=2,
                max_overflow=8,
                pool_pre_ping=True,
                # Whoever waits for a lock must then see what its holder wrote, whatever the
                # database has as its default.
                isolation_level="READ COMMITTED",
                pool_timeout=_BUSY_SECONDS,
                hide_parameters=True,
                connect_args={"connect_timeout": _CONNECT_SECONDS},
            )
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,
            pool_timeout=_BUSY_SECONDS,
            connect_args={"timeout": _BUSY_SECONDS},
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    def identity(self) -> tuple[int, int] | None:
        """Which file it is now; None if it is gone, or no file."""
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def parse(url: Any) -> Address:
    """Read a URL or a path.

    Raises:
        BadInputError: it is neither, its database is not supported, or its driver is missing.
    """
    text = os.fspath(url) if isinstance(url, str | os.PathLike) else url
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise BadInputError(f"url must be a path or a database URL, got {text!r:.100}")
    if "://" not in text:
        return _file(Path(text))
    try:
        parsed = make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise BadInputError(
            "url must look like sqlite:///path.db or postgresql://user:password@host/database, "
            f"got {scrub(text)!r:.100}"
        ) from None
    name = parsed.get_backend_name()
    if name == "sqlite":
        if parsed.database in {None, "", ":memory:"} or "mode" in parsed.query:
            raise BadInputError(
                "url must name a file, as sqlite:///errors.db: a history in memory would not "
                f"last, got {scrub(text)!r:.100}"
            )
        return _file(Path(str(parsed.database)))
    if name in {"postgresql", "postgres"}:
        return _server(parsed)
    raise BadInputError(
        f"url must begin with sqlite:/// or postgresql://, got {scrub(text)!r:.100}"
    )


def _file(path: Path) -> Address:
    path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100  # links stay as they are
    return Address(URL.create("sqlite+pysqlite", database=str(path)), f"sqlite:///{path}", path)


def _server(url: URL) -> Address:
    try:
        import psycopg  # noqa: F401, PLC0415  # an extra of its own
    except ImportError as error:
        raise BadInputError(
            'a postgresql:// history needs psycopg: pip install "holdfast[postgres]"'
        ) from error
    where = f"{url.host}:{url.port}" if url.port else (url.host or url.query.get("host") or "")
    shown = f"postgresql://{where}/{url.database or ''}"
    return Address(url.set(drivername="postgresql+psycopg"), shown, None)


def _prepare(connection: Any, _record: Any) -> None:
    """Set up a new SQLite connection; see https://www.sqlite.org/wal.html."""
    # SQLAlchemy begins transactions itself: the driver's own guesses come too late to lock.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
    # Later it is without effect, and would wait for whoever writes.
    if not cursor.execute("PRAGMA page_count").fetchone()[0]:
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    _to_wal(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _to_wal(cursor: Any) -> None:
    """Switch to a write-ahead log. Whoever else does that now is not waited for by SQLite."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL").fetchone()
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    """Take SQLite's write lock at once: a reader that turns writer late may not wait for it."""
    options = connection.get_execution_options()
    write, lasting = options.get(WRITE), options.get(LASTING)
    if lasting is not None and connection.info.get(LASTING) is not lasting:
        # Within a transaction it could not be changed.
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
        connection.info[LASTING] = lasting
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def writing(engine: Engine) -> contextlib.AbstractContextManager[Connection]:
    """A transaction that will write; committed at its end, rolled back on an error."""
    return engine.execution_options(**{WRITE: True}).begin()
