"""What can be asked of a job store. Lists never load what jobs carry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.records import JobEvent, JobFile, StoredJob, Submitted, Upload

_J = tables.job.c
LONGEST = 10_000
"""Jobs of one list, at most."""


def job(connection: Connection, job_id: str) -> StoredJob | None:
    """One job."""
    row = connection.execute(rows.JOB, {"of": job_id}).first()
    return None if row is None else rows.job_of(row)


def jobs(
    connection: Connection,
    *,
    states: Collection[JobState] | None,
    user: str | None,
    order: str | None,
    search: str,
    limit: int,
    before: int | None,
    newest_first: bool,
    hidden: bool,
) -> list[StoredJob]:
    """Jobs, page by page."""
    wanted = sa.select(*rows.COLUMNS)
    if states is not None:
        wanted = wanted.where(_J.state.in_([JobState(each).value for each in states]))
    if user is not None:
        wanted = wanted.where(_J.user == user)
    if order is not None:
        wanted = wanted.where(_J.order_id == order)
    if not hidden:
        wanted = wanted.where(_J.hidden.is_(False))
    if search:
        fields = (_J.id, _J.name, _J.prompt, _J.seed, _J.model, _J.summary, _J.order_id)
        wanted = wanted.where(sa.or_(*(each.icontains(search, autoescape=True) for each in fields)))
    if before is not None:
        wanted = wanted.where(_J.number < before if newest_first else _J.number > before)
    wanted = wanted.order_by(_J.number.desc() if newest_first else _J.number)
    return [rows.job_of(row) for row in connection.execute(wanted.limit(min(limit, LONGEST)))]


def ended_since(connection: Connection, since: float, limit: int) -> list[StoredJob]:
    """Jobs that have ended since, the oldest end first."""
    ended = [each.value for each in JobState if each.ended]
    wanted = sa.select(*rows.COLUMNS).where(_J.state.in_(ended), _J.ended >= since)
    return [rows.job_of(row) for row in connection.execute(wanted.order_by(_J.ended).limit(limit))]


def counts(connection: Connection, user: str | None, order: str | None) -> dict[JobState, int]:
    """How many jobs there are in each state."""
    wanted = sa.select(_J.state, sa.func.count()).group_by(_J.state)
    if user is not None:
        wanted = wanted.where(_J.user == user)
    if order is not None:
        wanted = wanted.where(_J.order_id == order)
    found = dict.fromkeys(JobState, 0)
    for state, count in connection.execute(wanted):
        found[rows.state_of(state)] += count
    return found


def body(connection: Connection, job_id: str, column: str) -> Any:
    """The payload or the outcome of a job; None if there is none, or it is damaged."""
    found = connection.execute(
        sa.select(tables.job_body.c[column]).where(tables.job_body.c.job == job_id)
    ).scalar()
    return rows.read_json(found)


def bodies(connection: Connection, job_ids: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Payload and outcome of several jobs."""
    table = tables.job_body
    listed = {}
    for some in rows.chunks(list(job_ids)):
        for row in connection.execute(sa.select(table).where(table.c.job.in_(some))):
            listed[row.job] = (rows.read_json(row.payload), rows.read_json(row.outcome))
    return listed


def files(connection: Connection, job_id: str) -> list[JobFile]:
    """The files of a job, in their order."""
    table = tables.job_file
    found = connection.execute(
        sa.select(table).where(table.c.job == job_id).order_by(table.c.position)
    )
    return [rows.file_of(row) for row in found]


def find_file(
    connection: Connection, filename: str, subfolder: str, type_: str, user: str | None
) -> JobFile | None:
    """The file of that name."""
    file = tables.job_file.c
    wanted = sa.select(tables.job_file).where(
        file.filename == filename, file.subfolder == subfolder, file.type == type_
    )
    if user is not None:
        wanted = wanted.where(file.user == user)
    row = connection.execute(wanted.limit(1)).first()
    return None if row is None else rows.file_of(row)


def find_upload(
    connection: Connection, user: str, filename: str, subfolder: str, type_: str
) -> Upload | None:
    """A file that a user sent."""
    table = tables.upload
    row = connection.execute(
        sa.select(table).where(
            table.c.user == user,
            table.c.filename == filename,
            table.c.subfolder == subfolder,
            table.c.type == type_,
        )
    ).first()
    if row is None:
        return None
    return Upload(row.user, row.type, row.subfolder, row.filename, row.sha256, row.size, row.at)


def uploads(connection: Connection, user: str, limit: int) -> list[Upload]:
    """The files that a user sent, the newest first."""
    table = tables.upload
    found = connection.execute(
        sa.select(table).where(table.c.user == user).order_by(table.c.at.desc()).limit(limit)
    )
    return [
        Upload(row.user, row.type, row.subfolder, row.filename, row.sha256, row.size, row.at)
        for row in found
    ]


def story(connection: Connection, job_id: str) -> list[JobEvent]:
    """What happened to a job."""
    table = tables.job_event
    found = connection.execute(sa.select(table).where(table.c.job == job_id).order_by(table.c.seq))
    return [rows.event_of(row) for row in found]


def submissions(connection: Connection, job_id: str) -> list[Submitted]:
    """What may be on servers of a job."""
    table = tables.submission
    found = connection.execute(sa.select(table).where(table.c.job == job_id).order_by(table.c.at))
    return [rows.submitted_of(row) for row in found]


def setting(connection: Connection, name: str) -> Any:
    """A setting; None if it was never set."""
    found = connection.execute(
        sa.select(tables.setting.c.value).where(tables.setting.c.name == name)
    ).scalar()
    return rows.read_json(found)


def eta(connection: Connection, order: str | None, unknown: float) -> float | None:
    """Seconds until all that waits and runs is done, at the present number of jobs at a time."""
    wanted = sa.select(
        _J.state, sa.func.count(), sa.func.sum(sa.func.coalesce(_J.estimate, unknown))
    ).where(_J.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]))
    if order is not None:
        wanted = wanted.where(_J.order_id == order)
    waiting, running, seconds = 0, 0, 0.0
    for state, count, total in connection.execute(wanted.group_by(_J.state)):
        seconds += float(total)
        if state == JobState.RUNNING.value:
            running = count
        else:
            waiting = count
    if not waiting + running:
        return 0.0
    return seconds / running if running else None


def typical(connection: Connection) -> float | None:
    """Seconds a job takes, over all kinds that are known; None if none is."""
    pace = tables.pace.c
    found = connection.execute(
        sa.select(sa.func.sum(pace.mean * pace.count), sa.func.sum(pace.count))
    ).one()
    return float(found[0]) / float(found[1]) if found[1] else None


def used_blobs(connection: Connection, digests: Collection[str]) -> set[str]:
    """Which of these contents something refers to."""
    found: set[str] = set()
    for column in (tables.job_file.c.sha256, tables.upload.c.sha256):
        for some in rows.chunks(list(digests)):
            found.update(connection.execute(sa.select(column).where(column.in_(some))).scalars())
    return found
