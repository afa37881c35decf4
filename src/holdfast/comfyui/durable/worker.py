"""A worker: takes jobs from the store, has them made, and settles them.

Killed at any moment, it loses nothing: the next one finds what runs on which server, and joins it.

Laws:

- Nothing is sent to a server before the store has it (`Diary`).
- A job counts as delivered when its files lie in the blob store and the store has said so.
- What a worker says of a job that is somebody else's now is refused by its fence.
- That no server can be reached, or that this machine's disk is full, is no fault of a job: it
  goes back into the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.durable import account
from holdfast.comfyui.durable.exporting import export_job
from holdfast.comfyui.durable.in_hand import (
    InHand,
    Progress,
    Stop,
    clear,
    folder_of,
    until_it_works,
)
from holdfast.comfyui.durable.orders import Plan, plan_of
from holdfast.comfyui.durable.relay import Relay
from holdfast.comfyui.durable.taking import Taking
from holdfast.comfyui.failures import ComfyUIError, NotComfyUIError, ServerUnreachableError
from holdfast.comfyui.result import OutputFile, RunResult
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import (
    Claim,
    JobState,
    JobStore,
    LeaseLostError,
    NewFile,
    StoredJob,
    StoreUnavailableError,
)

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
"""How often it is looked whether another process has accepted a job."""
RENEW_SECONDS = 2.0
"""How often leases are renewed at least, and it is looked whether a job's end was asked for."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""What is wrong with this machine's disk, and not with a job."""
PAUSE_SECONDS = 2.0
"""After trouble that is no job's fault."""


class Worker:
    """Works through the jobs of a store with a `ComfyUI` client. Belongs to one event loop.

    Args:
        comfy: the client, entered; its `reach_seconds` had better be long.
        store: the jobs.
        blobs: where files go.
        name: what the worker is called in stories.
        concurrency: jobs it takes at a time; None for one more than the servers can have.
        relay: hears of the jobs while they run.
        turn_down: what the level of service makes of a workflow, and what it changed, in words;
            asked for each job that may be changed.
    """

    def __init__(
        self,
        comfy: ComfyUI,
        store: JobStore,
        blobs: BlobStore,
        *,
        name: str = "worker",
        concurrency: int | None = None,
        relay: Relay | None = None,
        turn_down: Callable[[Workflow], tuple[Workflow, tuple[str, ...]]] | None = None,
    ) -> None:
        if concurrency is not None:
            checks.whole("concurrency", concurrency, at_least=1)
        self.progress: dict[str, Progress] = {}
        """How far the jobs are that run now, by id."""
        self.uncopied = 0
        """Delivered jobs whose files could not be copied to where they were wanted."""
        self._comfy = comfy
        self._store = store
        self._blobs = blobs
        self._name = name
        self._concurrency = concurrency
        self._relay = relay
        self._turn_down = turn_down
        self._runs: dict[str, InHand] = {}
        self._by_name: dict[str, str] = {}
        self._stir = asyncio.Event()
        self._taking = Taking(store, name, self._room)
        self._asked = asyncio.Event()
        self._stopping = False
        self._stopped = asyncio.Event()

    @property
    def running(self) -> list[StoredJob]:
        """The jobs it has now."""
        return [run.claim.job for run in self._runs.values()]

    def nudge(self) -> None:
        """Look for jobs at once: one was accepted, or its end was asked for."""
        self._stir.set()
        self._asked.set()

    def expect(self) -> None:
        """A job is being accepted: ask for it in the same breath, so that one commit does for both.

        Call it right after the store was asked to accept it, and `expected` when it did.
        """
        if self._taking.ahead():
            self._stir.set()

    def expected(self) -> None:
        """A job that `expect` spoke of was accepted: look for it, unless that was done."""
        if self._taking.behind:
            self._stir.set()

    async def run(self, *, until_empty: bool = False, order: str | None = None) -> None:
        """Work until `stop`, or until nothing is left to do.

        Args:
            until_empty: end when no job waits or runs any more.
            order: only the jobs of this batch.
        """
        unlisten = self._comfy.listen(self._heard)
        self._taking.open(order)
        keeper = asyncio.create_task(self._keep_leases())
        try:
            while not self._stopping:
                self._stir.clear()
                took = await self._take_some()
                self._taking.drained = self._taking.drained and not until_empty
                idle = until_empty and not took and not self._runs
                if idle and not await self._anything_left(order):
                    return
                await self._rest()
            await self._taking.close()
            await self._stopped.wait()  # what runs may end, and keeps its lease meanwhile
        finally:
            keeper.cancel()
            await self._taking.close()
            for run in list(self._runs.values()):
                run.call_off(Stop.LEAVE)
            tasks = [run.task for run in self._runs.values()]
            await asyncio.gather(keeper, *tasks, return_exceptions=True)
            unlisten()

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Take no more jobs, let those that run end for so long, and leave the others behind.

        What is left runs on on its server, and is joined by whoever works next.
        """
        self._stopping = True
        self._stir.set()
        try:
            tasks = [run.task for run in self._runs.values()]
            if tasks and drain_seconds > 0:
                await asyncio.wait(tasks, timeout=drain_seconds)
            for run in list(self._runs.values()):
                run.call_off(Stop.LEAVE)
            tasks = [run.task for run in self._runs.values()]
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._stopped.set()

    # Taking jobs ------------------------------------------------------------------------

    def _room(self) -> int:
        return (self._concurrency or self._comfy.capacity + 1) - len(self._runs)

    async def _take_some(self) -> bool:
        try:
            claims = await self._taking.some()
        except StoreUnavailableError as error:
            log.warning("%s: %s", self._name, error)
            await asyncio.sleep(PAUSE_SECONDS)
            return False
        # What was left on servers goes first, so that nothing else takes its place there.
        for claim in sorted(claims, key=lambda each: not each.submissions):
            self._begin(claim)
        if not self._taking.drained and self._room() > 0:
            self._stir.set()  # there is more room than when they were asked for
        return bool(claims)

    async def _anything_left(self, order: str | None) -> bool:
        counts = await asyncio.to_thread(self._store.counts, None, order)
        return counts[JobState.QUEUED] + counts[JobState.RUNNING] > 0

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._stir.wait()

    def _begin(self, claim: Claim) -> None:
        if (older := self._runs.get(claim.job.id)) is not None:
            older.call_off(Stop.LOST)  # its lease ran out, as after a sleep of the whole machine
        run = InHand(claim, self._store, self._relay)
        self._runs[claim.job.id] = run
        label = claim.job.name or claim.job.id
        while label in self._by_name:  # another job may be called what would tell this one apart
            label = f"{label} [{claim.job.number}]"
        run.label = label
        self._by_name[run.label] = claim.job.id
        run.task = asyncio.create_task(self._carry(run))
        run.task.add_done_callback(lambda _task: self._ended(run))

    def _ended(self, run: InHand) -> None:
        self._by_name.pop(run.label, None)
        if self._runs.get(run.claim.job.id) is run:
            del self._runs[run.claim.job.id]
            self.progress.pop(run.claim.job.id, None)
        if not self._taking.drained or self._stopping:
            self._stir.set()
        if not run.task.cancelled() and (error := run.task.exception()) is not None:
            log.error("%s: a bug in Holdfast", run.label, exc_info=error)

    # Keeping them -----------------------------------------------------------------------

    async def _keep_leases(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(RENEW_SECONDS, self._store.lease_seconds / 3)):
                    await self._asked.wait()
            self._asked.clear()
            held = {job: run.claim.fence for job, run in self._runs.items()}
            if not held:
                continue
            try:
                renewal = await asyncio.wrap_future(self._store.renew(held))
            except StoreUnavailableError as error:
                log.warning("%s: leases could not be renewed: %s", self._name, error)
                continue
            except Exception:
                # Whatever it was, without another try all jobs here would be given to others.
                log.exception("%s: leases could not be renewed", self._name)
                continue
            for job in renewal.lost:
                if job in self._runs and self._runs[job].claim.fence == held[job]:
                    self._runs[job].call_off(Stop.LOST)
            for job in renewal.cancelled:
                if job in self._runs:
                    self._runs[job].call_off(Stop.CANCEL)

    def _heard(self, event: events.Event) -> None:
        job_id = self._by_name.get(getattr(event, "job", ""))
        if job_id is None:
            return
        now = self.progress.get(job_id, Progress())
        match event:
            case events.NodeStarted():
                kind = event.node_type or ""
                self.progress[job_id] = Progress(event.server, event.node_id, kind)
            case events.NodeStepped():
                kind = now.node_type if now.node_id == event.node_id else ""
                self.progress[job_id] = Progress(
                    event.server, event.node_id, kind, event.value, event.maximum
                )
            case events.AttemptStarted():
                self.progress[job_id] = Progress(event.server)
        line = account.line_of(event)
        if line is not None:
            with contextlib.suppress(StoreUnavailableError):
                _forget(self._store.record(job_id, *line))

    # Making them ------------------------------------------------------------------------

    async def _carry(self, run: InHand) -> None:
        claim, run.begun = run.claim, True
        if self._relay is not None:
            self._relay.began(claim.job)
        if claim.job.cancel and run.why is Stop.NOT:
            run.why = Stop.CANCEL
        folder = folder_of(self._blobs.staging(), claim)
        try:
            await self._to_its_end(run, folder)
        except LeaseLostError as error:
            log.warning("%s: %s", run.label, error)
        finally:
            await asyncio.to_thread(clear, folder)

    async def _to_its_end(self, run: InHand, folder: Path) -> None:
        began = ambient.now()
        try:
            plan = plan_of(run.claim.payload, run.label)
            await self._deliver(run, plan, await self._make(run, plan, folder))
        except (ServerUnreachableError, NotComfyUIError, StoreUnavailableError) as error:
            await self._give_back(run, str(error))
        except OSError as error:
            await self._give_back(run, f"{type(error).__name__}: {error.strerror or error}")
        except ComfyUIError as error:
            outcome, summary = account.failed(error, ambient.now() - began)
            await self._settle(run, JobState.FAILED, outcome, (), summary)
        except BadInputError as error:
            full = getattr(error.__context__, "errno", None) in _NO_ROOM
            if full or await asyncio.to_thread(self._disk_trouble):
                await self._give_back(run, str(error))
            else:
                await self._settle(run, JobState.FAILED, *_refused("bad_input", error))
        except asyncio.CancelledError:
            await self._called_off(run)
        except LeaseLostError:
            raise
        except Exception as error:
            log.exception("%s: a bug in Holdfast", run.label)
            await self._settle(run, JobState.FAILED, *_refused("bug", error))

    async def _deliver(self, run: InHand, plan: Plan, result: RunResult) -> None:
        run.settling = True
        outcome, files, summary = account.delivered(result)
        await asyncio.to_thread(self._adopt, result.files)
        await self._settle(run, JobState.DELIVERED, outcome, files, summary)
        if plan.export is not None:
            await self._export(run.claim.job)

    async def _make(self, run: InHand, plan: Plan, folder: Path) -> RunResult:
        job = run.claim.job
        if run.why is Stop.CANCEL:
            await self._comfy.take_back(run.earlier, run.label)
        if run.why is not Stop.NOT:
            raise asyncio.CancelledError
        deadline = None if job.deadline is None else max(0.05, job.deadline - ambient.wall())
        uploads: dict[str, str | Path] = {}
        for key, sha256 in plan.files.items():
            path = self._blobs.path(sha256)
            if path is None:
                raise BadInputError(f"the file for {key} ({sha256[:12]}...) is no longer stored")
            uploads[key] = path
        workflow, words = plan.workflow, tuple[str, ...]()
        if self._turn_down is not None and not plan.strict:
            workflow, words = self._turn_down(workflow)
        result = await self._comfy.run(
            workflow,
            name=run.label,
            files=uploads,
            suffixes=plan.suffixes,
            output_dir=folder,
            deadline=deadline,
            prompt_id=job.id,
            strict=plan.strict,
            diary=run,
            earlier=run.earlier,
            extra_data=plan.extra_data,
            targets=plan.targets,
            temps=True,
        )
        return replace(result, degradations=(*words, *result.degradations))

    def _adopt(self, files: tuple[OutputFile, ...]) -> None:
        for each in files:
            if each.path is not None:
                self._blobs.adopt(each.path, each.sha256)

    async def _settle(
        self,
        run: InHand,
        end: JobState,
        outcome: dict[str, Any],
        files: list[NewFile] | tuple[()],
        summary: str,
    ) -> None:
        job = run.claim.job
        run.settling = True
        ended, final = await until_it_works(
            run.label,
            lambda: asyncio.wrap_future(
                self._store.settle(
                    job.id, run.claim.fence, end, outcome, files=files, summary=summary
                )
            ),
            give_up=lambda: self._stopping,
        )
        if self._relay is not None:
            self._relay.ended(ended, final)

    async def _export(self, job: StoredJob) -> None:
        try:
            await asyncio.to_thread(export_job, self._store, self._blobs, job.id)
        except (BadInputError, StoreUnavailableError) as error:
            # It is delivered; copying can be done again at any time.
            self.uncopied += 1
            log.warning("%s is delivered, but was not copied: %s", job.name or job.id, error)
            with contextlib.suppress(StoreUnavailableError):
                _forget(self._store.record(job.id, "not_exported", {"words": str(error)}))

    async def _called_off(self, run: InHand) -> None:
        if run.why is Stop.CANCEL:
            at = self.progress.get(run.claim.job.id, Progress())
            where = {"node_id": at.node_id, "node_type": at.node_type}
            outcome = {"status": "cancelled", "attempts": [], "stopped_at": where}
            await self._settle(run, JobState.CANCELLED, outcome, (), "cancelled while it ran")
        elif run.why is Stop.LEAVE:
            await self._release(run, "its worker stopped")

    async def _give_back(self, run: InHand, why: str) -> None:
        log.warning("%s goes back into the queue: %s", run.label, why)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(PAUSE_SECONDS)
        await self._release(run, why)

    async def _release(self, run: InHand, why: str) -> None:
        with contextlib.suppress(LeaseLostError, StoreUnavailableError):
            await asyncio.wrap_future(
                self._store.release(run.claim.job.id, run.claim.fence, why[:500])
            )

    def _disk_trouble(self) -> bool:
        """Whether it is this machine that cannot write."""
        probe = self._blobs.staging() / f".probe-{id(self):x}"
        try:
            probe.write_bytes(b"x" * 65_536)
        except OSError:
            return True
        finally:
            probe.unlink(missing_ok=True)
        return shutil.disk_usage(self._blobs.folder).free < 1_000_000


def _refused(kind: str, error: Exception) -> tuple[dict[str, Any], tuple[()], str]:
    outcome, summary = account.refused(kind, str(error))
    return outcome, (), summary


def _forget(future: Any) -> None:
    """A line of a story that could not be written is no reason to stop."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
