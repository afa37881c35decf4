"""What a history amounts to: counts and a report, from the rollups alone.

A span of time is told to the minute: whole days come from the counts by the day, what is left of
them from those by the hour and by the minute. So a report reads some thousand small rows,
however many errors there were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError, ErrorSeverity
from holdfast.ports import ambient
from holdfast.stores import tables
from holdfast.stores.reading import Moment, seconds_of
from holdfast.stores.rows import moment, prefix
from holdfast.stores.tables import HOUR, MINUTE, WIDTHS

TOP = 20
"""Groups that a report tells of."""
CRITICAL = 10
_DIMENSIONS = ("category", "severity", "dependency")
_SIGNIFICANT = 1.96
"""Standard deviations beyond which a difference is hardly chance (95 %)."""


def spans(table: sa.Table, since: float | None, until: float | None) -> sa.ColumnElement[bool]:
    """The rows that together count each error in [since, until), to the minute, once."""
    first = -math.inf if since is None else math.floor(since / MINUTE) * MINUTE
    last = math.inf if until is None else math.ceil(until / MINUTE) * MINUTE
    start = table.c.start
    return sa.or_(
        sa.false(),
        *(
            sa.and_(
                table.c.width == width,
                *([start >= begin] if math.isfinite(begin) else []),
                *([start < end] if math.isfinite(end) else []),
            )
            for width, begin, end in _cover(first, last, WIDTHS)
        ),
    )


def _cover(first: float, last: float, widths: Sequence[int]) -> Iterator[tuple[int, float, float]]:
    """The span as whole days, what is left as whole hours, and what is left then as minutes."""
    if not widths or first >= last:
        return
    width, finer = widths[0], widths[1:]
    begin = math.ceil(first / width) * width if math.isfinite(first) else first
    end = math.floor(last / width) * width if math.isfinite(last) else last
    if begin >= end:
        yield from _cover(first, last, finer)
        return
    yield from _cover(first, begin, finer)
    yield width, begin, end
    yield from _cover(end, last, finer)


def counts(
    connection: Connection,
    since: Moment = None,
    until: Moment = None,
    by: str = "category",
) -> dict[Any, int]:
    """How many errors there were by something; see `ErrorHistory.counts`."""
    table = tables.rollup
    first, last = seconds_of("since", since), seconds_of("until", until)
    total = sa.func.sum(table.c["count"])
    if by in {"hour", "minute"}:
        width = HOUR if by == "hour" else MINUTE
        where = [table.c.width == width]
        if first is not None:
            where.append(table.c.start >= math.floor(first / width) * width)
        if last is not None:
            where.append(table.c.start < last)
        query = sa.select(table.c.start, total).where(*where)
        query = query.group_by(table.c.start).order_by(table.c.start)
        return {moment(start): int(count) for start, count in connection.execute(query)}
    if by not in _DIMENSIONS:
        raise BadInputError(
            f"by must be one of category, severity, dependency, hour, minute, got {by!r:.100}"
        )
    column = table.c[by]
    query = sa.select(column, total).where(spans(table, first, last)).group_by(column)
    found = [(name, int(count)) for name, count in connection.execute(query)]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def report(connection: Connection, since: Moment = None) -> dict[str, Any]:
    """What happened, in numbers; see `ErrorHistory.report`."""
    now, first = ambient.wall(), seconds_of("since", since)
    table = tables.rollup
    # One pass over the counts answers every question about them.
    keys = (table.c.service, table.c.fingerprint, table.c.dependency, table.c.category)
    query = sa.select(*keys, table.c.severity, sa.func.sum(table.c["count"]))
    query = query.where(spans(table, first, None)).group_by(*keys, table.c.severity)
    told: dict[str, dict[str, int]] = {name: {} for name in _DIMENSIONS}
    by_group: dict[tuple[str, str], int] = {}
    total = 0
    for service, fingerprint, dependency, category, severity, summed in connection.execute(query):
        count = int(summed)
        total += count
        by_group[service, fingerprint] = by_group.get((service, fingerprint), 0) + count
        for name, value in zip(_DIMENSIONS, (category, severity, dependency), strict=True):
            told[name][value] = told[name].get(value, 0) + count
    top = sorted(by_group, key=lambda key: (-by_group[key], key))[:TOP]
    rows = _groups(connection, top)
    groups = [_told(connection, rows[key], by_group[key], first, now) for key in top if key in rows]
    began = first if first is not None else _first_minute(connection)
    minutes = max((now - began) / 60, 1.0) if began is not None else 1.0
    by_strategy = _recoveries(connection, first)
    attempted = sum(tally["attempted"] for tally in by_strategy.values())
    successful = sum(tally["successful"] for tally in by_strategy.values())
    return {
        "since": moment(began).isoformat() if began is not None else None,
        "total_errors": total,
        "kept_errors": _kept(connection, first),
        "error_rate_per_minute": total / minutes,
        "rate_seconds": minutes * 60,
        "errors_by_minute": _series(connection, MINUTE, 60, first, now),
        "errors_by_hour": _series(connection, HOUR, 48, first, now),
        "most_common_errors": [
            {name: group[name] for name in ("type", "category", "message", "count", "fingerprint")}
            for group in groups[:10]
        ],
        "errors_by_category": _ranked(told["category"]),
        "errors_by_severity": _ranked(told["severity"]),
        "errors_by_dependency": _ranked(told["dependency"]),
        "recovery_rate": successful / attempted if attempted else 0.0,
        "recoveries_attempted": attempted,
        "recoveries_successful": successful,
        "recovery_by_strategy": by_strategy,
        "recent_critical_errors": _critical(connection, first),
        "groups": groups,
        "group_count": len(by_group),
        "generated_at": moment(now).isoformat(),
    }


def _series(
    connection: Connection, width: int, buckets: int, since: float | None, now: float
) -> list[int]:
    """Counts of the last so many minutes or hours, the oldest first; the last one has begun."""
    table = tables.rollup
    last = int(now) // width
    first = (last - buckets + 1) * width
    if since is not None:
        first = max(first, math.floor(since / width) * width)
    query = sa.select(table.c.start, sa.func.sum(table.c["count"]))
    query = query.where(table.c.width == width, table.c.start >= first).group_by(table.c.start)
    found = {int(start) // width: int(count) for start, count in connection.execute(query)}
    return [found.get(tick, 0) for tick in range(last - buckets + 1, last + 1)]


def _ranked(counted: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _kept(connection: Connection, since: float | None) -> int:
    table = tables.error_event
    query = sa.select(sa.func.count()).select_from(table)
    if since is not None:
        query = query.where(table.c.id >= prefix(since))
    return int(connection.execute(query).scalar() or 0)


def _first_minute(connection: Connection) -> float | None:
    table = tables.rollup
    query = sa.select(sa.func.min(table.c.start)).where(table.c.width == HOUR)
    found = connection.execute(query).scalar()
    if found is None:
        return None
    query = sa.select(sa.func.min(table.c.start)).where(table.c.width == MINUTE)
    minute = connection.execute(query.where(table.c.start >= found)).scalar()
    # Minutes are forgotten before hours: then the hour is all that is known.
    return float(minute if minute is not None and minute < found + HOUR else found)


def _groups(connection: Connection, keys: list[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    table = tables.error_group
    if not keys:
        return {}
    query = sa.select(table).where(sa.tuple_(table.c.service, table.c.fingerprint).in_(keys))
    return {
        (row["service"], row["fingerprint"]): row for row in connection.execute(query).mappings()
    }


def _told(
    connection: Connection, row: Any, count: int, since: float | None, now: float
) -> dict[str, Any]:
    began = row["first_seen"] if since is None else max(row["first_seen"], since)
    hours = max((now - began) / HOUR, 1.0)
    return {
        "fingerprint": row["fingerprint"],
        "service": row["service"],
        "type": row["type"],
        "category": row["category"],
        "severity": row["severity"],
        "message": row["message"],
        "count": count,
        "first_seen": moment(row["first_seen"]).isoformat(),
        "last_seen": moment(row["last_seen"]).isoformat(),
        "rate_per_hour": count / hours,
        "trend": _trend(connection, row, now),
    }


def _trend(connection: Connection, row: Any, now: float) -> str:
    """Since when, and whether there are more of them than before: the last hour in two halves."""
    table = tables.rollup
    half = int(now) // MINUTE * MINUTE - HOUR // 2
    newer = sa.func.sum(sa.case((table.c.start >= half, table.c["count"]), else_=0))
    query = sa.select(sa.func.sum(table.c["count"]), newer).where(
        table.c.width == MINUTE,
        table.c.start >= half - HOUR // 2,
        table.c.service == row["service"],
        table.c.fingerprint == row["fingerprint"],
    )
    found = connection.execute(query).one()
    lately, newest = int(found[0] or 0), int(found[1] or 0)
    began = f"began {_ago(now - row['first_seen'])} ago"
    if not lately:
        return f"{began}, quiet for {_ago(now - row['last_seen'])}"
    told = f"{began}, {lately} in the last hour"
    if now - row["first_seen"] < HOUR:
        return told
    # Of events that come evenly each half gets half, give or take a binomial's deviation.
    spread = _SIGNIFICANT * math.sqrt(lately) / 2
    excess = newest - lately / 2
    return f"{told}, {'rising' if excess > spread else 'falling' if excess < -spread else 'steady'}"


def _ago(seconds: float) -> str:
    for unit, name in ((86_400, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= unit:
            number = int(seconds // unit)
            return f"{number} {name}{'' if number == 1 else 's'}"
    number = max(int(seconds), 0)
    return f"{number} second{'' if number == 1 else 's'}"


def _recoveries(connection: Connection, since: float | None) -> dict[str, dict[str, Any]]:
    table = tables.recovery_rollup
    sums = [sa.func.sum(table.c[name]) for name in ("attempted", "successful")]
    query = sa.select(table.c.strategy, *sums).where(spans(table, since, None))
    found = connection.execute(query.group_by(table.c.strategy).order_by(table.c.strategy))
    return {
        strategy: {
            "attempted": int(attempted),
            "successful": int(successful),
            "rate": int(successful) / int(attempted) if attempted else 0.0,
        }
        for strategy, attempted, successful in found
    }


def _critical(connection: Connection, since: float | None) -> list[dict[str, str]]:
    table = tables.error_event
    query = sa.select(table.c.ts, table.c.type, table.c.message)
    query = query.where(table.c.severity == ErrorSeverity.CRITICAL.value)
    if since is not None:
        query = query.where(table.c.id >= prefix(since))
    return [
        {"timestamp": moment(row.ts).isoformat(), "type": row.type, "message": row.message}
        for row in connection.execute(query.order_by(table.c.id.desc()).limit(CRITICAL))
    ]
