"""Moves a whole history from one database to another: from SQLite to PostgreSQL, above all."""

from __future__ import annotations

import os

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError
from holdfast.stores import address, tables
from holdfast.stores.address import Address, writing
from holdfast.stores.place import TROUBLES, Place
from holdfast.stores.trouble import HistoryUnavailableError, words

STEP = 2_000
"""Rows that are read and written at a time."""


def copy(source_url: str | os.PathLike[str], target_url: str | os.PathLike[str]) -> dict[str, int]:
    """Copy everything into an empty history, and count it there. The source stays as it is.

    It happens in one transaction on each side: the target holds all of it, or nothing. What is
    written to the source meanwhile is not copied, so stop what writes to it first.

    Args:
        source_url: path or URL of the history to read.
        target_url: path or URL of the one to fill. It must be empty.

    Returns:
        How many rows of each table were copied.

    Raises:
        BadInputError: both are the same, the source is not there, or the target is not empty.
        HistoryUnavailableError: one cannot be read or written, or the counts differ afterwards.
        SchemaTooNewError: a newer Holdfast made one of them.
    """
    source, target = both_ends(source_url, target_url, "history")
    places = Place(source), Place(target)
    try:
        for place in places:
            place.open()
        with places[0].engine.connect() as read, writing(places[1].engine) as write:
            see_one_moment(read)
            return {
                table.name: copy_table(read, write, table)
                for table in tables.metadata.sorted_tables
            }
    except TROUBLES as error:
        raise HistoryUnavailableError(
            f"{source.shown} was not copied to {target.shown}: {words(error)}"
        ) from None
    finally:
        for place in places:
            place.close()


def both_ends(
    source_url: str | os.PathLike[str], target_url: str | os.PathLike[str], what: str
) -> tuple[Address, Address]:
    """Where to copy from, and where to.

    Raises:
        BadInputError: both are the same, or the source is not there.
    """
    source, target = address.parse(source_url), address.parse(target_url)
    if source.url == target.url:
        raise BadInputError(f"target_url must be another {what} than {source.shown}")
    if source.path is not None and not source.path.is_file():
        raise BadInputError(f"source_url must be a {what} that exists, got {source.shown}")
    return source, target


def see_one_moment(read: Connection) -> None:
    """Have all tables read as they were at one moment, as SQLite does by itself."""
    if read.dialect.name == "postgresql":
        read.execution_options(isolation_level="REPEATABLE READ")


def copy_table(read: Connection, write: Connection, table: sa.Table, what: str = "history") -> int:
    """Copy one table into an empty one; how many rows.

    Raises:
        BadInputError: it is not empty.
        HistoryUnavailableError: not all have arrived.
    """
    if _count(write, table):
        raise BadInputError(
            f"target_url must be an empty {what}, but its table {table.name} has rows"
        )
    copied = 0
    keys = list(table.primary_key)
    last: tuple[object, ...] | None = None
    while True:
        query = sa.select(table).order_by(*keys).limit(step(table, STEP))
        if last is not None:
            query = query.where(sa.tuple_(*keys) > sa.tuple_(*map(sa.literal, last)))
        rows = [dict(row) for row in read.execute(query).mappings()]
        if not rows:
            break
        write.execute(sa.insert(table), rows)
        copied += len(rows)
        last = tuple(rows[-1][key.name] for key in keys)
    there, here = _count(read, table), _count(write, table)
    if not there == here == copied:
        raise HistoryUnavailableError(
            f"table {table.name} has {there} rows, {copied} were copied and {here} arrived"
        )
    return copied


def step(table: sa.Table, rows: int) -> int:
    """How many rows of a table to have in memory: far fewer where whole files are in them."""
    heavy = any(isinstance(column.type, sa.LargeBinary) for column in table.columns)
    return max(1, rows // 100) if heavy else rows


def _count(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0)
