"""`holdfast submit` and `holdfast jobs`: what is kept, told and changed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.apps.batch import Wishes, accept
from holdfast.apps.exits import Exit
from holdfast.apps.keeping import Kept, every_job
from holdfast.apps.morning import write_report
from holdfast.apps.spans import duration
from holdfast.comfyui.durable import export_job
from holdfast.errors import BadInputError
from holdfast.stores import jobs as stored
from holdfast.stores.integrity import examine
from holdfast.stores.jobs import JobState, StoredJob, StoreUnavailableError
from holdfast.stores.tidying import Keep, tidy
from holdfast.text import printable


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
    late = [job for job, each in zip(wanted, states, strict=True) if each is None or _over(each)]
    for job in late:
        _say(f"{job.name or job.id} has ended already: nothing was cancelled")
    kept.store.close()
    return Exit.SOME_FAILED if late else Exit.OK


def _over(job: StoredJob) -> bool:
    return job.state.ended and job.state is not JobState.CANCELLED


def retry(kept: Kept, ids: Sequence[str], order: str | None, *, everything: bool) -> Exit:
    """Queue jobs once more."""
    if everything:
        wanted = list(every_job(kept.store, states=(JobState.FAILED,)))
    else:
        wanted = _named(kept, ids, order, (JobState.FAILED,))
    done = 0
    for job in wanted:
        again = kept.store.retry(job.id).result()
        done += again is not None and again.state is JobState.QUEUED
        if again is not None and again.state is not JobState.QUEUED:
            _say(f"{job.name or job.id} is {again.state}: only what has failed is queued again")
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
    """Compare jobs and files with what the store says of them."""
    troubles = extra = extra_bytes = 0
    for each in examine(kept.store, kept.blobs):
        troubles += not each.harmless
        extra += each.harmless
        extra_bytes += each.size * each.harmless
        if as_json:
            _print_json(asdict(each))
        elif not each.harmless:
            _say("  ".join(part for part in (each.job, each.trouble.value, each.words) if part))
    if not as_json:
        _say(f"{troubles} in trouble" if troubles else "every file is there and whole")
        if extra:
            _say(f"nothing refers to {extra} files ({extra_bytes:,} bytes): holdfast jobs clean")
    return Exit.SOME_FAILED if troubles else Exit.OK


def clean(kept: Kept, keep: Keep) -> Exit:
    """Forget old jobs, and files that nothing refers to."""
    gone = tidy(kept.store, kept.blobs, keep)
    _say(f"{gone.jobs} jobs forgotten, {gone.files} files removed ({gone.bytes:,} bytes)")
    kept.store.close()
    return Exit.OK


def salvage(damaged: Path, new: str) -> Exit:
    """Save what can be read of a damaged store."""
    saved = stored.salvage(damaged, new)
    for note in saved.notes:
        _say(note)
    _say(f"{saved.jobs} jobs saved into {new}; {sum(saved.rows.values())} rows in all")
    return Exit.SOME_FAILED if saved.damaged else Exit.OK


def copy(source: str, target: str) -> Exit:
    """Copy a store into another one."""
    try:
        copied = stored.copy(source, target)
    except StoreUnavailableError as error:
        raise BadInputError(str(error)) from None
    _say(f"{copied.get('job', 0)} jobs copied; {sum(copied.values())} rows in all")
    return Exit.OK


def _one(kept: Kept, text: str) -> StoredJob:
    """The job of that id, or whose id begins so, or of that name."""
    found = kept.store.job(text)
    if found is not None:
        return found
    near = [each for each in every_job(kept.store, search=text) if _means(each, text)][:6]
    if not near:
        raise BadInputError(f"there is no job {text!r:.100}; see: holdfast jobs list")
    if len(near) > 1:
        shown = ", ".join(f"{each.id} ({each.name})" for each in near[:5])
        raise BadInputError(f"{text!r:.100} may be several jobs: {shown}; give more of the id")
    return near[0]


def _means(job: StoredJob, text: str) -> bool:
    return bool(text) and (job.id.startswith(text) or job.name == text)


def _named(
    kept: Kept, ids: Sequence[str], order: str | None, states: Sequence[JobState]
) -> list[StoredJob]:
    if order is not None:
        if not kept.store.jobs(order=order, limit=1):
            raise BadInputError(f"there is no order {order!r:.100}; see: holdfast jobs list --json")
        return list(every_job(kept.store, states=states, order=order))
    if not ids:
        raise BadInputError("no job is named; give ids, or an order with --order")
    return [_one(kept, each) for each in ids]


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
