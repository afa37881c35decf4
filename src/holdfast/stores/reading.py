"""Questions to a history that are answered with its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.policies import checks
from holdfast.stores import tables
from holdfast.stores.records import StoredChange, StoredError, StoredGroup, StoredRecovery
from holdfast.stores.rows import moment, prefix, to_error

MOST = 100_000
"""Rows that one question may ask for."""

Moment = datetime | float | None
"""A time: a `datetime` (a naive one is local), seconds since 1970, or None for no limit."""


def seconds_of(field: str, value: Moment) -> float | None:
    """A time as seconds since 1970.

    Raises:
        BadInputError: it is no time.
    """
    if isinstance(value, datetime):
        return value.timestamp()
    if value is not None:
        checks.number(field, value)
        return float(value)
    return None


def between(
    column: sa.ColumnElement[Any], since: Moment, until: Moment
) -> list[sa.ColumnElement[bool]]:
    """That an id lies in the half-open span [since, until)."""
    first, last = seconds_of("since", since), seconds_of("until", until)
    where = [] if first is None else [column >= prefix(first)]
    return where if last is None else [*where, column < prefix(last)]


def limited(limit: int) -> int:
    """The limit itself.

    Raises:
        BadInputError: it is no whole number from 1 to `MOST`.
    """
    checks.whole("limit", limit, at_least=1)
    checks.number("limit", limit, at_most=MOST)
    return limit


def events(
    connection: Connection,
    *,
    since: Moment = None,
    until: Moment = None,
    category: ErrorCategory | str | None = None,
    severity: ErrorSeverity | str | None = None,
    dependency: str | None = None,
    fingerprint: str | None = None,
    search: str | None = None,
    limit: int = 100,
    before: str | None = None,
) -> list[StoredError]:
    """Errors, the newest first; see `ErrorHistory.events`."""
    table = tables.error_event
    where = between(table.c.id, since, until)
    if category is not None:
        where.append(table.c.category == _member("category", category, ErrorCategory))
    if severity is not None:
        where.append(table.c.severity == _member("severity", severity, ErrorSeverity))
    if dependency is not None:
        where.append(table.c.dependency == dependency)
    if fingerprint is not None:
        where.append(table.c.fingerprint == fingerprint)
    if search:
        found = [
            column.icontains(search, autoescape=True)
            for column in (table.c.message, table.c.type, table.c.operation, table.c.dependency)
        ]
        where.append(sa.or_(*found))
    if before is not None:
        where.append(table.c.id < before)
    query = sa.select(table).where(*where).order_by(table.c.id.desc()).limit(limited(limit))
    return [to_error(row) for row in connection.execute(query)]


def _member(field: str, value: str, kind: type[ErrorCategory | ErrorSeverity]) -> str:
    try:
        return kind(value).value
    except ValueError:
        right = ", ".join(kind)
        raise BadInputError(f"{field} must be one of {right}, got {value!r:.100}") from None


def groups(
    connection: Connection, limit: int = 100, since: Moment = None, order: str = "count"
) -> list[StoredGroup]:
    """Groups, those with the most errors or the latest ones first."""
    if order not in {"count", "last_seen"}:
        raise BadInputError(f"order must be 'count' or 'last_seen', got {order!r:.100}")
    table = tables.error_group
    query = sa.select(table).order_by(table.c[order].desc(), table.c.fingerprint)
    first = seconds_of("since", since)
    if first is not None:
        query = query.where(table.c.last_seen >= first)
    return [_group(row) for row in connection.execute(query.limit(limited(limit)))]


def group(
    connection: Connection, fingerprint: str, service: str | None = None
) -> StoredGroup | None:
    """One group: in the given service, or in the one where it happened last."""
    table = tables.error_group
    query = sa.select(table).where(table.c.fingerprint == fingerprint)
    if service is not None:
        query = query.where(table.c.service == service)
    row = connection.execute(query.order_by(table.c.last_seen.desc()).limit(1)).first()
    return None if row is None else _group(row)


def _group(row: Any) -> StoredGroup:
    return StoredGroup(
        fingerprint=row.fingerprint,
        service=row.service,
        error_type=row.type,
        category=ErrorCategory(row.category),
        severity=ErrorSeverity(row.severity),
        message=row.message,
        first_seen=moment(row.first_seen),
        last_seen=moment(row.last_seen),
        count=row._mapping["count"],  # noqa: SLF001  # rows are tuples, and tuples have a `count`
    )


def recoveries(
    connection: Connection,
    *,
    since: Moment = None,
    until: Moment = None,
    strategy: str | None = None,
    successful: bool | None = None,
    limit: int = 100,
    before: str | None = None,
) -> list[StoredRecovery]:
    """Attempts to mend something, the newest first."""
    table = tables.recovery
    where = between(table.c.id, since, until)
    if strategy is not None:
        where.append(table.c.strategy == strategy)
    if successful is not None:
        checks.flag("successful", successful)
        where.append(table.c.successful == successful)
    return [
        StoredRecovery(
            row.id,
            moment(row.ts),
            row.service,
            row.strategy,
            row.category,
            row.successful,
            row.seconds,
            row.error_type,
            row.detail,
        )
        for row in _newest(connection, table, where, limit, before)
    ]


def changes(
    connection: Connection,
    *,
    since: Moment = None,
    until: Moment = None,
    kind: str | None = None,
    name: str | None = None,
    limit: int = 100,
    before: str | None = None,
) -> list[StoredChange]:
    """Changes of state, the newest first."""
    table = tables.state_change
    where = between(table.c.id, since, until)
    if kind is not None:
        where.append(table.c.kind == kind)
    if name is not None:
        where.append(table.c.name == name)
    return [
        StoredChange(
            row.id,
            moment(row.ts),
            row.service,
            row.kind,
            row.name,
            row.old,
            row.new,
            row.reason,
        )
        for row in _newest(connection, table, where, limit, before)
    ]


def _newest(
    connection: Connection,
    table: sa.Table,
    where: Sequence[sa.ColumnElement[bool]],
    limit: int,
    before: str | None,
) -> Iterable[Any]:
    conditions = [*where, table.c.id < before] if before is not None else where
    query = sa.select(table).where(*conditions).order_by(table.c.id.desc())
    return connection.execute(query.limit(limited(limit)))
