"""Accepting jobs: checked, counted against the limits, numbered and written."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.errors import BadInputError
from holdfast.machines.tenure import JobState
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.counters import take_numbers
from holdfast.stores.jobs.records import NewJob, QueueFullError, StoredJob
from holdfast.stores.jobs.story import begin

_J = tables.job.c
OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)
AT_ONCE = 500
"""Jobs of a great order that are in memory together."""
PRIORITY = 1_000_000
"""The highest there is."""
LAST_MOMENT = 1e15
"""Seconds since 1970; what lies beyond is a mistake."""
RECOUNT_SECONDS = 1.0
"""How old a count of the queue may be."""
_NEW_JOBS, _NEW_BODIES = sa.insert(tables.job), sa.insert(tables.job_body)


class KeyReusedError(BadInputError):
    """A key that was given to one request came with another."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that was checked, as rows."""

    job: dict[str, Any]
    payload: str
    chosen: bool = True
    """Whether the caller chose the id; one that was made here is in nobody's hands."""
    submitted: str = ""
    """What tells the request that brought it from others, as the gateway's payloads say. Rows of a
    sweep have none: for them the key alone decides, so that a sweep may grow."""


def prepare(new: NewJob) -> Prepared:
    """Check a job before it takes anybody's time.

    Raises:
        BadInputError: naming the field, its value and what is right.
    """
    given: object = new.payload
    if not isinstance(given, dict):
        raise BadInputError(f"payload must be a dict, got {type(given).__name__}")
    check_priority(new.priority)
    if new.deadline is not None and not _is_moment(new.deadline):
        raise BadInputError(f"deadline must be seconds since 1970, got {new.deadline!r:.100}")
    for field_name in ("prompt", "seed", "model"):
        if not isinstance(getattr(new, field_name), str):
            raise BadInputError(
                f"{field_name} must be a text, got {getattr(new, field_name)!r:.100}"
            )
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
    return Prepared(row, payload, bool(new.id), _submitted(new.payload))


def _submitted(payload: object) -> str:
    found = payload.get("submitted") if isinstance(payload, dict) else None
    return found if isinstance(found, str) else ""


def check_priority(priority: object) -> None:
    """Refuse what no column holds.

    Raises:
        BadInputError: it is no whole number, or too large.
    """
    whole = priority if isinstance(priority, int) and not isinstance(priority, bool) else None
    if whole is None or abs(whole) > PRIORITY:
        raise BadInputError(
            f"priority must be a whole number from -{PRIORITY} to {PRIORITY}, got {priority!r:.100}"
        )


def _is_moment(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < LAST_MOMENT


@dataclass(slots=True)
class Census:
    """How many jobs wait or run, counted now and then. Belongs to the writing thread."""

    max_queued: int
    max_per_user: int | None
    _all: tuple[float, int] | None = None
    _users: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, connection: Connection, now: float, more: Mapping[str, int]) -> None:
        """Count jobs in, by user. Nobody is refused because of an old count.

        Raises:
            QueueFullError: there is no room for them; none is counted.
        """
        if self._refusal(connection, now, more):
            self.forget()
            refusal = self._refusal(connection, now, more)
            if refusal:
                raise QueueFullError(refusal, retry_after=5.0)
        here = self._total(connection, now)
        self._all = (self._all[0] if self._all else now, here + sum(more.values()))
        for user, count in more.items():
            if user in self._users:
                at, own = self._users[user]
                self._users[user] = (at, own + count)

    def forget(self) -> None:
        """Count anew when next asked."""
        self._all = None
        self._users.clear()

    def _refusal(self, connection: Connection, now: float, more: Mapping[str, int]) -> str:
        here = self._total(connection, now)
        if here + sum(more.values()) > self.max_queued:
            return f"the queue holds {here} jobs, and at most {self.max_queued} may wait"
        most = self.max_per_user
        for user, count in more.items() if most is not None else ():
            own = self._of(connection, now, user)
            if most is not None and own + count > most:
                return f"{own} jobs of this user wait or run already, and at most {most} may"
        return ""

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
        KeyReusedError: a key was used for another request.
        BadInputError: an id belongs to another job.
        QueueFullError: there is no room; none of them is accepted.
    """
    there = _there(connection, prepared)
    fresh: dict[str, Prepared] = {}
    ids: list[str] = []
    for each in prepared:
        known = there.same(each)
        if known is None:
            there.add(each)
            fresh[each.job["id"]] = each
        ids.append(known or each.job["id"])
    if fresh:
        census.admit(connection, now, Counter(each.job["user"] for each in fresh.values()))
    listed = _write(connection, now, list(fresh.values())) if fresh else {}
    for some in rows.chunks([each for each in set(ids) if each not in listed]):
        for row in connection.execute(sa.select(*rows.COLUMNS).where(_J.id.in_(some))):
            listed[row.id] = rows.job_of(row)
    return tuple(listed[each] for each in ids)


def accept_all(
    connection: Connection, now: float, jobs: Iterable[NewJob], census: Census
) -> tuple[StoredJob, ...]:
    """As `accept`, for so many jobs that they are not held in memory together.

    Raises:
        Exception: as `accept` and `prepare`, and whatever ``jobs`` raises; the transaction is to be
            taken back.
    """
    taken: list[StoredJob] = []
    left = iter(jobs)
    try:
        while some := [prepare(each) for each in islice(left, AT_ONCE)]:
            taken += accept(connection, now, some, census)
    except BaseException:
        census.forget()
        raise
    return tuple(taken)


@dataclass(slots=True)
class _Known:
    """Jobs that are there, by key and by id."""

    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    ids: dict[str, tuple[str, str]] = field(default_factory=dict)
    """User and payload."""
    requests: dict[str, str] = field(default_factory=dict)
    """What tells the request of a job that was found by its key from others, by id."""

    def same(self, prepared: Prepared) -> str | None:
        """The id of a job that this one is already."""
        row = prepared.job
        if row["key"] and (row["user"], row["key"]) in self.keys:
            found = self.keys[row["user"], row["key"]]
            before = self.requests.get(found, "")
            if before and prepared.submitted and before != prepared.submitted:
                raise KeyReusedError(
                    f"key {row['key']!r:.100} was used for another request; take another one"
                )
            return found
        held = self.ids.get(row["id"])
        if held is None:
            return None
        if held == (row["user"], prepared.payload):
            return str(row["id"])
        raise BadInputError(f"id {row['id']!r} belongs to another job; take another one")

    def add(self, prepared: Prepared) -> None:
        """Its like may come once more in the same breath."""
        row = prepared.job
        if row["key"]:
            self.keys[row["user"], row["key"]] = row["id"]
            self.requests[row["id"]] = prepared.submitted
        self.ids[row["id"]] = (row["user"], prepared.payload)


def _there(connection: Connection, prepared: Sequence[Prepared]) -> _Known:
    known = _Known()
    by_user: dict[str, list[str]] = {}
    for each in prepared:
        if each.job["key"]:
            by_user.setdefault(each.job["user"], []).append(each.job["key"])
    for user, keys in by_user.items():
        for some in rows.chunks(keys):
            wanted = sa.select(_J.key, _J.id).where(_J.user == user, _J.key.in_(some))
            for row in connection.execute(wanted):
                known.keys[user, row.key] = row.id
    body = tables.job_body.c
    # Only where a request may differ: the rows of a sweep are not read for it.
    asked = {
        known.keys[at]
        for each in prepared
        if each.submitted and (at := (each.job["user"], each.job["key"])) in known.keys
    }
    for some in rows.chunks(sorted(asked)):
        wanted_bodies = sa.select(body.job, body.payload).where(body.job.in_(some))
        for job, payload in connection.execute(wanted_bodies):
            known.requests[job] = _submitted(rows.read_json(payload))
    held = sa.select(_J.id, _J.user, body.payload).join(tables.job_body, body.job == _J.id)
    for some in rows.chunks([each.job["id"] for each in prepared if each.chosen]):
        for job, user, payload in connection.execute(held.where(_J.id.in_(some))):
            known.ids[job] = (user, payload)
    return known


def _write(connection: Connection, now: float, fresh: Sequence[Prepared]) -> dict[str, StoredJob]:
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
    connection.execute(_NEW_JOBS, made)
    connection.execute(
        _NEW_BODIES,
        [{"job": each.job["id"], "payload": each.payload, "outcome": None} for each in fresh],
    )
    begin(
        connection, now, {each["id"]: {"user": each["user"], "name": each["name"]} for each in made}
    )
    return {each["id"]: rows.job_of_values(each) for each in made}


def _paces(connection: Connection, signatures: set[str]) -> dict[str, float]:
    pace, found = tables.pace.c, {}
    for some in rows.chunks(sorted(signatures - {""})):
        wanted = sa.select(pace.signature, pace.mean).where(pace.signature.in_(some))
        found.update({row.signature: float(row.mean) for row in connection.execute(wanted)})
    return found
