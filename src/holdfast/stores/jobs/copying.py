"""Moves a whole job store to another database: from SQLite to PostgreSQL, above all."""

from __future__ import annotations

import os

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.stores.copying import both_ends, copy_table, see_one_moment
from holdfast.stores.jobs import opening, tables
from holdfast.stores.jobs.records import StoreUnavailableError
from holdfast.stores.trouble import HistoryUnavailableError, words


def copy(source_url: str | os.PathLike[str], target_url: str | os.PathLike[str]) -> dict[str, int]:
    """Copy every job, with its story and files, into an empty store. The source stays as it is.

    It happens in one transaction on each side: the target holds all of it, or nothing. What is
    written to the source meanwhile is not copied, so stop what works on it first. The contents of
    files lie in the blob store, and are not touched.

    Args:
        source_url: path or URL of the store to read.
        target_url: path or URL of the one to fill. It must be empty.

    Returns:
        How many rows of each table were copied.

    Raises:
        BadInputError: both are the same, the source is not there, or the target is not empty.
        StoreUnavailableError: one cannot be read or written, or the counts differ afterwards.
        SchemaTooNewError: a newer Holdfast made one of them.
    """
    source, target = both_ends(source_url, target_url, "store")
    engines = []
    try:
        engines = [opening.opened(source), opening.opened(target)]
        with engines[0].connect() as read, opening.writes(engines[1]) as write:
            see_one_moment(read)
            copied = {
                table.name: copy_table(read, write, table, "store")
                for table in tables.metadata.sorted_tables
            }
            go_on_numbering(write)
            return copied
    except (*opening.TROUBLES, HistoryUnavailableError) as error:
        told = str(error) if isinstance(error, HistoryUnavailableError) else words(error)
        raise StoreUnavailableError(
            f"{source.shown} was not copied to {target.shown}: {told}"
        ) from None
    finally:
        for engine in engines:
            engine.dispose()


def go_on_numbering(connection: Connection) -> None:
    """Have PostgreSQL number new lines of stories after those that were written with a number."""
    if connection.dialect.name != "postgresql":
        return
    last = connection.execute(sa.select(sa.func.max(tables.job_event.c.seq))).scalar()
    if last is not None:
        sequence = sa.func.pg_get_serial_sequence(tables.job_event.name, "seq")
        connection.execute(sa.select(sa.func.setval(sequence, last)))
