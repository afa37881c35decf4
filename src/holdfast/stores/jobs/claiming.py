"""Who gets which job next.

In this order: what a worker left behind when it went away; the highest priority; among users the
one who was given the least (start-time fair queueing, counted in the seconds that jobs of a kind
are known to take); among a user's jobs the one that is due first, then the one that came first.
Who has as many jobs running as they may (see `room`) is passed over meanwhile.

Source: Goyal, Vin and Cheng, "Start-time fair queuing", 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.records import Claim, Renewal
from holdfast.stores.jobs.room import Room
from holdfast.stores.jobs.settling import dead_letter
from holdfast.stores.jobs.story import tell

_J = tables.job.c
_TENURE = (_J.fence, _J.lease_until)
LOOKED_AT = 1_000
"""Jobs that are looked at for one call, at most."""
_STEPS = 10
"""Priorities whose users are looked at one by one; beyond, the jobs of who must wait are."""
_TOO_LATE = "its deadline passed while it waited"
UNKNOWN_SECONDS = 10.0
"""What a job counts for while it is not known how long its kind takes."""
_VIRTUAL = "\x1fvirtual"
"""The user under whose name the virtual time is kept."""


def claim(
    connection: Connection,
    now: float,
    worker: str,
    limit: int,
    *,
    lease: float,
    max_tries: int,
    order: str | None,
    doubtful: bool = False,
) -> tuple[Claim, ...]:
    """Give up to ``limit`` jobs to a worker.

    Args:
        connection: in a transaction that writes.
        now: seconds since 1970.
        worker: who asks.
        limit: how many jobs at most.
        lease: seconds until it must have renewed them.
        max_tries: workers that may go away under a job.
        order: only jobs of this batch.
        doubtful: the date was changed just now, so nobody loses a job to it.
    """
    _fail_overdue(connection, now)
    claims: list[Claim] = []
    for left in _left_behind(connection, now, lease, order):
        tenure = rows.tenure_of(left)
        if tenure.ahead(now, lease):
            until = tenure.cut(now, lease).lease_until
            cut = sa.update(tables.job).where(_J.id == left.id)
            connection.execute(cut.values(lease_until=until))
        elif doubtful and tenure.lease_until is not None:
            continue
        elif tenure.tries + 1 >= max_tries:
            words = (
                f"{tenure.tries + 1} workers went away while they had it; it may be what kills them"
            )
            dead_letter(connection, now, left.id, "poison", words)
        elif len(claims) < limit:
            claims += _take(connection, now, left, worker, lease)
    looked_at = 0
    space: Room | None = None
    while len(claims) < limit and looked_at < LOOKED_AT and not _paused(connection):
        looked_at += 1
        space = space or Room(connection, now)
        row = _next(connection, order, space.full())
        if row is None:
            break
        deadline = rows.moment(row.deadline)
        if deadline is not None and deadline <= now:
            dead_letter(connection, now, row.id, "deadline", _TOO_LATE)
        elif taken := _take(connection, now, row, worker, lease):
            claims += taken
            space.took(row.user)
    return tuple(claims)


def renew(connection: Connection, now: float, held: dict[str, int], *, lease: float) -> Renewal:
    """Keep the jobs that are still the worker's, by id and fence."""
    lost, cancelled = set(held), set()
    wanted = sa.select(_J.id, _J.state, _J.fence, _J.lease_until, _J.tries, _J.cancel)
    found = [
        row
        for some in rows.chunks(list(held))
        for row in connection.execute(wanted.where(_J.id.in_(some)))
    ]
    for row in found:
        kept = rows.tenure_of(row).renewed(held[row.id], now, lease)
        if kept is None:
            continue
        lost.discard(row.id)
        if kept.cancel:
            cancelled.add(row.id)
        connection.execute(
            sa.update(tables.job).where(_J.id == row.id).values(lease_until=kept.lease_until)
        )
    return Renewal(frozenset(lost), frozenset(cancelled))


def reclaim(connection: Connection, worker: str) -> int:
    """End the leases of a worker that is known to be gone; how many there were."""
    change = sa.update(tables.job).where(_J.state == JobState.RUNNING.value, _J.worker == worker)
    return int(connection.execute(change.values(lease_until=None)).rowcount)


def _paused(connection: Connection) -> bool:
    found = connection.execute(
        sa.select(tables.setting.c.value).where(tables.setting.c.name == tables.PAUSED)
    ).scalar()
    return rows.read_json(found) is not None


def _fail_overdue(connection: Connection, now: float) -> None:
    overdue = connection.execute(
        sa.select(_J.id)
        .where(_J.state == JobState.QUEUED.value, _J.deadline.is_not(None), _J.deadline <= now)
        .limit(100)
    ).scalars()
    for job in overdue.all():
        dead_letter(connection, now, job, "deadline", _TOO_LATE)


def _left_behind(
    connection: Connection, now: float, lease: float, order: str | None
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    # Leases that have run out, or that end later than any could.
    left = sa.select(*rows.COLUMNS, *_TENURE).where(
        _J.state == JobState.RUNNING.value,
        sa.or_(_J.lease_until.is_(None), _J.lease_until <= now, _J.lease_until > now + 2 * lease),
    )
    if order is not None:
        left = left.where(_J.order_id == order)
    return connection.execute(left.order_by(_J.number).limit(LOOKED_AT)).all()


def _next(
    connection: Connection, order: str | None, full: list[str]
) -> sa.Row[*tuple[Any, ...]] | None:
    queued = [_J.state == JobState.QUEUED.value]
    if order is not None:
        # An order is worked through by itself: one owner, first come first served.
        queued.append(_J.order_id == order)
        if full:
            queued.append(_J.user.not_in(full))
        queued.append(_J.priority == _highest(connection, queued))
        found = sa.select(*rows.COLUMNS, *_TENURE).where(*queued)
        return connection.execute(found.order_by(_J.number).limit(1)).first()
    turn = _turn(connection, queued, full)
    if turn is None:
        return None
    highest, user = turn
    queued += [_J.priority == highest, _J.user == user]
    wanted = sa.select(*rows.COLUMNS, *_TENURE).where(*queued)
    due = connection.execute(
        wanted.where(_J.deadline.is_not(None)).order_by(_J.deadline, _J.number).limit(1)
    ).first()
    return due or connection.execute(wanted.order_by(_J.number).limit(1)).first()


def _turn(
    connection: Connection, queued: list[sa.ColumnElement[bool]], full: list[str]
) -> tuple[int, str] | None:
    """The highest priority at which somebody's job may be begun, and whose turn it is there."""
    wanted = list(queued)
    for step in range(_STEPS + 1):
        if step == _STEPS:
            wanted.append(_J.user.not_in(full))
        highest = _highest(connection, wanted)
        if highest is None:
            return None
        user = _least_served(connection, [*queued, _J.priority == highest], full)
        if user is not None:
            return highest, user
        wanted = [*queued, _J.priority < highest]
    return None


def _highest(connection: Connection, queued: list[sa.ColumnElement[bool]]) -> int | None:
    return connection.execute(
        sa.select(_J.priority).where(*queued).order_by(_J.priority.desc()).limit(1)
    ).scalar()


def _least_served(
    connection: Connection, queued: list[sa.ColumnElement[bool]], full: list[str]
) -> str | None:
    # One step of the index for each user: a DISTINCT would read the whole queue.
    first = sa.select(sa.func.min(_J.user).label("user")).where(*queued)
    waiting = first.cte("waiting", recursive=True)
    after = sa.select(sa.func.min(_J.user)).where(*queued, _J.user > waiting.c.user)
    more = sa.select(after.correlate(waiting).scalar_subquery())
    users = waiting.union_all(more.where(waiting.c.user.is_not(None)))
    share = tables.share.c
    # Who was away has no claim to what others were given meanwhile.
    floor = _used(connection, [])[_VIRTUAL]
    used = sa.case((share.used > floor, share.used), else_=floor)
    wanted = sa.select(users.c.user).outerjoin_from(users, tables.share, share.user == users.c.user)
    wanted = wanted.where(users.c.user.is_not(None))
    if full:
        wanted = wanted.where(users.c.user.not_in(full))
    found = connection.execute(wanted.order_by(used, users.c.user).limit(1)).scalar()
    return None if found is None else str(found)


def _used(connection: Connection, users: list[str]) -> dict[str, float]:
    share = tables.share.c
    found = connection.execute(
        sa.select(share.user, share.used).where(share.user.in_([*users, _VIRTUAL]))
    )
    known = {row.user: float(row.used) for row in found}
    floor = known.get(_VIRTUAL, 0.0)
    return {user: max(known.get(user, 0.0), floor) for user in [*users, _VIRTUAL]}


def _charge(connection: Connection, user: str, seconds: float) -> None:
    used = _used(connection, [user])[user]
    table = tables.share
    for name, value in ((user, used + seconds), (_VIRTUAL, used)):
        done = connection.execute(sa.update(table).where(table.c.user == name).values(used=value))
        if not done.rowcount:
            connection.execute(sa.insert(table).values(user=name, used=value))


def _take(
    connection: Connection,
    now: float,
    row: sa.Row[*tuple[Any, ...]],
    worker: str,
    lease: float,
) -> list[Claim]:
    tenure = rows.tenure_of(row).claimed(now, lease)
    if tenure is None:
        return []
    connection.execute(
        sa.update(tables.job)
        .where(_J.id == row.id)
        .values(**rows.of_tenure(tenure), worker=worker, started=now)
    )
    payload = rows.read_json(
        connection.execute(
            sa.select(tables.job_body.c.payload).where(tables.job_body.c.job == row.id)
        ).scalar()
    )
    if not isinstance(payload, dict):
        dead_letter(
            connection, now, row.id, "damaged", "what it was to run is damaged in the store"
        )
        return []
    if row.state == JobState.QUEUED.value:
        _charge(connection, row.user, row.estimate or UNKNOWN_SECONDS)
    left = connection.execute(
        sa.select(tables.submission)
        .where(tables.submission.c.job == row.id)
        .order_by(tables.submission.c.at)
    ).all()
    job = connection.execute(sa.select(*rows.COLUMNS).where(_J.id == row.id)).one()
    tell(connection, now, row.id, "claimed", {"worker": worker, "fence": tenure.fence})
    return [
        Claim(
            rows.job_of(job),
            tenure.fence,
            payload,
            tuple(rows.submitted_of(each) for each in left),
        )
    ]
