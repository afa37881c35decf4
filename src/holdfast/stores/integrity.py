"""Whether a job store and its files are what they say: what is missing, damaged, or too much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, StoreUnavailableError, opening, tables
from holdfast.stores.tidying import inputs_needed
from holdfast.stores.trouble import words

_PAGE = 1_000
_STATES = frozenset(JobState)


class Trouble(StrEnum):
    """What is wrong."""

    DATABASE = "database"
    """The database file itself is damaged."""
    ROW = "row"
    """What a job carries cannot be read."""
    MISSING = "missing"
    """A job refers to a file that is not there."""
    DAMAGED = "damaged"
    """A file is not what it was."""
    EXTRA = "extra"
    """Nothing refers to a file. That is no harm; `holdfast.stores.tidying` removes it in time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    trouble: Trouble
    words: str
    job: str = ""
    sha256: str = ""
    size: int = 0
    """Bytes of the file, where there is one."""

    @property
    def harmless(self) -> bool:
        """Whether nothing is lost by it."""
        return self.trouble is Trouble.EXTRA


def examine(store: JobStore, blobs: BlobStore) -> Iterator[Finding]:
    """Read everything that is kept, and tell what is wrong, one by one.

    Jobs may go on meanwhile: a file that comes in while this runs is not told.

    Raises:
        StoreUnavailableError: the store cannot be read now.
    """
    yield from _database(store)
    yield from _rows(store)
    # Files first and then what refers to them: what is new by then is never called extra.
    damaged = {each.sha256: each for each in blobs.check()}
    there = set(blobs.all())
    used: set[str] = set()
    for job, name, digest in _references(store):
        used.add(digest)
        if digest in damaged:
            bad = damaged[digest]
            yield Finding(Trouble.DAMAGED, f"{name}: {bad.why}", job, digest, bad.size)
        elif digest not in there and _missing(blobs, digest):
            yield Finding(Trouble.MISSING, f"{name}: the file is missing", job, digest)
    for digest in sorted(there - used):
        path = blobs.path(digest)
        if path is None or store.used_blobs([digest]):
            continue
        size = path.stat().st_size
        yield Finding(Trouble.EXTRA, "nothing refers to it", sha256=digest, size=size)


def _missing(blobs: BlobStore, digest: str) -> bool:
    plain = len(digest) == 64 and not set(digest) - set("0123456789abcdef")
    return not plain or blobs.path(digest) is None


def _database(store: JobStore) -> Iterator[Finding]:
    if store.engine.dialect.name != "sqlite":
        return
    for (line,) in _all(store, sa.text("PRAGMA integrity_check(20)")):
        if line != "ok":
            yield Finding(Trouble.DATABASE, str(line))


def _rows(store: JobStore) -> Iterator[Finding]:
    """Jobs whose payload or outcome is missing or no JSON object, and states that are none."""
    job, body = tables.job.c, tables.job_body.c
    after = -1
    while True:
        page = _all(
            store,
            sa.select(job.number, job.id, job.state, body.payload, body.outcome)
            .join(tables.job_body, body.job == job.id, isouter=True)
            .where(job.number > after)
            .order_by(job.number)
            .limit(_PAGE // 10),
        )
        for _number, name, state, payload, outcome in page:
            if state not in _STATES:
                yield Finding(Trouble.ROW, f"its state is {str(state)!r:.40}, which is none", name)
            if not _is_object(payload):
                yield Finding(Trouble.ROW, "what it carries cannot be read", name)
            ended = state in _STATES and JobState(state).ended
            if ended and not _is_object(outcome):
                yield Finding(Trouble.ROW, "how it ended cannot be read", name)
        if not page:
            return
        after = page[-1][0]


def _references(store: JobStore) -> Iterator[tuple[str, str, str]]:
    """What jobs and uploads refer to: (job's id, what it is called, SHA-256)."""
    file, upload = tables.job_file.c, tables.upload.c
    after: tuple[str, int] = ("", -1)
    while True:
        page = _all(
            store,
            sa.select(file.job, file.position, file.filename, file.sha256)
            .where(sa.tuple_(file.job, file.position) > sa.tuple_(*after))
            .order_by(file.job, file.position)
            .limit(_PAGE),
        )
        for job, _position, filename, digest in page:
            yield job, filename, digest
        if not page:
            break
        after = (page[-1][0], page[-1][1])
    yield from inputs_needed(store)
    for filename, digest in _all(store, sa.select(upload.filename, upload.sha256)):
        yield "", f"upload {filename}", digest


def _is_object(text: object) -> bool:
    try:
        return isinstance(text, str) and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _all(store: JobStore, wanted: sa.Executable) -> list[sa.Row[*tuple]]:  # type: ignore[type-arg]
    try:
        with store.engine.connect() as connection:
            return list(connection.execute(wanted).all())
    except opening.TROUBLES as error:
        raise StoreUnavailableError(f"job store {store.shown}: {words(error)}") from None
