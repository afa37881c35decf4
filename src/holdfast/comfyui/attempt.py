"""One attempt: submit a job to one server, watch it to its end, bring the files home.

This drives the pure `Watch` with real sockets. The order matters: the socket
is open before the submission, so no event is missed; the submission carries
our own prompt id and a token, so it can be found again whatever becomes of
its answer; and nothing counts before `/history` and the files say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.comfyui import events, messages, outputs
from holdfast.comfyui.canary import submission_body
from holdfast.comfyui.delivery import AttemptError, bring_home
from holdfast.comfyui.diary import Entry
from holdfast.comfyui.ear import Closed, Ear
from holdfast.comfyui.failures import Failure, FailureKind, NodeFault, from_fault, node_name
from holdfast.comfyui.job import Job
from holdfast.comfyui.place import Leftover, Place
from holdfast.comfyui.plan import Remedy
from holdfast.comfyui.replies import Ending, HistoryEntry, rejection
from holdfast.comfyui.result import OutputFile
from holdfast.comfyui.server import (
    AnswerError,
    NoRouteError,
    NotComfyUIAnswerError,
    RefusedError,
    ServerCallError,
    SilentError,
)
from holdfast.comfyui.unloading import unload_models
from holdfast.comfyui.verdict import Outcome, Patience, Verdict, Want, Where
from holdfast.comfyui.watch import Watch
from holdfast.comfyui.withdraw import Submission, Withdrawal, withdraw
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.policies.scope import progress
from holdfast.ports import ambient


class AttemptRun:
    """One attempt, from submission to files."""

    def __init__(
        self,
        place: Place,
        job: Job,
        number: int,
        *,
        patience: Patience,
        emit: Callable[[events.Event], None],
        previews: bool = False,
    ) -> None:
        self.place = place
        self.job = job
        self.number = number
        self.notes: list[str] = []
        self.begun: set[str] = set()
        """Nodes that were heard to begin."""
        self.joined = False
        """Whether it came back to a submission made before: what ran already was not heard."""
        self._server = place.server
        self._patience = patience
        self._emit = emit
        self._previews = previews
        self.outputs: Mapping[str, Any] = {}
        """What the nodes showed, as the server's history lists it."""
        self._ear: Ear
        self._left = place.leftover_of(job.key)
        self._ours = (
            Submission(job.prompt_id, uuid.uuid4().hex, uuid.uuid4().hex)
            if self._left is None
            else self._left.submission
        )
        self._may_be_there = False
        self._node: str | None = None
        self._blocked: NodeFault | None = None
        self._error_answer: AnswerError | None = None

    async def perform(self, remedy: Remedy) -> tuple[OutputFile, ...]:
        """Make the job's files.

        Raises:
            AttemptError: it came to nothing; what is left on the server is in the place's
                `leftovers`.
            BadInputError: the output folder cannot be written.
        """
        try:
            async with self._listening():
                verdict = await self._submit_and_watch(remedy)
                entry = self._settle(verdict)
                self.outputs = entry.outputs
                return await bring_home(self._server, self.job, entry, self._blocked)
        except ServerCallError as error:
            await self._take_back()
            raise AttemptError(_call_failure(error, self.place)) from None
        except (AttemptError, asyncio.CancelledError):
            await self._take_back()
            raise

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        ears = self.place.ears
        ear = self._ear = await ears.take(previews=self._previews)
        ear.tap = self._tap()
        if self._left is None and ear.is_open:
            self._ours = replace(self._ours, client_id=ear.client_id)
        rests = False
        try:
            yield
            rests = ear.rest(self._ours.prompt_id)
        finally:
            if rests:
                await ears.give_back(ear)
            else:
                await ear.close()

    # Submitting -------------------------------------------------------------------------

    async def _submit_and_watch(self, remedy: Remedy) -> Verdict:
        watch = await self._join()
        if watch is None:
            graph = await self._prepare(remedy)
            if not self._ear.is_open or self._ear.client_id != self._ours.client_id:
                await self._ear.open(self._ours.client_id)
            await self._note_down()
            watch = Watch(self._ours.prompt_id, self._ours.token, self._patience, ambient.now())
            self._emit(events.AttemptStarted(self.job.name, self.place.name, self.number))
            await self._submit(graph, watch)
        return await self._watch(watch)

    async def _note_down(self) -> None:
        if self.job.diary is not None:
            ours, address = self._ours, self._server.address.url
            await self.job.diary.submitting(
                Entry(address, ours.prompt_id, ours.token, ours.client_id, self.job.changed)
            )

    def _tap(self) -> Callable[[str | bytes], None] | None:
        diary, name = self.job.diary, self.place.name
        if diary is None or not self.job.listens:
            return None
        return lambda frame: diary.heard(name, frame)

    async def _join(self) -> Watch | None:
        """Find an earlier submission of this job that may still be here, instead of a second."""
        if self._ours.token not in self.place.leftovers:
            return None
        queue, entry = await self._server.look(self._ours.prompt_id)
        listed = {item.token for item in (*queue.running, *queue.pending)}
        found = entry is not None and entry.token == self._ours.token
        del self.place.leftovers[self._ours.token]
        if not found and self._ours.token not in listed:
            self._ours = Submission(self.job.prompt_id, uuid.uuid4().hex, uuid.uuid4().hex)
            self._left = None
            return None
        self._may_be_there = self.joined = True
        self._emit(events.AttemptStarted(self.job.name, self.place.name, self.number, joined=True))
        self.notes.append(f"found again on {self.place.name} and joined instead of run twice")
        await self._ear.open(self._ours.client_id)
        watch = Watch(self._ours.prompt_id, self._ours.token, self._patience, ambient.now())
        watch.accepted(ambient.now())
        watch.looked(queue, entry, ambient.now())
        return watch

    async def _prepare(self, remedy: Remedy) -> Workflow:
        workflow = self.job.workflow
        if remedy is Remedy.UNLOAD_MODELS:
            self.notes.append(await unload_models(self._server))
        if self.job.uploads:
            workflow = workflow.with_inputs(
                {
                    f"{node}.{name}": await self._upload(path)
                    for (node, name), path in self.job.uploads.items()
                    # A node that was taken out of the workflow needs its file no more.
                    if name in workflow.graph.get(node, {}).get("inputs", {})
                }
            )
        if remedy is Remedy.SAVE_AGAIN:
            workflow = workflow.rerun(frozenset(workflow.saving_nodes()), uuid.uuid4().hex)
            self.notes.append("the saving nodes were made to run again, past the server's cache")
        elif remedy is Remedy.RUN_AGAIN:
            workflow = workflow.rerun(workflow.working_nodes(), uuid.uuid4().hex)
            self.notes.append("all nodes were made to run again, past the server's cache")
        return workflow

    async def _upload(self, path: Path) -> str:
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInputError(f"cannot read {str(path)!r} to upload it: {reason}") from None
        suffix = self.job.suffixes.get(path.name, path.suffix).lower()
        key = outputs.content_key(content) + suffix
        there = self.place.uploads.get(key)
        # Somebody may have emptied the server's folder, or put a new machine in its place.
        if there is None or not await self._server.has_input(there, len(content)):
            name = f"holdfast_{key[:16]}{suffix}"
            there = self.place.uploads[key] = await self._server.upload(name, content)
        return there

    async def _submit(self, workflow: Workflow, watch: Watch) -> None:
        graph = workflow.to_api()
        self._may_be_there = True
        try:
            # A busy server may take its time over a large graph; a short patience is kept to.
            seconds = min(max(30.0, self._server.call_seconds), self._patience.unanswered)
            body = submission_body(graph, self._ours, self.job.extra_data, self.job.targets)
            answer = await self._server.submit(body, seconds=seconds)
        except (RefusedError, NoRouteError, NotComfyUIAnswerError):
            self._may_be_there = False
            raise
        except AnswerError as error:
            self._after_error_answer(error, watch)
            return
        except SilentError:
            watch.unanswered(ambient.now())
            return
        if answer.status != 200 or answer.body.get("node_errors"):
            # A 200 with errors means: some branches were dropped, the others run.
            self._may_be_there = answer.status == 200
            raise AttemptError(rejection(answer.body, self.place.name, graph))
        self._known_as(answer.body.get("prompt_id"), watch)
        watch.accepted(ambient.now())

    def _known_as(self, prompt_id: object, watch: Watch) -> None:
        # Servers before 0.3.45, and some gateways, make ids of their own.
        if isinstance(prompt_id, str) and prompt_id != self._ours.prompt_id:
            self._ours = replace(self._ours, prompt_id=prompt_id)
            watch.prompt_id = prompt_id

    def _after_error_answer(self, error: AnswerError, watch: Watch) -> None:
        # ComfyUI can answer 500 and have queued the job all the same, and a proxy's 502 says
        # nothing of what is behind it: whether the job is there is for the queue to say.
        if error.status == 413:
            self._may_be_there = False
            raise AttemptError(
                Failure(
                    FailureKind.REJECTED,
                    "the workflow is too large for the server (HTTP 413)",
                    self.place.name,
                    category=ErrorCategory.VALIDATION,
                )
            )
        self._error_answer = error
        watch.unanswered(ambient.now())

    # Watching ---------------------------------------------------------------------------

    async def _watch(self, watch: Watch) -> Verdict:
        while (verdict := watch.verdict) is None:
            now = ambient.now()
            want = watch.wants(now)
            if want is Want.LOOK:
                await self._look(watch)
            elif want is Want.REOPEN:
                await self._reopen(watch)
            elif not watch.done:
                await self._listen(watch, max(0.01, watch.wake_at(now) - now))
        self._node = watch.node if watch.where is Where.RUNNING else None
        self._blocked = watch.blocked
        return verdict

    async def _look(self, watch: Watch) -> None:
        asked = ambient.now()
        try:
            ended = watch.token if watch.end_heard else None
            queue, entry = await self._server.look(self._ours.prompt_id, ended=ended)
        except RefusedError:
            watch.refused(ambient.now())
        except ServerCallError:
            watch.silent(ambient.now(), asked)
        else:
            watch.looked(queue, entry, ambient.now())
            self._known_as(watch.prompt_id, watch)

    async def _reopen(self, watch: Watch) -> None:
        try:
            await self._ear.open(self._ours.client_id)
        except ServerCallError:
            watch.reopen_failed(ambient.now())
        else:
            watch.socket_ready(ambient.now())

    async def _listen(self, watch: Watch, seconds: float) -> None:
        for heard in await self._ear.listen(seconds):
            if isinstance(heard, Closed):
                watch.socket_lost(ambient.now())
            else:
                watch.message(heard, ambient.now())
                self._tell(heard)

    def _tell(self, message: messages.Message) -> None:
        job, server = self.job.name, self.place.name
        match message:
            case messages.Executing(node=node, prompt_id=self._ours.prompt_id):
                progress()
                self.begun.add(node)
                self._emit(events.NodeStarted(job, server, node, self.job.class_of(node)))
            case messages.Stepped(prompt_id=self._ours.prompt_id, node=node):
                progress()
                self._emit(events.NodeStepped(job, server, node, message.value, message.maximum))
            case messages.Preview() if self._previews:
                self._emit(events.PreviewReceived(job, server, message.image, message.image_type))

    # The end ----------------------------------------------------------------------------

    def _settle(self, verdict: Verdict) -> HistoryEntry:
        """What the history says of a run that went through; anything else is raised."""
        gone = (Outcome.DIED, Outcome.LOST, Outcome.NEVER_ACCEPTED, Outcome.ENDED, Outcome.FAULT)
        if verdict.outcome in gone:
            self._may_be_there = False
        entry = verdict.entry
        if entry is not None and entry.ending is Ending.SUCCESS:
            return entry
        raise AttemptError(self._failure(verdict))

    def _failure(self, verdict: Verdict) -> Failure:
        server = self.place.name
        entry = verdict.entry
        if entry is not None and entry.ending is Ending.INTERRUPTED:
            if self._left is not None and self._left.interrupted:
                words = "our own interrupt, sent when the job had stalled, took effect late"
                return Failure(FailureKind.LOST, words, server, category=ErrorCategory.SYSTEM)
            fault = verdict.fault or NodeFault(None, None)
            at = node_name(fault.node_id, fault.node_type)
            return Failure(
                FailureKind.INTERRUPTED,
                f"somebody else stopped the run at {at}",
                server,
                fault.node_id,
                fault.node_type,
                category=ErrorCategory.WORKFLOW,
            )
        if verdict.outcome is Outcome.NEVER_ACCEPTED and self._error_answer is not None:
            return _call_failure(self._error_answer, self.place)
        if verdict.fault is not None:
            return from_fault(verdict.fault, server)
        kinds = {
            Outcome.DIED: FailureKind.SERVER_DIED,
            Outcome.FROZEN: FailureKind.STALLED,
            Outcome.STALLED: FailureKind.STALLED,
            Outcome.LOST: FailureKind.LOST,
            Outcome.NEVER_ACCEPTED: FailureKind.NEVER_ACCEPTED,
        }
        kind = kinds.get(verdict.outcome, FailureKind.NODE_ERROR)
        node = self._node
        return Failure(
            kind,
            verdict.words,
            server,
            node,
            self.job.class_of(node) if node else None,
            category=ErrorCategory.SYSTEM,
        )

    async def _take_back(self) -> None:
        if not self._may_be_there:
            return
        if self.job.diary is not None and self.job.diary.staying and _is_cancelled():
            return
        # Noted first: a cancellation may come while it is being taken back.
        joins = 0 if self._left is None else self._left.joins + 1
        left = Leftover(self.job.key, self.job.name, self._ours, joins, interrupted=True)
        self.place.leftovers[self._ours.token] = left
        became = await withdraw(self._server, self._ours, seconds=3.0)
        if became.clean:
            self.place.leftovers.pop(self._ours.token, None)
        if became is not Withdrawal.ABSENT:
            job, server, prompt_id = self.job.name, self.place.name, self._ours.prompt_id
            self._emit(events.Withdrawn(job, server, prompt_id, became.value, became.clean))


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _call_failure(error: ServerCallError, place: Place) -> Failure:
    kind, category = FailureKind.SERVER_ERROR, ErrorCategory.NETWORK
    retry_after = None
    if isinstance(error, RefusedError | NoRouteError):
        kind = FailureKind.UNREACHABLE
    elif isinstance(error, NotComfyUIAnswerError) and not place.known:
        kind = FailureKind.NOT_COMFYUI
    elif isinstance(error, AnswerError):
        retry_after = error.retry_after
    return Failure(kind, str(error), place.name, category=category, retry_after=retry_after)
