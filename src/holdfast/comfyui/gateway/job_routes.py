"""The newer servers' ``/api/jobs``, served from the store whatever servers are behind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Handler, allowed, answer, read_body
from holdfast.comfyui.gateway.guard import MAX_SMALL_BYTES, Refusal, ids, judge_object
from holdfast.comfyui.gateway.history import is_in_history
from holdfast.comfyui.gateway.joblist import MOST, Question, brief, full, page_of
from holdfast.comfyui.gateway.queue_routes import QueueRoutes
from holdfast.stores.jobs.records import JobState, StoredJob

KEPT = 5_000
"""Jobs whose line in the list is remembered: the page asks for it all the time."""
SCANNED = 2_000
"""Jobs that are looked at for those of one workflow."""


class JobRoutes:
    """Tells of jobs in one list, and cancels them."""

    def __init__(self, desk: Desk, queue: QueueRoutes) -> None:
        self._desk = desk
        self._queue = queue
        self._lines: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each; the order matters."""
        return [
            ("GET", "/jobs", _plainly(self.get_jobs)),
            ("POST", "/jobs/cancel", _plainly(self.post_cancel_many)),
            ("POST", "/jobs/{job_id}/cancel", _plainly(self.post_cancel)),
            ("GET", "/jobs/{job_id}", _plainly(self.get_job)),
        ]

    async def get_jobs(self, request: Request) -> Response:
        """List one's jobs."""
        caller = allowed(request, "view")
        question = Question.of(request.query_params)
        return answer(await self._desk.ask(self._page, caller.user, question))

    def _page(self, user: str, question: Question) -> dict[str, Any]:
        by_workflow = bool(question.workflow_id)
        limit = MOST if question.limit is None else min(question.limit, MOST)
        found = own.listing(
            self._desk.store,
            user,
            question.states,
            limit=SCANNED if by_workflow else limit,
            offset=0 if by_workflow else question.offset,
            oldest_first=question.ascending,
            by_duration=question.by_duration,
        )
        lines = self._told(found.jobs)
        if not by_workflow:
            return page_of(lines, question, found.total)
        lines = [each for each in lines if each.get("workflow_id") == question.workflow_id]
        page = lines[question.offset : question.offset + limit]
        return page_of(page, question, len(lines))

    def _told(self, jobs: list[StoredJob]) -> list[dict[str, Any]]:
        keys = {each.id: (each.id, each.state, each.started, each.ended) for each in jobs}
        new = [each for each in jobs if keys[each.id] not in self._lines]
        fresh: dict[str, dict[str, Any]] = {}
        for start in range(0, len(new), 25):
            for record in own.records(self._desk.store, new[start : start + 25]):
                fresh[record.job.id] = brief(record)
        told = []
        for each in jobs:
            line = fresh.get(each.id) or self._lines.get(keys[each.id])
            if line is None:  # another thread has just let go of it
                line = brief(own.records(self._desk.store, [each])[0])
            told.append(line)
        for job_id, line in fresh.items():
            # What failed may tell a long story, and is read again instead.
            if "execution_error" not in line:
                self._lines[keys[job_id]] = line
        while len(self._lines) > KEPT:
            try:
                self._lines.popitem(last=False)
            except KeyError:
                break
        return told

    async def get_job(self, request: Request) -> Response:
        """Tell all of one job."""
        caller = allowed(request, "view")
        told = await self._desk.ask(self._one, caller.user, request.path_params["job_id"])
        if told is None:
            return answer({"error": "Job not found"}, 404)
        return answer(told)

    def _one(self, user: str, job_id: str) -> dict[str, Any] | None:
        job = own.find(self._desk.store, user, job_id)
        if job is None:
            return None
        if is_in_history(job):
            record = own.finished(self._desk.store, user, job_id)
            return None if record is None else full(record)
        if job.state is JobState.CANCELLED:
            return None
        return full(own.records(self._desk.store, [job])[0])

    async def post_cancel(self, request: Request) -> Response:
        """Cancel one job, wherever it stands; one that has ended is left alone."""
        caller = allowed(request, "cancel")
        job_id = request.path_params["job_id"]
        done = await self._queue.cancel(caller.user, [job_id], waiting=True, running=True)
        return answer({"cancelled": bool(done)})

    async def post_cancel_many(self, request: Request) -> Response:
        """Cancel several jobs."""
        caller = allowed(request, "cancel")
        body = judge_object(await read_body(request, MAX_SMALL_BYTES))
        wanted = ids("job_ids", body.get("job_ids"))
        done = await self._queue.cancel(caller.user, wanted, waiting=True, running=True)
        return answer({"cancelled": bool(done)})


def _plainly(handler: Callable[[Request], Awaitable[Response]]) -> Handler:
    """The handler, refusing in one sentence, as the newer servers do here."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except Refusal as refusal:
            if refusal.status != 400:
                raise
            words = f"{refusal.message}. {refusal.details}" if refusal.details else refusal.message
            return answer({"error": words}, 400)

    return handle
