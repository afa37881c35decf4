"""Removes what is too old or too much, in small steps between two writes.

- Errors, recoveries, changes and counts by the minute go after ``days``. Counts by hour and day,
  and groups, go after a year (or ``days``, if that is more), so that reports can look back.
- When all of it takes more than ``max_bytes``, the oldest errors go first, whatever their age.
- One step removes `STEP` rows, and gives SQLite's file back to the system bit by bit.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.ports import ambient
from holdfast.stores import tables
from holdfast.stores.address import writing
from holdfast.stores.place import Place
from holdfast.stores.rows import prefix

STEP = 1_000
DAY = 86_400.0
LONG_DAYS = 366.0
EVERY_SECONDS, EVERY_ROWS = 60.0, 5_000
"""How often it is looked at whether there is anything to remove."""
_PAGES = 1_000
_SAMPLE = 500
_INDEXED = 350
"""Bytes that the indexes and the bookkeeping of PostgreSQL take for one error, about."""


class Retention:
    """Knows what may stay; acts when `step` is called, by the writer's thread alone."""

    __slots__ = ("_looked", "_rows", "busy", "days", "max_bytes")

    def __init__(self, days: float, max_bytes: int) -> None:
        self.days, self.max_bytes = days, max_bytes
        self.busy = False
        """Whether the last step left something to do."""
        self._looked = float("-inf")
        self._rows = 0

    def written(self, rows: int) -> None:
        """So many rows have come."""
        self._rows += rows

    def rest(self) -> None:
        """Do nothing until the next time it is due."""
        self.busy, self._rows, self._looked = False, 0, ambient.wall()

    def step(self, place: Place) -> None:
        """Remove a little, if it is time for that.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database is in trouble.
        """
        now = ambient.wall()
        due = now - self._looked >= EVERY_SECONDS or now < self._looked
        if not (self.busy or due or self._rows >= EVERY_ROWS) or not place.opened:
            return
        self.rest()
        with writing(place.engine) as connection:
            self.busy = self.sweep(connection, now)
        if place.address.path is not None:
            _give_back(place)

    def sweep(self, connection: Connection, now: float) -> bool:
        """Remove up to `STEP` rows of each table; is there more?"""
        old, ancient = now - self.days * DAY, now - max(self.days, LONG_DAYS) * DAY
        more = False
        for table in (tables.error_event, tables.recovery, tables.state_change):
            more |= _remove(connection, table, table.c.id < prefix(old))
        for table in (tables.rollup, tables.recovery_rollup):
            for width in tables.WIDTHS:
                limit = old if width == tables.MINUTE else ancient
                early = sa.and_(table.c.width == width, table.c.start <= int(limit) - width)
                more |= _remove(connection, table, early)
        more |= _remove(connection, tables.error_group, tables.error_group.c.last_seen < ancient)
        _remove(connection, tables.writer, tables.writer.c.at < ancient)
        excess = 0 if more else size(connection) - self.max_bytes
        if excess > 0:
            # Near the limit in smaller steps, so that no more goes than must.
            step = STEP if excess > self.max_bytes // 4 else max(STEP // 10, 1)
            more = _remove(connection, tables.error_event, sa.true(), step) or _fewer(connection)
        return more


def _give_back(place: Place) -> None:
    """Let SQLite hand some of its free pages to the system; not in a transaction, it says."""
    connection = place.engine.raw_connection()
    try:
        cursor = connection.cursor()
        # One step frees one page, and only a script is stepped through to its end.
        cursor.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
        cursor.close()
    finally:
        connection.close()


def _fewer(connection: Connection) -> bool:
    """With no error left, give up the oldest counts by the minute."""
    table = tables.rollup
    return _remove(connection, table, table.c.width == tables.MINUTE)


def _remove(
    connection: Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    step: int | None = None,
) -> bool:
    """Remove the first rows for which ``where`` is true, a step of them; were there so many?"""
    step = STEP if step is None else step
    keys = list(table.primary_key)
    found = connection.execute(sa.select(*keys).where(where).order_by(*keys).limit(step)).all()
    if not found:
        return False
    if len(keys) == 1:
        last = found[-1][0]
        connection.execute(sa.delete(table).where(where, keys[0] <= last))
    else:
        match = sa.and_(*(key == sa.bindparam(f"key_{key.name}") for key in keys))
        named = [f"key_{key.name}" for key in keys]
        connection.execute(
            sa.delete(table).where(match), [dict(zip(named, row, strict=True)) for row in found]
        )
    return len(found) == step


def size(connection: Connection) -> int:
    """Bytes that the history takes, without room that is free inside its file."""
    if connection.dialect.name == "sqlite":
        pages, free, page = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * page
    # What PostgreSQL's tables take does not shrink when rows go, so it is reckoned up.
    event = tables.error_event
    text: sa.ColumnElement[str] = sa.literal_column("error_event")
    sample = sa.select(sa.func.pg_column_size(text).label("size")).select_from(event)
    newest = sample.order_by(event.c.id.desc()).limit(_SAMPLE).subquery()
    mean = connection.execute(sa.select(sa.func.avg(newest.c.size))).scalar()
    rows = connection.execute(sa.select(sa.func.count()).select_from(event)).scalar() or 0
    return int(rows * (float(mean or 0) + _INDEXED))
