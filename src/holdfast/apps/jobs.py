"""`holdfast submit` and `holdfast jobs`: what is kept, told and changed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.apps.batch import Wishes, accept
from holdfast.apps.exits import Exit
from holdfast.apps.keeping import Kept
from holdfast.apps.morning import write_report
from holdfast.apps.spans import duration
from holdfast.comfyui.durable import export_job
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import JobState, StoredJob
from holdfast.text import printable

_PAGE = 1_000
GRACE_SECONDS = 86_400.0
"""A file that nothing refers to is kept so long: its job may be about to be settled."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which jobs are asked for."""

    states: Sequence[str] = ()
    order: str | None = None
    user: str | None = None
    search: str = ""
    limit: int = 50


def submit(kept: Kept, wishes: Wishes, *, as_json: bool) -> Exit:
    """Accept jobs, and say under which ids."""
    if not wishes.workflows and wishes.sweep is None:
        raise BadInputError("no workflow is given; name one, or a file of runs with --jobs")
    batch = accept(kept, wishes)
    if as_json:
        for job in batch.jobs:
            _print_json(_plain(job))
    else:
        _say(f"{len(batch.jobs)} jobs accepted as {batch.order}, kept in {kept.data}")
        for job in batch.jobs[:20]:
            _say(f"  {job.id}  {job.name}")
        if len(batch.jobs) > 20:
            _say(f"  ... and {len(batch.jobs) - 20} more: holdfast jobs list --order {batch.order}")
    kept.store.close()
    return Exit.OK


def list_jobs(kept: Kept, wanted: Wanted, *, as_json: bool) -> Exit:
    """List jobs."""
    found = kept.store.jobs(
        states=[JobState(each) for each in wanted.states] or None,
        user=wanted.user,
        order=wanted.order,
        search=wanted.search,
        limit=wanted.limit,
    )
    if as_json:
        for job in found:
            _print_json(_plain(job))
        return Exit.OK
    _table(found)
    counts = kept.store.counts(user=wanted.user, order=wanted.order)
    _say(", ".join(f"{count} {state.value}" for state, count in counts.items()))
    left = kept.store.eta(wanted.order)
    if left:
        _say(f"about {duration(left)} left")
    if (reason := kept.store.paused()) is not None:
        _say(f"paused: {reason} (go on with: holdfast jobs resume)")
    return Exit.OK


def show(kept: Kept, job_id: str, *, as_json: bool) -> Exit:
    """Tell a job's story."""
    job = _one(kept, job_id)
    story, files = kept.store.story(job.id), kept.store.files(job.id)
    outcome = kept.store.outcome(job.id) or {}
    if as_json:
        _print_json(
            {
                **_plain(job),
                "story": [{"at": each.at, "kind": each.kind, **each.data} for each in story],
                "outcome": outcome,
                "files": [asdict(each) for each in files],
            }
        )
        return Exit.OK
    _say(f"{job.name}  ({job.id})")
    _say(f"{job.state.value}: {job.summary or 'not ended yet'}")
    for name in ("user", "order", "priority", "prompt", "seed", "model", "worker"):
        if value := getattr(job, name):
            _say(f"  {name}: {value}")
    _say("")
    for each in story:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at))
        _say(f"  {stamp}  {each.kind}{_told(each.data)}")
    for line in outcome.get("degradations") or []:
        _say(f"  changed: {line}")
    for file in files:
        size = f" {file.width}x{file.height}" if file.width else ""
        suspect = f"  (suspect: {file.suspect})" if file.suspect else ""
        _say(f"  file: {file.filename}{size}, {file.size:,} bytes{suspect}")
    return Exit.OK


def cancel(kept: Kept, ids: Sequence[str], order: str | None) -> Exit:
    """Ask for the end of jobs."""
    wanted = _named(kept, ids, order, (JobState.QUEUED, JobState.RUNNING))
    states = [kept.store.cancel(job.id).result() for job in wanted]
    ended = sum(each is not None and each.state is JobState.CANCELLED for each in states)
    asked = sum(each is not None and each.state is JobState.RUNNING for each in states)
    _say(f"{ended} cancelled" + (f", {asked} are being taken back" if asked else ""))
    kept.store.close()
    return Exit.OK


def retry(kept: Kept, ids: Sequence[str], order: str | None, *, everything: bool) -> Exit:
    """Queue jobs once more."""
    if everything:
        wanted = list(_all(kept, (JobState.FAILED,), None))
    else:
        wanted = _named(kept, ids, order, (JobState.FAILED,))
    done = 0
    for job in wanted:
        again = kept.store.retry(job.id).result()
        done += again is not None and again.state is JobState.QUEUED
    _say(f"{done} queued again")
    kept.store.close()
    return Exit.OK if done == len(wanted) else Exit.SOME_FAILED


def dead_letters(kept: Kept, order: str | None, limit: int, *, as_json: bool) -> Exit:
    """List what failed, with reasons."""
    found = kept.store.jobs(states=[JobState.FAILED], order=order, limit=limit)
    for job in found:
        if as_json:
            _print_json({**_plain(job), "outcome": kept.store.outcome(job.id)})
        else:
            _say(f"{job.id}  {job.name}\n    {job.summary}")
    if not as_json:
        _say(f"{len(found)} dead letters" + ("; holdfast jobs retry JOB" if found else ""))
    return Exit.OK


def export(kept: Kept, ids: Sequence[str], order: str | None, output: Path) -> Exit:
    """Copy files out of the store."""
    wanted = _named(kept, ids, order, (JobState.DELIVERED,))
    paths = [path for job in wanted for path in export_job(kept.store, kept.blobs, job.id, output)]
    _say(f"{len(paths)} files of {len(wanted)} jobs are in {output}")
    return Exit.OK


def report(kept: Kept, order: str | None, output: Path) -> Exit:
    """Write the report."""
    try:
        page = write_report(kept, order, output)
    except OSError as error:
        raise BadInputError(f"cannot write to {str(output)!r}: {error.strerror}") from None
    _say(f"{page}")
    return Exit.OK


def pause(kept: Kept, reason: str) -> Exit:
    """Begin no more jobs."""
    kept.store.pause(True, reason).result()
    _say("paused; go on with: holdfast jobs resume")
    kept.store.close()
    return Exit.OK


def resume(kept: Kept) -> Exit:
    """Begin jobs again."""
    kept.store.pause(False).result()
    _say("jobs begin again")
    kept.store.close()
    return Exit.OK


def check(kept: Kept, *, as_json: bool) -> Exit:
    """Compare files with what the store says of them."""
    damaged = {each.sha256: each.why for each in kept.blobs.check()}
    troubles = 0
    for job in _all(kept, (JobState.DELIVERED,), None):
        for file in kept.store.files(job.id):
            why = damaged.get(file.sha256)
            if why is None and kept.blobs.path(file.sha256) is None:
                why = "it is missing"
            if why is None:
                continue
            troubles += 1
            if as_json:
                _print_json({"job": job.id, "filename": file.filename, "trouble": why})
            else:
                _say(f"{job.id}  {job.name}  {file.filename}: {why}")
    if not as_json:
        _say(f"{troubles} files in trouble" if troubles else "every file is there and whole")
    return Exit.SOME_FAILED if troubles else Exit.OK


def clean(kept: Kept, days: float, *, failed: bool) -> Exit:
    """Forget old jobs, and files that nothing refers to."""
    states = [JobState.DELIVERED, JobState.CANCELLED] + [JobState.FAILED] * failed
    before, forgotten = ambient.wall() - days * 86_400.0, 0
    while count := kept.store.purge(before, states, _PAGE).result():
        forgotten += count
    removed = freed = 0
    group: list[str] = []
    for digest in [*kept.blobs.all(), ""]:
        if digest:
            group.append(digest)
        if len(group) < 500 and digest:
            continue
        for unused in set(group) - kept.store.used_blobs(group):
            path = kept.blobs.path(unused)
            if path is not None and ambient.wall() - path.stat().st_mtime > GRACE_SECONDS:
                freed += path.stat().st_size
                kept.blobs.remove(unused)
                removed += 1
        group = []
    _say(f"{forgotten} jobs forgotten, {removed} files removed ({freed:,} bytes)")
    kept.store.close()
    return Exit.OK


def _one(kept: Kept, job_id: str) -> StoredJob:
    found = kept.store.job(job_id)
    if found is None:
        near = [each for each in kept.store.jobs(search=job_id, limit=2) if _means(each, job_id)]
        if len(near) != 1:
            raise BadInputError(f"there is no job {job_id!r:.100}; see: holdfast jobs list")
        found = near[0]
    return found


def _means(job: StoredJob, text: str) -> bool:
    return job.id.startswith(text) or job.name == text


def _named(
    kept: Kept, ids: Sequence[str], order: str | None, states: Sequence[JobState]
) -> list[StoredJob]:
    if order is not None:
        return list(_all(kept, states, order))
    if not ids:
        raise BadInputError("no job is named; give ids, or an order with --order")
    return [_one(kept, each) for each in ids]


def _all(kept: Kept, states: Sequence[JobState], order: str | None) -> Iterator[StoredJob]:
    before: int | None = None
    while True:
        page = kept.store.jobs(states=states, order=order, limit=_PAGE, before=before)
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].number


def _plain(job: StoredJob) -> dict[str, Any]:
    return {**asdict(job), "state": job.state.value}


def _told(data: Mapping[str, Any]) -> str:
    left_out = {"traceback", "exception_type", "user", "name"}
    told = [f"{key} {value}" for key, value in data.items() if value and key not in left_out]
    return f": {', '.join(told)}" if told else ""


def _table(found: Sequence[StoredJob]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("job", "name", "state", "when", "how it stands"):
        table.add_column(title, overflow="fold", no_wrap=title in {"job", "state"})
    for job in found:
        when = time.strftime("%m-%d %H:%M", time.localtime(job.ended or job.started or job.created))
        words = (job.id[:8], job.name, job.state.value, when, job.summary or job.worker)
        table.add_row(*(Text(printable(each)) for each in words))
    Console(highlight=False).print(table)


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _say(text: str) -> None:
    for line in text.split("\n"):
        sys.stdout.write(printable(line) + "\n")
