"""Brings a database to the schema that this code expects, when it is opened.

- One question finds out whether there is anything to do; Alembic is loaded only if there is.
- Of two processes that open a new database at once, one migrates and the other waits: SQLite's
  write lock and an advisory lock of PostgreSQL see to that.
- All of a migration happens in one transaction, or none of it.
- A schema that this code does not know is left alone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from holdfast.stores.address import writing
from holdfast.stores.trouble import SchemaTooNewError

KNOWN = ("0001",)
"""Every version there has been, the oldest first."""
HEAD = KNOWN[-1]
VERSION_TABLE = "holdfast_version"
"""Not Alembic's usual name: the database may be shared with an application that has its own."""
_LOCK = 0x686F6C6466617374
"""The key of the advisory lock: "holdfast" in ASCII."""


_ALONE = threading.Lock()
"""Alembic keeps what it works on in a place that all threads share."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The versions that one schema has had."""

    known: tuple[str, ...]
    """Every version, the oldest first."""
    version_table: str
    folder: Path
    """Where its migrations lie."""
    what: str
    """What a database with it is called."""

    @property
    def head(self) -> str:
        """The version of today."""
        return self.known[-1]


HISTORY = Chain(KNOWN, VERSION_TABLE, Path(__file__).with_name("migrations"), "history")


def bring_up_to_date(engine: Engine, shown: str, chain: Chain = HISTORY) -> None:
    """Make or migrate the tables if need be.

    Args:
        engine: the database.
        shown: what to call it in an error.
        chain: which tables.

    Raises:
        SchemaTooNewError: the database was made by a newer Holdfast.
        sqlalchemy.exc.SQLAlchemyError: it cannot be read or written.
    """
    with engine.connect() as connection:
        if version_of(connection, shown, chain) == chain.head:
            return
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        if version_of(connection, shown, chain) != chain.head:
            _migrate(connection, chain)


def version_of(connection: Connection, shown: str, chain: Chain = HISTORY) -> str | None:
    """The version of the schema, or None where there is none yet.

    Raises:
        SchemaTooNewError: it is none that this code knows.
    """
    if not sa.inspect(connection).has_table(chain.version_table):
        return None
    table = sa.table(chain.version_table, sa.column("version_num"))
    version = connection.execute(sa.select(table.c.version_num)).scalar()
    if version is not None and version not in chain.known:
        raise SchemaTooNewError(
            f"the {chain.what} {shown} has schema {version}, and this Holdfast knows up to "
            f"{chain.head}: "
            "use a newer Holdfast, or another file"
        )
    return None if version is None else str(version)


def _migrate(connection: Connection, chain: Chain) -> None:
    # Importing Alembic takes as long as opening a hundred histories.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(chain.folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = chain.version_table
    with _ALONE:
        command.upgrade(config, "head")
