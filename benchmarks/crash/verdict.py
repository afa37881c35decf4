"""After the killing: is everything there that was promised, once, and whole?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from PIL import Image

from holdfast.stores.blobs import BlobStore, digest_of
from holdfast.stores.jobs import JobState, JobStore, tables


@dataclass(slots=True)
class Verdict:
    """What was found."""

    states: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    """Jobs that were found again on a server, and not run twice."""
    retaken: int = 0
    """Jobs that more than one worker had."""
    failures: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def judge(store: JobStore, blobs: BlobStore, accepted: Mapping[str, int]) -> Verdict:
    """Compare the store with what clients were promised.

    Args:
        store: the jobs, all of which should have ended.
        blobs: their files.
        accepted: the seed of each job that was answered with 200.
    """
    found = Verdict()
    for job_id, seed in accepted.items():
        found.wrong += _judge_job(store, blobs, job_id, seed, found)
    found.wrong += _judge_whole(store)
    if not found.states[JobState.DELIVERED.value]:
        found.wrong.append("nothing was delivered: the test has shown nothing")
    return found


def _judge_job(
    store: JobStore, blobs: BlobStore, job_id: str, seed: int, found: Verdict
) -> Iterator[str]:
    job = store.job(job_id)
    if job is None:
        yield f"{job_id}: accepted, and lost"
        return
    found.states[job.state.value] += 1
    if not job.state.ended:
        yield f"{job_id}: still {job.state.value}"
        return
    kinds = Counter(each.kind for each in store.story(job_id))
    found.joined += kinds["joined"] > 0
    found.retaken += kinds["claimed"] > 1
    ends = kinds["delivered"] + kinds["failed"] + kinds["cancelled"]
    if ends != 1:
        yield f"{job_id}: ended {ends} times"
    if job.state is JobState.FAILED:
        found.failures[job.summary[:120]] += 1
    if job.state is not JobState.DELIVERED:
        return
    files = store.files(job_id)
    if len(files) != 1:
        yield f"{job_id}: delivered with {len(files)} files"
    for file in files:
        path = blobs.path(file.sha256)
        if path is None or digest_of(path) != file.sha256:
            yield f"{job_id}: {file.filename} is missing or damaged"
        elif _seed_in(path) != seed:
            yield f"{job_id}: {file.filename} is another job's picture"


def _seed_in(path: Path) -> int | None:
    with Image.open(path) as picture:
        graph = json.loads(picture.info.get("prompt", "{}"))
    node = graph.get("5", {})
    seed = node.get("inputs", {}).get("seed")
    return seed if isinstance(seed, int) else None


def _judge_whole(store: JobStore) -> Iterator[str]:
    with store.engine.connect() as connection:
        left = connection.execute(
            sa.select(sa.func.count()).select_from(tables.submission)
        ).scalar_one()
        if left:
            yield f"{left} submissions of jobs that have ended"
        names = sa.select(
            tables.job_file.c.filename, tables.job_file.c.user, tables.job_file.c.subfolder
        )
        twice = [name for name, n in Counter(connection.execute(names).all()).items() if n > 1]
        if twice:
            yield f"{len(twice)} file names were given twice"
        if connection.dialect.name == "sqlite":
            told = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            if told != "ok":
                yield f"the database is damaged: {told}"
