"""What of the job store a caller may see: their own jobs, page by page, as ComfyUI lists them.

Everything here blocks for as long as the database takes: call it in a thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from holdfast.comfyui.gateway.history import Record, is_in_history
from holdfast.ports import ambient
from holdfast.stores.jobs import opening, rows, tables
from holdfast.stores.jobs.records import JobState, StoredJob, StoreUnavailableError
from holdfast.stores.jobs.store import JobStore

_J = tables.job.c
_HOUR = 3_600.0
_OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of somebody's jobs."""

    jobs: list[StoredJob]
    total: int
    """How many there are on all pages."""


def open_jobs(store: JobStore, user: str | None) -> int:
    """How many jobs of a user, or of all for None, wait or run."""
    wanted = sa.select(sa.func.count()).select_from(tables.job).where(_J.state.in_(_OPEN))
    if user is not None:
        wanted = wanted.where(_J.user == user)
    return int(_scalar(store, wanted) or 0)


def has_key(store: JobStore, user: str, key: str) -> bool:
    """Whether a user's request came with this key before: then nothing new is asked for."""
    wanted = sa.select(_J.id).where(_J.user == user, _J.key == key).limit(1)
    return bool(key) and _scalar(store, wanted) is not None


def accepted_lately(store: JobStore, user: str) -> dict[int, int]:
    """How many jobs of a user were accepted so many whole minutes ago, in the last hour.

    Reads all jobs of the user, so it is not for every request.
    """
    now = ambient.wall()
    wanted = sa.select(_J.created).where(_J.user == user, _J.created > now - _HOUR)
    ages: Counter[int] = Counter()
    try:
        with store.engine.connect() as connection:
            # What a clock that was set back leaves in the future was accepted just now.
            found = connection.execution_options(yield_per=1_000).execute(wanted).scalars()
            created = (each for each in map(rows.moment, found) if each is not None)
            ages.update(max(0, int((now - each) / 60.0)) for each in created)
    except opening.TROUBLES as error:
        raise _trouble(store, error) from None
    return ages


def listing(
    store: JobStore,
    user: str,
    states: Collection[JobState],
    *,
    limit: int,
    offset: int = 0,
    oldest_first: bool = False,
    by_duration: bool = False,
) -> Listing:
    """A user's jobs in some states, without those that left no trace or were taken out.

    Args:
        store: where they are.
        user: whose.
        states: in which states.
        limit: how many at most.
        offset: how many to leave out first.
        oldest_first: or the newest.
        by_duration: sorted by how long they ran, and not by when they came.
    """
    conditions = (
        _J.user == user,
        _J.state.in_([each.value for each in states]),
        _J.hidden.is_(False),
        sa.or_(_J.state != JobState.CANCELLED.value, _J.started.is_not(None)),
    )
    key = sa.func.coalesce(_J.ended - _J.started, 0.0) if by_duration else _J.number
    order = key if oldest_first else key.desc()
    page = (
        sa.select(*rows.COLUMNS)
        .where(*conditions)
        .order_by(order, _J.number)
        .limit(limit)
        .offset(offset)
    )
    try:
        with store.engine.connect() as connection:
            jobs = [rows.job_of(row) for row in connection.execute(page)]
            total = offset + len(jobs)
            if len(jobs) == limit or not jobs:
                count = sa.select(sa.func.count()).where(*conditions)
                total = int(connection.execute(count).scalar_one())
    except opening.TROUBLES as error:
        raise _trouble(store, error) from None
    return Listing(jobs, total)


def find(store: JobStore, user: str, job_id: str) -> StoredJob | None:
    """A job of a user's; None if there is no such job, or it is somebody else's."""
    found = store.job(job_id)
    return found if found is not None and found.user == user else None


def finished(store: JobStore, user: str, job_id: str) -> Record | None:
    """A job of a user's that ended and is in the history."""
    found = find(store, user, job_id)
    if found is None or not is_in_history(found):
        return None
    hidden = _scalar(store, sa.select(_J.hidden).where(_J.id == job_id))
    return None if hidden else records(store, [found])[0]


def records(store: JobStore, jobs: Collection[StoredJob]) -> list[Record]:
    """The jobs with all that belongs to them; what is damaged is empty."""
    bodies = store.bodies([each.id for each in jobs])
    found = []
    for each in jobs:
        payload, outcome = bodies.get(each.id, (None, None))
        found.append(
            Record(
                each,
                payload if isinstance(payload, dict) else {},
                outcome if isinstance(outcome, dict) else {},
            )
        )
    return found


def _scalar(store: JobStore, wanted: sa.Select[Any]) -> Any:
    try:
        with store.engine.connect() as connection:
            return connection.execute(wanted).scalar()
    except opening.TROUBLES as error:
        raise _trouble(store, error) from None


def _trouble(store: JobStore, error: BaseException) -> StoreUnavailableError:
    return StoreUnavailableError(f"job store {store.shown}: {type(error).__name__}")
