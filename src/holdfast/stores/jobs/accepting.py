"""Accepting jobs: checked, counted against the limits, numbered and written."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError
from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.counters import take_numbers
from holdfast.stores.jobs.records import NewJob, QueueFullError, StoredJob
from holdfast.stores.jobs.story import tell

_J = tables.job.c
OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)
RECOUNT_SECONDS = 1.0
"""How old a count of the queue may be."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that was checked, as rows."""

    job: dict[str, Any]
    payload: str


def prepare(new: NewJob) -> Prepared:
    """Check a job before it takes anybody's time.

    Raises:
        BadInputError: naming the field, its value and what is right.
    """
    if not isinstance(new.payload, dict):
        raise BadInputError(f"payload must be a dict, got {type(new.payload).__name__}")
    if not isinstance(new.priority, int) or abs(new.priority) > 1_000_000:
        raise BadInputError(f"priority must be a whole number up to 1000000, got {new.priority!r}")
    if new.deadline is not None and not math.isfinite(new.deadline):
        raise BadInputError(f"deadline must be seconds since 1970, got {new.deadline!r}")
    names = {
        "name": new.name, "key": new.key, "user": new.user, "order": new.order, "id": new.id,
        "signature": new.signature, "client_id": new.client_id,
    }  # fmt: skip
    for field_name, value in names.items():
        rows.label(field_name, value)
    payload = rows.to_json("payload", new.payload)
    row = {
        "id": new.id or str(uuid.uuid4()),
        "name": new.name,
        "key": new.key,
        "user": new.user,
        "order_id": new.order,
        "state": JobState.QUEUED.value,
        "priority": new.priority,
        "deadline": new.deadline,
        "signature": new.signature,
        "client_id": new.client_id,
        "prompt": rows.told(new.prompt, rows.PROMPT),
        "seed": rows.told(new.seed, tables.NAME),
        "model": rows.told(new.model, tables.NAME),
        "started": None,
        "ended": None,
        "tries": 0,
        "worker": "",
        "fence": 0,
        "lease_until": None,
        "cancel": False,
        "hidden": False,
        "estimate": None,
        "summary": "",
    }
    return Prepared(row, payload)


@dataclass(slots=True)
class Census:
    """How many jobs wait or run, counted now and then. Belongs to the writing thread."""

    max_queued: int
    max_per_user: int | None
    _all: tuple[float, int] | None = None
    _users: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, connection: Connection, now: float, user: str, more: int) -> None:
        """Count ``more`` jobs in.

        Raises:
            QueueFullError: there is no room for them.
        """
        here = self._total(connection, now)
        if here + more > self.max_queued:
            raise QueueFullError(
                f"the queue holds {here} jobs, and at most {self.max_queued} may wait",
                retry_after=5.0,
            )
        if self.max_per_user is not None:
            own = self._of(connection, now, user)
            if own + more > self.max_per_user:
                raise QueueFullError(
                    f"{own} jobs of this user wait or run already, and at most "
                    f"{self.max_per_user} may",
                    retry_after=5.0,
                )
            self._users[user] = (self._users[user][0], own + more)
        self._all = (self._all[0] if self._all else now, here + more)

    def _total(self, connection: Connection, now: float) -> int:
        if self._all is None or abs(now - self._all[0]) > RECOUNT_SECONDS:
            found = connection.execute(
                sa.select(sa.func.count()).select_from(tables.job).where(_J.state.in_(OPEN))
            ).scalar_one()
            self._all = (now, int(found))
        return self._all[1]

    def _of(self, connection: Connection, now: float, user: str) -> int:
        known = self._users.get(user)
        if known is None or abs(now - known[0]) > RECOUNT_SECONDS:
            if len(self._users) > 10_000:
                self._users.clear()
            found = connection.execute(
                sa.select(sa.func.count())
                .select_from(tables.job)
                .where(_J.user == user, _J.state.in_(OPEN))
            ).scalar_one()
            known = self._users[user] = (now, int(found))
        return known[1]


def accept(
    connection: Connection, now: float, prepared: Sequence[Prepared], census: Census
) -> tuple[StoredJob, ...]:
    """Write jobs; those that are there already come back as they are.

    Raises:
        BadInputError: an id belongs to another job.
        QueueFullError: there is no room; none of them is accepted.
    """
    found = [_there(connection, each) for each in prepared]
    fresh: list[Prepared] = []
    for each, there in zip(prepared, found, strict=True):
        if there is None:
            fresh.append(each)
    by_user: dict[str, int] = {}
    for each in fresh:
        by_user[each.job["user"]] = by_user.get(each.job["user"], 0) + 1
    for user, more in by_user.items():
        census.admit(connection, now, user, more)
    if fresh:
        _write(connection, now, fresh)
    ids = [
        each.job["id"] if there is None else there
        for each, there in zip(prepared, found, strict=True)
    ]
    listed = {
        row.id: rows.job_of(row)
        for row in connection.execute(sa.select(*rows.COLUMNS).where(_J.id.in_(set(ids))))
    }
    return tuple(listed[each] for each in ids)


def _there(connection: Connection, prepared: Prepared) -> str | None:
    """The id of a job that this one is already."""
    row = prepared.job
    if row["key"]:
        same = connection.execute(
            sa.select(_J.id).where(_J.user == row["user"], _J.key == row["key"])
        ).scalar()
        if same is not None:
            return str(same)
    held = connection.execute(
        sa.select(_J.user, tables.job_body.c.payload)
        .join(tables.job_body, tables.job_body.c.job == _J.id)
        .where(_J.id == row["id"])
    ).first()
    if held is None:
        return None
    if held.user == row["user"] and held.payload == prepared.payload:
        return str(row["id"])
    raise BadInputError(f"id {row['id']!r} belongs to another job; take another one")


def _write(connection: Connection, now: float, fresh: Sequence[Prepared]) -> None:
    first = take_numbers(connection, "job", len(fresh))
    paces = _paces(connection, {each.job["signature"] for each in fresh})
    made = [
        each.job
        | {
            "number": first + place,
            "created": now,
            "estimate": paces.get(each.job["signature"]),
        }
        for place, each in enumerate(fresh)
    ]
    connection.execute(sa.insert(tables.job), made)
    connection.execute(
        sa.insert(tables.job_body),
        [{"job": each.job["id"], "payload": each.payload, "outcome": None} for each in fresh],
    )
    for each in made:
        tell(connection, now, each["id"], "accepted", {"user": each["user"], "name": each["name"]})


def _paces(connection: Connection, signatures: set[str]) -> dict[str, float]:
    known = signatures - {""}
    if not known:
        return {}
    found = connection.execute(
        sa.select(tables.pace.c.signature, tables.pace.c.mean).where(
            tables.pace.c.signature.in_(known)
        )
    )
    return {row.signature: float(row.mean) for row in found}
