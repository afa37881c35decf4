"""Holdfast's own interface, beside ComfyUI's: jobs, their stories, dead letters, keys, audit.

Mounted at ``/holdfast/api``, with an OpenAPI document at ``/holdfast/api/openapi.json``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import sqlalchemy.exc
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.durable import new_job
from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.caller import Caller, Quotas
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.intake import Intake
from holdfast.comfyui.gateway.keys import KeyStore
from holdfast.comfyui.gateway.limits import whole_seconds
from holdfast.comfyui.gateway.rest_files import Files
from holdfast.comfyui.gateway.rest_terms import (
    COMMON,
    MOST,
    JobId,
    NewKey,
    Pause,
    Priority,
    Submission,
    caller_of_request,
    job_shown,
    key_shown,
    need,
    own_job,
)
from holdfast.comfyui.gateway.screening import Screening, contents
from holdfast.errors import BadInputError
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import (
    JobState,
    JobStore,
    QueueFullError,
    StoredJob,
    StoreUnavailableError,
)
from holdfast.stores.jobs.accepting import KeyReusedError
from holdfast.text import printable


def rest_app(
    store: JobStore,
    comfy: ComfyUI,
    keys: KeyStore,
    audit: AuditLog,
    *,
    on_accepted: Callable[[StoredJob], None],
    on_change: Callable[[str], None],
    intake: Intake | None = None,
    screening: Screening | None = None,
    blobs: BlobStore | None = None,
) -> FastAPI:
    """The application.

    Args:
        store: the jobs.
        comfy: the servers.
        keys: who may enter.
        audit: who did what.
        on_accepted: told of each job that was accepted.
        on_change: told of each user whose jobs were changed.
        intake: who may have another job in the queue; the one of ComfyUI's side, so that a quota
            holds for both. None: only the store's own limits hold.
        screening: looks workflows over, as ComfyUI's side does. None: the servers do.
        blobs: the jobs' files. None: they cannot be fetched here.
    """
    app = FastAPI(title="Holdfast", version="1", docs_url=None, redoc_url=None)
    app.add_exception_handler(BadInputError, _refused(400))
    app.add_exception_handler(KeyReusedError, _refused(422))
    app.add_exception_handler(QueueFullError, _refused(429))
    app.add_exception_handler(StoreUnavailableError, _refused(503))
    app.add_exception_handler(sqlalchemy.exc.SQLAlchemyError, _refused(503))
    app.add_exception_handler(Refusal, _turned_away)
    app.add_exception_handler(RequestValidationError, _misshapen)
    _Jobs(store, on_accepted, on_change, intake, screening).add_to(app)
    if blobs is not None:
        Files(store, blobs).add_to(app)
    _Administration(store, comfy, keys, audit).add_to(app)
    return app


class _Jobs:
    def __init__(
        self,
        store: JobStore,
        on_accepted: Callable[[StoredJob], None],
        on_change: Callable[[str], None],
        intake: Intake | None,
        screening: Screening | None,
    ) -> None:
        self._store = store
        self._screening = screening
        self._intake = intake
        self._on_accepted = on_accepted
        self._on_change = on_change

    def add_to(self, app: FastAPI) -> None:
        answers = {404: {"description": "There is no such job of yours."}, **COMMON}
        app.get("/jobs", responses=COMMON)(self.listed)
        app.post("/jobs", status_code=201, responses=COMMON)(self.submit)
        app.get("/jobs/{job_id}", responses=answers)(self.shown)
        app.get("/dead-letters", responses=COMMON)(self.dead_letters)
        ended = {409: {"description": "Its state does not allow that."}, **answers}
        app.post("/jobs/{job_id}/cancel", responses=ended)(self.cancelled)
        app.post("/jobs/{job_id}/retry", responses=ended)(self.retried)
        app.put("/jobs/{job_id}/priority", responses=answers)(self.moved)

    def listed(
        self,
        caller: Annotated[Caller, Depends(caller_of_request)],
        state: Annotated[list[JobState] | None, Query(max_length=5)] = None,
        search: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
    ) -> list[dict[str, Any]]:
        """List jobs, the newest first."""
        need(caller, "view")
        found = self._store.jobs(
            states=state or None,
            user=caller.sees,
            search=search.replace("\0", ""),
            limit=limit,
            before=before,
        )
        return [job_shown(each) for each in found]

    async def submit(
        self, body: Submission, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Accept a workflow; when this answers, it is on the disk."""
        need(caller, "run")
        workflow = Workflow.from_api(body.workflow, name=body.name or "job")
        top = caller.quotas.top_priority
        priority = body.priority if top is None else min(body.priority, top)
        given: dict[str, Any] = {}
        if self._screening is not None:
            known = await self._screening.files(caller.user, workflow.graph)
            accepted = await self._screening.judged(workflow.graph, known)
            if accepted.node_errors:
                raise Refusal("invalid_prompt", _wrong(accepted.node_errors))
            given = contents(known, workflow.graph)
        before = bool(body.key) and await asyncio.to_thread(
            own.has_key, self._store, caller.user, body.key
        )
        if not before:  # what was accepted then takes nobody's room a second time
            await self._let_in(caller, priority)
        new = new_job(
            workflow,
            name=body.name,
            **given,
            strict=body.strict,
            user=caller.user,
            key=body.key,
            priority=priority,
        )
        # By this the store tells a request that comes again from another with the same key.
        new = replace(new, payload={**new.payload, "submitted": _digest(body)})
        (job,) = await asyncio.wrap_future(self._store.accept([new]))
        if not before:
            self._landed(caller)
        self._on_accepted(job)
        return job_shown(job)

    def shown(
        self, job_id: JobId, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Tell a job's whole story."""
        need(caller, "view")
        job = own_job(self._store, job_id, caller)
        return {
            **job_shown(job),
            "outcome": self._store.outcome(job.id),
            "story": [asdict(each) for each in self._store.story(job.id)],
            "files": [asdict(each) for each in self._store.files(job.id)],
        }

    def dead_letters(
        self,
        caller: Annotated[Caller, Depends(caller_of_request)],
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        before: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
    ) -> list[dict[str, Any]]:
        """List jobs that failed, with what went wrong; `retry` queues one again."""
        need(caller, "view")
        found = self._store.jobs(
            states=(JobState.FAILED,), user=caller.sees, limit=limit, before=before
        )
        told = {each.id: self._store.outcome(each.id) or {} for each in found}
        return [
            {
                **job_shown(each),
                "failure": told[each.id].get("failure"),
                "attempts": len(told[each.id].get("attempts") or ()),
            }
            for each in found
        ]

    def cancelled(
        self, job_id: JobId, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Ask for a job's end."""
        need(caller, "cancel")
        job = own_job(self._store, job_id, caller)
        if job.state.ended and job.state is not JobState.CANCELLED:
            raise HTTPException(409, f"it has ended already: it is {job.state}")
        return self._changed(self._store.cancel(job_id).result())

    async def retried(
        self, job_id: JobId, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Queue a job that failed or was cancelled once more."""
        need(caller, "run")
        job = await run_in_threadpool(own_job, self._store, job_id, caller)
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            top = caller.quotas.top_priority
            await self._let_in(caller, job.priority if top is None else min(job.priority, top))
        else:
            raise HTTPException(
                409, f"it is {job.state}: only what failed or was cancelled is retried"
            )
        if top is not None and job.priority > top:
            await asyncio.wrap_future(self._store.set_priority(job_id, top))
        again = await asyncio.wrap_future(self._store.retry(job_id))
        self._landed(caller)
        return self._changed(again)

    async def _let_in(self, caller: Caller, priority: int) -> None:
        """Judge one more job, as ComfyUI's side does."""
        if self._intake is not None:
            await self._intake.let_in(caller, priority)

    def _landed(self, caller: Caller) -> None:
        """What was let in is in the store, and counted there."""
        if self._intake is not None:
            self._intake.landed(caller.user)

    def moved(
        self, job_id: JobId, body: Priority, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Give a job another priority."""
        need(caller, "admin")
        own_job(self._store, job_id, caller)
        return self._changed(self._store.set_priority(job_id, body.priority).result())

    def _changed(self, job: StoredJob | None) -> dict[str, Any]:
        if job is None:
            raise HTTPException(404, "there is no such job")
        self._on_change(job.user)
        return job_shown(job)


class _Administration:
    def __init__(self, store: JobStore, comfy: ComfyUI, keys: KeyStore, audit: AuditLog) -> None:
        self._store, self._comfy, self._keys, self._audit = store, comfy, keys, audit

    def add_to(self, app: FastAPI) -> None:
        app.get("/servers", responses=COMMON)(self.servers)
        app.get("/queue", responses=COMMON)(self.queue)
        app.put("/queue", responses=COMMON)(self.pause)
        app.get("/keys", responses=COMMON)(self.keys)
        app.post("/keys", status_code=201, responses=COMMON)(self.make_key)
        missing = {404: {"description": "There is no such key."}, **COMMON}
        app.delete("/keys/{key_id}", responses=missing)(self.disable_key)
        app.get("/audit", responses=COMMON)(self.audited)

    async def servers(
        self, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> list[dict[str, Any]]:
        """How the servers stand."""
        need(caller, "dashboard")
        return [asdict(each) for each in self._comfy.status()]

    def queue(self, caller: Annotated[Caller, Depends(caller_of_request)]) -> dict[str, Any]:
        """How many jobs there are in each state, and whether they are begun."""
        need(caller, "view")
        counts = self._store.counts(user=caller.sees)
        return {
            "counts": {state.value: count for state, count in counts.items()},
            "paused": self._store.paused(),
            "seconds_left": self._store.eta(),
        }

    def pause(
        self, body: Pause, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Begin no more jobs, or begin them again."""
        need(caller, "admin")
        self._store.pause(body.paused, body.reason).result()
        return self.queue(caller)

    def keys(self, caller: Annotated[Caller, Depends(caller_of_request)]) -> list[dict[str, Any]]:
        """List keys; their secrets are known to nobody."""
        need(caller, "admin")
        return [key_shown(each) for each in self._keys.list()]

    def make_key(
        self, body: NewKey, caller: Annotated[Caller, Depends(caller_of_request)]
    ) -> dict[str, Any]:
        """Make a key; it is shown this once."""
        need(caller, "admin")
        shown, key = self._keys.create(
            body.user,
            body.scopes,
            label=body.label,
            expires=body.expires,
            quotas=Quotas(
                max_queued=body.max_queued,
                max_running=body.max_running,
                jobs_per_hour=body.jobs_per_hour,
                top_priority=body.top_priority,
            ),
        )
        return {**key_shown(key), "key": shown}

    def disable_key(
        self,
        key_id: Annotated[str, Path(min_length=1, max_length=100)],
        caller: Annotated[Caller, Depends(caller_of_request)],
    ) -> dict[str, Any]:
        """Let a key open nothing any more."""
        need(caller, "admin")
        key = None if "\0" in key_id else self._keys.disable(key_id)
        if key is None:
            raise HTTPException(404, "there is no such key")
        return key_shown(key)

    def audited(
        self,
        caller: Annotated[Caller, Depends(caller_of_request)],
        user: Annotated[str | None, Query(max_length=200)] = None,
        before: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> list[dict[str, Any]]:
        """Who did what, the newest first."""
        need(caller, "admin")
        texts = [None if each is None else each.replace("\0", "") for each in (user, before)]
        found = self._audit.read(user=texts[0], before=texts[1], limit=limit)
        return [asdict(each) for each in found]


def _digest(body: Submission) -> str:
    said = json.dumps([body.workflow, body.name, body.strict], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _wrong(node_errors: Mapping[str, Any]) -> str:
    """What is wrong with the nodes of a workflow, in one line."""
    said = [
        f"node {node_id}: {error.get('message')} ({error.get('details')})"
        for node_id, told in node_errors.items()
        for error in told.get("errors", ())
    ]
    return "; ".join(said)[:1_500] or "a part of the workflow cannot run"


def _refused(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def answer(_request: Request, error: Exception) -> JSONResponse:
        known = isinstance(error, BadInputError | QueueFullError | StoreUnavailableError)
        words = str(error) if known else "the store cannot be used now"
        after = getattr(error, "retry_after", None)
        headers = {} if after is None else {"Retry-After": str(max(1, int(after)))}
        return JSONResponse({"detail": words[:2_000]}, status, headers)

    return answer


async def _turned_away(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Refusal):
        raise error
    after = error.retry_after
    headers = {} if after is None else {"Retry-After": str(whole_seconds(after))}
    nodes = _wrong(error.node_errors) if error.node_errors else error.details
    words = f"{error.message}: {nodes}" if nodes else error.message
    return JSONResponse({"detail": words[:2_000]}, error.status, headers)


async def _misshapen(_request: Request, error: Exception) -> JSONResponse:
    """Tell what is wrong without what was sent: it may be what no JSON can tell, or a secret."""
    if not isinstance(error, RequestValidationError):
        raise error
    told = [
        {
            "loc": [printable(str(part))[:100] for part in each["loc"]],
            "msg": printable(str(each["msg"]))[:500],
            "type": str(each["type"]),
        }
        for each in error.errors()[:20]
    ]
    return JSONResponse({"detail": told}, 422)
