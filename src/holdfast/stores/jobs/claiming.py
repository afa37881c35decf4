"""Who gets which job next.

In this order: what a worker left behind when it went away; the highest priority; among users the
one who was given the least (start-time fair queueing, counted in the seconds that jobs of a kind
are known to take); among a user's jobs the one that is due first, then the one that came first.
Who has as many jobs running as they may (see `room`) is passed over meanwhile.

Source: Goyal, Vin and Cheng, "Start-time fair queuing", 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.accepting import PRIORITY
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

# Statements are built once: to build one takes several times as long as to run it.
_NOW: sa.BindParameter[float] = sa.bindparam("now")
_ORDER: sa.BindParameter[str] = sa.bindparam("in_order")
_RANK: sa.BindParameter[int] = sa.bindparam("rank")
_OVERDUE = (
    sa.select(_J.id)
    .where(_J.state == JobState.QUEUED.value, _J.deadline.is_not(None), _J.deadline <= _NOW)
    .limit(100)
)
_ROWS = sa.select(*rows.COLUMNS, *_TENURE)
# Leases that have run out, or that end later than any could.
_LEFT = _ROWS.where(
    _J.state == JobState.RUNNING.value,
    sa.or_(
        _J.lease_until.is_(None), _J.lease_until <= _NOW, _J.lease_until > sa.bindparam("never")
    ),
)
_LEFT_OF_ALL = _LEFT.order_by(_J.number).limit(LOOKED_AT)
_LEFT_OF_ORDER = _LEFT.where(_J.order_id == _ORDER).order_by(_J.number).limit(LOOKED_AT)
_QUEUED = _J.state == JobState.QUEUED.value
_FREE = _J.user.not_in(sa.bindparam("full", expanding=True))
"""Not of those whose jobs have to wait; for statements of their own, since it is seldom needed."""
_IN_ORDER = (
    _ROWS.where(_QUEUED, _J.order_id == _ORDER).order_by(_J.priority.desc(), _J.number).limit(1)
)
_FIRST_OF_ORDER, _FIRST_FREE_OF_ORDER = _IN_ORDER, _IN_ORDER.where(_FREE)
_BELOW = sa.select(_J.priority).where(_QUEUED, _J.priority < _RANK)
_HIGHEST = _BELOW.order_by(_J.priority.desc()).limit(1)
_HIGHEST_FREE = _HIGHEST.where(_FREE)
_ABOVE_ALL = PRIORITY + 1
_OF_USER = _ROWS.where(_QUEUED, _J.priority == _RANK, _J.user == sa.bindparam("of_user"))
_FIRST_DUE = _OF_USER.where(_J.deadline.is_not(None)).order_by(_J.deadline, _J.number).limit(1)
_FIRST_COME = _OF_USER.order_by(_J.number).limit(1)
_PAUSE = sa.select(tables.setting.c.value).where(tables.setting.c.name == tables.PAUSED)
_SHARE = tables.share.c
_SHARES = sa.select(_SHARE.user, _SHARE.used).where(
    sa.or_(_SHARE.user == sa.bindparam("of_user"), _SHARE.user == _VIRTUAL)
)
_NEW_SHARE = (
    sa.update(tables.share)
    .where(_SHARE.user == sa.bindparam("of_user"))
    .values(used=sa.bindparam("new_used"))
)
_TAKEN = rows.changing("worker", "started")
_PAYLOAD = sa.select(tables.job_body.c.payload).where(tables.job_body.c.job == sa.bindparam("of"))
_SENT = (
    sa.select(tables.submission)
    .where(tables.submission.c.job == sa.bindparam("of"))
    .order_by(tables.submission.c.at)
)


def _least(*, free: bool) -> sa.Select[*tuple[Any, ...]]:
    # One step of the index for each user: a DISTINCT would read the whole queue.
    queued = (_QUEUED, _J.priority == _RANK)
    first = sa.select(sa.func.min(_J.user).label("user")).where(*queued)
    waiting = first.cte("waiting", recursive=True)
    after = sa.select(sa.func.min(_J.user)).where(*queued, _J.user > waiting.c.user)
    more = sa.select(after.correlate(waiting).scalar_subquery())
    users = waiting.union_all(more.where(waiting.c.user.is_not(None)))
    # Who was away has no claim to what others were given meanwhile.
    floor: sa.BindParameter[float] = sa.bindparam("floor")
    used = sa.case((_SHARE.used > floor, _SHARE.used), else_=floor)
    turn = (
        sa.select(users.c.user)
        .outerjoin_from(users, tables.share, _SHARE.user == users.c.user)
        .where(users.c.user.is_not(None))
        .order_by(used, users.c.user)
        .limit(1)
    )
    full: sa.BindParameter[Any] = sa.bindparam("full", expanding=True)
    return turn.where(users.c.user.not_in(full)) if free else turn


_LEAST, _LEAST_FREE = _least(free=False), _least(free=True)


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
    return rows.read_json(connection.execute(_PAUSE).scalar()) is not None


def _fail_overdue(connection: Connection, now: float) -> None:
    overdue = connection.execute(_OVERDUE, {"now": now}).scalars()
    for job in overdue.all():
        dead_letter(connection, now, job, "deadline", _TOO_LATE)


def _left_behind(
    connection: Connection, now: float, lease: float, order: str | None
) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    when = {"now": now, "never": now + 2 * lease}
    if order is None:
        return connection.execute(_LEFT_OF_ALL, when).all()
    return connection.execute(_LEFT_OF_ORDER, when | {"in_order": order}).all()


def _next(
    connection: Connection, order: str | None, full: list[str]
) -> sa.Row[*tuple[Any, ...]] | None:
    if order is not None:
        # An order is worked through by itself: one owner, first come first served.
        first = _FIRST_FREE_OF_ORDER if full else _FIRST_OF_ORDER
        return connection.execute(first, {"in_order": order} | _but(full)).first()
    turn = _turn(connection, full)
    if turn is None:
        return None
    theirs = {"rank": turn[0], "of_user": turn[1]}
    due = connection.execute(_FIRST_DUE, theirs).first()
    return due or connection.execute(_FIRST_COME, theirs).first()


def _turn(connection: Connection, full: list[str]) -> tuple[int, str] | None:
    """The highest priority at which somebody's job may be begun, and whose turn it is there."""
    floor, rank = _used(connection, _VIRTUAL)[1], _ABOVE_ALL
    for step in range(_STEPS + 1):
        if full and step == _STEPS:
            found = connection.execute(_HIGHEST_FREE, {"rank": rank, "full": full}).scalar()
        else:
            found = connection.execute(_HIGHEST, {"rank": rank}).scalar()
        if found is None:
            return None
        rank = int(found)
        least = _LEAST_FREE if full else _LEAST
        asked = {"rank": rank, "floor": floor} | _but(full)
        user = connection.execute(least, asked).scalar()
        if user is not None:
            return rank, str(user)
    return None


def _but(full: list[str]) -> dict[str, list[str]]:
    return {"full": full} if full else {}


def _used(connection: Connection, user: str) -> tuple[float, float]:
    """What a user was given, and the virtual time, which is the least that counts for anybody."""
    found = connection.execute(_SHARES, {"of_user": user})
    known = {row.user: float(row.used) for row in found}
    floor = known.get(_VIRTUAL, 0.0)
    return max(known.get(user, 0.0), floor), floor


def _charge(connection: Connection, user: str, seconds: float) -> None:
    used, _floor = _used(connection, user)
    for name, value in ((user, used + seconds), (_VIRTUAL, used)):
        done = connection.execute(_NEW_SHARE, {"of_user": name, "new_used": value})
        if not done.rowcount:
            connection.execute(sa.insert(tables.share), {"user": name, "used": value})


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
    connection.execute(_TAKEN, rows.changed(row.id, tenure, worker=worker, started=now))
    payload = rows.read_json(connection.execute(_PAYLOAD, {"of": row.id}).scalar())
    if not isinstance(payload, dict):
        dead_letter(
            connection, now, row.id, "damaged", "what it was to run is damaged in the store"
        )
        return []
    if row.state == JobState.QUEUED.value:
        _charge(connection, row.user, row.estimate or UNKNOWN_SECONDS)
    left = connection.execute(_SENT, {"of": row.id}).all()
    job = replace(
        rows.job_of(row),
        state=tenure.state,
        tries=tenure.tries,
        cancel=tenure.cancel,
        worker=worker,
        started=now,
    )
    tell(connection, now, row.id, "claimed", {"worker": worker, "fence": tenure.fence})
    return [
        Claim(
            job,
            tenure.fence,
            payload,
            tuple(rows.submitted_of(each) for each in left),
        )
    ]
