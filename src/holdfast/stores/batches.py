"""Writes one batch into the database, in one transaction, exactly once.

When a connection breaks while a commit is under way, nobody knows whether it took effect. So
each writer notes the number of its last batch in the same transaction, and looks it up before
it tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from holdfast.stores import tables
from holdfast.stores.address import writing
from holdfast.stores.backlog import Batch
from holdfast.stores.counting import Counts
from holdfast.stores.rows import Row

_TABLES = {"recovery": tables.recovery, "change": tables.state_change}


def write(engine: Engine, batch: Batch, writer: str, number: int, at: float) -> None:
    """Write a batch, unless it was written already.

    Args:
        engine: the database.
        batch: what to write.
        writer: who writes.
        number: this batch's number, higher than any that this writer has written.
        at: seconds since 1970.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it was not written, as far as anybody can tell.
    """
    counts = Counts()
    counts.merge(batch.counts)
    for event in batch.events:
        counts.add(event)
    for kind, row in batch.notes:
        if kind == "resolve":
            counts.add_recovery(row)
    with writing(engine) as connection:
        if _written(connection, writer, number):
            return
        if batch.events:
            connection.execute(sa.insert(tables.error_event), batch.events)
        for kind, table in _TABLES.items():
            rows = [row for noted, row in batch.notes if noted == kind]
            if rows:
                connection.execute(sa.insert(table), rows)
        _resolve(connection, [row for kind, row in batch.notes if kind == "resolve"])
        _count(connection, counts)
        _sign(connection, writer, number, at, batch.dropped)


def _written(connection: Connection, writer: str, number: int) -> bool:
    last = connection.execute(
        sa.select(tables.writer.c.batch).where(tables.writer.c.id == writer)
    ).scalar()
    return last is not None and last >= number


def _sign(connection: Connection, writer: str, number: int, at: float, dropped: int) -> None:
    row = {"id": writer, "batch": number, "at": at, "dropped": dropped}
    upsert(connection, tables.writer, [row], ("id",), add=("dropped",), put=("batch", "at"))


def _resolve(connection: Connection, rows: Sequence[Row]) -> None:
    if not rows:
        return
    table = tables.error_event
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("event"))
        .values(
            recovery_attempted=True,
            recovery_successful=sa.bindparam("success"),
            strategy=sa.bindparam("by"),
        )
    )
    connection.execute(
        statement,
        [
            {"event": row["event"], "success": row["successful"], "by": row["strategy"]}
            for row in rows
        ],
    )


def _count(connection: Connection, counts: Counts) -> None:
    upsert(
        connection,
        tables.error_group,
        counts.group_rows(),
        ("service", "fingerprint"),
        add=("count",),
        newest=("severity", "category", "message", "last_seen"),
        least=("first_seen",),
    )
    keys: tuple[str, ...] = (
        "width",
        "start",
        "service",
        "fingerprint",
        "dependency",
        "category",
        "severity",
    )
    upsert(connection, tables.rollup, counts.rollups(), keys, add=("count",))
    keys = ("width", "start", "strategy")
    rows = counts.recovery_rollups()
    upsert(connection, tables.recovery_rollup, rows, keys, add=("attempted", "successful"))


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Iterable[Row],
    keys: Sequence[str],
    *,
    add: Sequence[str] = (),
    put: Sequence[str] = (),
    newest: Sequence[str] = (),
    least: Sequence[str] = (),
) -> None:
    """Insert rows, or change those that are there already.

    Args:
        connection: in a transaction.
        table: where to.
        rows: in the order of their keys, or two writers may wait for each other.
        keys: the columns of the primary key.
        add: columns that are added up.
        put: columns that are replaced.
        newest: columns that are replaced if ``last_seen`` is not older.
        least: columns of which the smaller value stays.
    """
    given = list(rows)
    if not given:
        return
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = make(table)
    new, old = statement.excluded, table.c
    change: dict[str, Any] = {name: old[name] + new[name] for name in add}
    change |= {name: new[name] for name in put}
    for name in newest:
        change[name] = sa.case((new.last_seen >= old.last_seen, new[name]), else_=old[name])
    for name in least:
        change[name] = sa.case((new[name] < old[name], new[name]), else_=old[name])
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=change), given
    )
