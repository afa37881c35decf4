"""`holdfast run` with jobs on disk: what is killed goes on with ``--resume``, joining what runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.apps.account import Account
from holdfast.apps.batch import Wishes, accept
from holdfast.apps.exits import Exit
from holdfast.apps.json_lines import error_line
from holdfast.apps.keeping import PATIENT_SECONDS, Kept, every_job, open_kept
from holdfast.apps.morning import write_report
from holdfast.apps.pauses import tell_of_pauses
from holdfast.apps.screen import Screen, screen_for
from holdfast.apps.servers import greet
from holdfast.apps.spans import duration
from holdfast.apps.stopping import Stopping
from holdfast.comfyui import Allowed, ComfyUI, Patience
from holdfast.comfyui.durable import Worker, export_job
from holdfast.comfyui.models import ModelManager
from holdfast.comfyui.outputs import prepare_folder
from holdfast.comfyui.restarts import RestartHook
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import JobState, StoreUnavailableError
from holdfast.system.recovery.folder_lock import locked

ESTIMATE_SECONDS = 30.0
"""How often it is said how long it may take."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a screen's account wants to know of a run."""

    total: int
    output: Path


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where jobs are kept, and what is done with them now."""

    data: Path
    store: str | None = None
    detach: bool = False
    resume: bool = False
    again: Sequence[str] = ()
    """The command line that goes on with what was accepted."""


def run_kept(
    wishes: Wishes,
    keeping: Keeping,
    servers: Sequence[str],
    *,
    as_json: bool,
    idle: float,
    wait: float,
    allowed: Allowed,
    models: ModelManager | None,
    restarts: Mapping[str, RestartHook],
) -> Exit:
    """Accept what was asked for, and work it off, here or in the background.

    Raises:
        BadInputError: something that was asked for is wrong.
    """
    new = bool(wishes.workflows or wishes.sweep)
    if not new and not keeping.resume:
        raise BadInputError("no workflow is given; name one, or go on with --resume")
    output = prepare_folder(wishes.output or Path("output"))
    kept = open_kept(keeping.data, keeping.store, make=new)
    with contextlib.closing(kept.store):
        order: str | None = None
        if new:
            batch = accept(kept, wishes)
            order = None if batch.mixed else batch.order
            told = {"event": "accepted", "order": batch.order, "jobs": len(batch.jobs)}
            words = f"{len(batch.jobs)} jobs accepted as {batch.order}, kept in {kept.data}"
            sys.stdout.write((json.dumps(told) if as_json else words) + "\n")
            sys.stdout.flush()
        if keeping.resume:
            order = None  # everything that is left, with what came now
        if keeping.detach:
            return _go_on_behind(kept, keeping.again)
        with _alone(kept.data):
            comfy = ComfyUI(
                *servers,
                patience=Patience(idle=idle),
                allowed=allowed,
                restarts=restarts,
                models=models,
                reach_seconds=PATIENT_SECONDS,
            )
            return work_off(
                kept, comfy, Account(), order=order, output=output, as_json=as_json, wait=wait
            )


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Wait until no other run works on the folder: it need not do the jobs of this one."""
    lock = data / "run.lock"
    with locked(lock, wait=False) as free:
        if free:
            yield
            return
    error_line(f"another process works on {str(data)!r}; waiting for its end (the jobs are kept)")
    with locked(lock, wait=True):
        yield


def _go_on_behind(kept: Kept, arguments: Sequence[str]) -> Exit:
    """Start this same command once more, without what was accepted, and without a terminal."""
    log = kept.data / "run.log"
    process = detach(arguments, log)
    sys.stdout.write(
        f"process {process} works on them; look with: holdfast jobs list --data {kept.data}\n"
        f"what it says is in {log}\n"
    )
    return Exit.OK


def detach(arguments: Sequence[str], log: Path) -> int:
    """Start `holdfast` with these arguments as a process of its own; returns its id.

    It outlives this one and its terminal; what it says goes to ``log``.
    """
    with log.open("ab") as said:
        started = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "holdfast.apps", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return started.pid


def work_off(
    kept: Kept,
    comfy: ComfyUI,
    account: Account,
    *,
    order: str | None,
    output: Path,
    as_json: bool,
    wait: float,
) -> Exit:
    """Work through an order, or all that is kept, to its end, and write the report.

    Args:
        kept: the jobs.
        comfy: the servers; not entered yet.
        account: collects what happens.
        order: only this one; None for all.
        output: where the report goes.
        as_json: print JSON lines.
        wait: seconds to wait for a first server.
    """
    counts = kept.store.counts(order=order)
    total = counts[JobState.QUEUED] + counts[JobState.RUNNING]
    screen = screen_for(total, as_json=as_json)
    comfy.listen(account.note)
    comfy.listen(screen.show)
    return asyncio.run(
        _work_off(kept, comfy, screen, account, order=order, asked=Asked(total, output), wait=wait)
    )


async def _work_off(
    kept: Kept,
    comfy: ComfyUI,
    screen: Screen,
    account: Account,
    *,
    order: str | None,
    asked: Asked,
    wait: float,
) -> Exit:
    store = kept.store
    began = ambient.wall()
    store.reclaim(_name(kept)).result()
    stopping = Stopping(lambda: screen.say("stopping: what runs is left, and joined by --resume"))
    reached = True
    with stopping:
        async with comfy:
            greetings = await greet(comfy, wait=wait)
            for each in greetings:
                if each.problem is not None:
                    screen.warn(each.problem)
            reached = any(each.problem is None for each in greetings)
            if reached:
                worker = Worker(comfy, store, kept.blobs, name=_name(kept))
                telling = [
                    asyncio.create_task(_tell_the_time(kept, screen, order)),
                    asyncio.create_task(tell_of_pauses(store, screen.say)),
                ]
                try:
                    with screen.running():
                        await worker.run(until_empty=True, order=order)
                finally:
                    for task in telling:
                        task.cancel()
                    await worker.stop()
    counts = store.counts(order=order)
    left = counts[JobState.QUEUED] + counts[JobState.RUNNING]
    account.uncopied = _copy_the_rest(kept, order)
    account.unrun = _unrun(kept, order, account, began)
    try:
        report = str(write_report(kept, order, asked.output))
    except OSError as error:
        # The pictures are there, and so are the jobs: the report can be made at any time.
        report = "none"
        screen.warn(f"no report: {error.strerror}; make it with: holdfast jobs report")
    screen.account(account, asked)
    screen.say(
        f"{counts[JobState.DELIVERED]} delivered, {counts[JobState.FAILED]} failed, "
        f"{counts[JobState.CANCELLED]} cancelled, {left} left; report: {report}"
    )
    if account.uncopied:
        screen.say(f"copy them with: holdfast jobs export --data {kept.data} --output DIR")
    if left:
        screen.say(f"what is left goes on with: holdfast run --resume --output {asked.output}")
    if not reached:
        return Exit.NO_SERVER
    if stopping.asked:
        return Exit.INTERRUPTED
    done = not left and not counts[JobState.FAILED] and not account.uncopied
    return Exit.OK if done else Exit.SOME_FAILED


def _name(kept: Kept) -> str:
    return f"run on {kept.data.resolve()}"[-200:]


async def _tell_the_time(kept: Kept, screen: Screen, order: str | None) -> None:
    while True:
        await asyncio.sleep(ESTIMATE_SECONDS)
        try:
            left = await asyncio.to_thread(kept.store.eta, order)
            counts = await asyncio.to_thread(kept.store.counts, None, order)
        except StoreUnavailableError:
            continue
        waiting = counts[JobState.QUEUED] + counts[JobState.RUNNING]
        if left is not None and waiting:
            screen.say(f"{waiting} jobs left, about {duration(left)}")


def _unrun(kept: Kept, order: str | None, account: Account, since: float) -> dict[str, str]:
    """What ended as a dead letter without a run, such as jobs whose deadline passed."""
    return {
        job.name or job.id: job.summary
        for job in kept.store.ended_since(since, limit=10_000)
        if job.state is JobState.FAILED and order in (None, job.order)
        if (job.name or job.id) not in account.failed
    }


def _copy_the_rest(kept: Kept, order: str | None) -> dict[str, str]:
    """Copy what was delivered and not copied; what could not be, and why."""
    uncopied: dict[str, str] = {}
    for job in every_job(kept.store, states=[JobState.DELIVERED], order=order):
        try:
            export_job(kept.store, kept.blobs, job.id)
        except BadInputError as error:
            uncopied[job.name or job.id] = str(error)
    return uncopied
