"""What is kept of ended jobs and for how long, and which files may go.

Laws:

- A file goes only if nothing refers to it: no job's file, no upload, and no input of a job that
  may still run, dead letters included.
- A file that was brought in or used within the grace stays, whatever refers to it: its job may
  be about to be accepted or settled. Whoever is going to refer to a file touches it first, so a
  file is put aside, looked at once more, and put back if it was touched meanwhile.
- A process that is killed in between loses nothing: what was put aside is put back the next time.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, StoreUnavailableError, opening, tables
from holdfast.stores.trouble import words

DAY = 86_400.0
_PAGE = 500
_ASIDE = ".going"
_J = tables.job.c


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what is kept. None for ever, or without limit.

    Raises:
        BadInputError: a value is none.
    """

    seconds: float | None = 30 * DAY
    """Jobs that were delivered or cancelled, after their end."""
    dead_seconds: float | None = 180 * DAY
    """Dead letters, after their end."""
    max_bytes: int | None = None
    """Of the files of all jobs; beyond that, delivered jobs are forgotten, the oldest first."""
    grace_seconds: float = DAY
    """A file that nothing refers to, after it was last used."""

    def __post_init__(self) -> None:
        for name in ("seconds", "dead_seconds"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), at_least=0, unit="seconds")
        checks.number("grace_seconds", self.grace_seconds, at_least=0, unit="seconds")
        if self.max_bytes is not None:
            checks.whole("max_bytes", self.max_bytes, at_least=0)


@dataclass(frozen=True, slots=True)
class Tidied:
    """What has gone."""

    jobs: int
    files: int
    bytes: int


def tidy(store: JobStore, blobs: BlobStore, keep: Keep) -> Tidied:
    """Forget old jobs, and files that nothing refers to.

    Raises:
        StoreUnavailableError: the store cannot be read or written now.
    """
    _put_back(blobs)
    now, jobs = ambient.wall(), 0
    if keep.seconds is not None:
        states = (JobState.DELIVERED, JobState.CANCELLED)
        jobs += _purge(store, now - keep.seconds, states)
    if keep.dead_seconds is not None:
        jobs += _purge(store, now - keep.dead_seconds, (JobState.FAILED,))
    if keep.max_bytes is not None:
        jobs += _shrink(store, keep.max_bytes)
    files, freed = _collect(store, blobs, now - keep.grace_seconds)
    return Tidied(jobs, files, freed)


def inputs_needed(store: JobStore) -> Iterator[tuple[str, str, str]]:
    """The contents that jobs load which may still run: (job's id, ``node.input``, SHA-256).

    Raises:
        StoreUnavailableError: the store cannot be read now.
    """
    body = tables.job_body.c
    after = ""
    while True:
        wanted = (
            sa.select(body.job, body.payload)
            .join(tables.job, _J.id == body.job)
            .where(
                body.job > after,
                _J.state != JobState.DELIVERED.value,
                body.payload.contains('"files":{"'),
            )
            .order_by(body.job)
            .limit(_PAGE)
        )
        page = _rows(store, wanted)
        for job, payload in page:
            try:
                files = json.loads(payload).get("files")
            except (ValueError, AttributeError, RecursionError):
                continue
            for key, digest in files.items() if isinstance(files, dict) else ():
                if isinstance(digest, str):
                    yield job, str(key), digest
        if len(page) < _PAGE:
            return
        after = page[-1][0]


# Jobs ---------------------------------------------------------------------------------------


def _purge(store: JobStore, before: float, states: Collection[JobState]) -> int:
    gone = 0
    while count := store.purge(before, states).result():
        gone += count
    return gone


def _shrink(store: JobStore, most: int) -> int:
    """Forget delivered jobs, the oldest first, until the files of the others fit."""
    file = tables.job_file.c
    each = sa.select(sa.func.max(file.size).label("size")).group_by(file.sha256).subquery()
    oldest = (
        sa.select(_J.ended, sa.func.sum(file.size))
        .join(tables.job_file, file.job == _J.id)
        .where(_J.state == JobState.DELIVERED.value, _J.ended.is_not(None))
        .group_by(_J.id, _J.ended)
        .order_by(_J.ended)
        .limit(_PAGE)
    )
    gone = 0
    while True:
        excess = int(_rows(store, sa.select(sa.func.sum(each.c.size)))[0][0] or 0) - most
        page = _rows(store, oldest) if excess > 0 else []
        if not page:
            return gone
        until = page[0][0]
        for ended, size in page:
            until = ended
            # What jobs share is counted for each, so this errs to the side of keeping.
            excess -= int(size)
            if excess <= 0:
                break
        gone += _purge(store, math.nextafter(until, math.inf), (JobState.DELIVERED,))


# Files --------------------------------------------------------------------------------------


def _collect(store: JobStore, blobs: BlobStore, before: float) -> tuple[int, int]:
    needed = {digest for _job, _key, digest in inputs_needed(store)}
    everything = blobs.all()
    files = freed = 0
    while group := list(islice(everything, _PAGE)):
        used = store.used_blobs(group) | needed
        for digest in group:
            if digest not in used:
                size = _remove(blobs, digest, before)
                files += size is not None
                freed += size or 0
    return files, freed


def _remove(blobs: BlobStore, digest: str, before: float) -> int | None:
    """Remove a file that was last used before ``before``; its size, or None if it stays."""
    place = blobs.path(digest)
    if place is None:
        return None
    aside = blobs.staging() / f"{digest}{_ASIDE}"
    try:
        if place.stat().st_mtime > before:
            return None
        place.replace(aside)
        found = aside.stat()
        if found.st_mtime > before:
            aside.replace(place)
            return None
        aside.unlink()
    except FileNotFoundError:
        return None
    return found.st_size


def _put_back(blobs: BlobStore) -> None:
    """What a process had put aside when it was killed."""
    for aside in blobs.staging().glob(f"*{_ASIDE}"):
        digest = aside.name.removesuffix(_ASIDE)
        place = blobs.folder / digest[:2] / digest
        # Another process may be at it just now.
        with contextlib.suppress(FileNotFoundError):
            if len(digest) == 64 and place.parent.is_dir() and not place.exists():
                aside.replace(place)
            else:
                aside.unlink()


def _rows(store: JobStore, wanted: sa.Select[*tuple[object, ...]]) -> list[sa.Row[*tuple]]:  # type: ignore[type-arg]
    try:
        with store.engine.connect() as connection:
            return list(connection.execute(wanted).all())
    except opening.TROUBLES as error:
        raise StoreUnavailableError(f"job store {store.shown}: {words(error)}") from None
