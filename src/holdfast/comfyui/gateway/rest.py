"""Holdfast's own interface, beside ComfyUI's: jobs, their stories, dead letters, keys, audit.

Mounted at ``/holdfast/api``, with an OpenAPI document at ``/holdfast/api/openapi.json``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import sqlalchemy.exc
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.durable import new_job
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.caller import Caller, Quotas
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.intake import Intake
from holdfast.comfyui.gateway.keys import Key, KeyStore
from holdfast.comfyui.gateway.limits import whole_seconds
from holdfast.errors import BadInputError
from holdfast.stores.jobs import (
    JobState,
    JobStore,
    QueueFullError,
    StoredJob,
    StoreUnavailableError,
)
from holdfast.text import printable

JobId = Annotated[str, Path(min_length=1, max_length=200, description="The id of a job.")]
MOST = 500
_HIGHEST = 1_000_000


class Shape(BaseModel):
    """What is sent must be what is said here, and nothing more."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Submission(Shape):
    """A job to be accepted."""

    workflow: dict[str, Any] = Field(description="A workflow in API format.")
    name: str = Field("", max_length=150)
    key: str = Field("", max_length=150, description="For idempotency.")
    priority: int = Field(0, ge=-_HIGHEST, le=_HIGHEST)
    strict: bool = Field(False, description="Change nothing but what keeps the result.")


class Priority(Shape):
    """Where a job stands."""

    priority: int = Field(ge=-_HIGHEST, le=_HIGHEST)


class Pause(Shape):
    """Whether jobs are begun."""

    paused: bool
    reason: str = Field("", max_length=500)


class NewKey(Shape):
    """A key to be made."""

    user: str = Field(min_length=1, max_length=100)
    scopes: list[str] = Field(min_length=1, max_length=10)
    label: str = Field("", max_length=200)
    expires: float | None = Field(None, description="Seconds since 1970.")
    max_queued: int | None = Field(None, ge=0, lt=2**31)
    jobs_per_hour: int | None = Field(None, ge=0, lt=2**31)
    top_priority: int | None = Field(None, ge=-_HIGHEST, le=_HIGHEST)


def rest_app(
    store: JobStore,
    comfy: ComfyUI,
    keys: KeyStore,
    audit: AuditLog,
    *,
    on_accepted: Callable[[StoredJob], None],
    on_change: Callable[[str], None],
    intake: Intake | None = None,
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
    """
    app = FastAPI(title="Holdfast", version="1", docs_url=None, redoc_url=None)
    app.add_exception_handler(BadInputError, _refused(400))
    app.add_exception_handler(QueueFullError, _refused(429))
    app.add_exception_handler(StoreUnavailableError, _refused(503))
    app.add_exception_handler(sqlalchemy.exc.SQLAlchemyError, _refused(503))
    app.add_exception_handler(Refusal, _turned_away)
    app.add_exception_handler(RequestValidationError, _misshapen)
    _Jobs(store, on_accepted, on_change, intake).add_to(app)
    _Administration(store, comfy, keys, audit).add_to(app)
    return app


class _Jobs:
    def __init__(
        self,
        store: JobStore,
        on_accepted: Callable[[StoredJob], None],
        on_change: Callable[[str], None],
        intake: Intake | None,
    ) -> None:
        self._store = store
        self._intake = intake
        self._on_accepted = on_accepted
        self._on_change = on_change

    def add_to(self, app: FastAPI) -> None:
        answers = {404: {"description": "There is no such job of yours."}, **_COMMON}
        app.get("/jobs", responses=_COMMON)(self.listed)
        app.post("/jobs", status_code=201, responses=_COMMON)(self.submit)
        app.get("/jobs/{job_id}", responses=answers)(self.shown)
        app.post("/jobs/{job_id}/cancel", responses=answers)(self.cancelled)
        app.post("/jobs/{job_id}/retry", responses=answers)(self.retried)
        app.put("/jobs/{job_id}/priority", responses=answers)(self.moved)

    def listed(
        self,
        caller: Annotated[Caller, Depends(_caller)],
        state: Annotated[list[JobState] | None, Query(max_length=5)] = None,
        search: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
    ) -> list[dict[str, Any]]:
        """List jobs, the newest first."""
        _need(caller, "view")
        found = self._store.jobs(
            states=state or None,
            user=caller.sees,
            search=search.replace("\0", ""),
            limit=limit,
            before=before,
        )
        return [_job(each) for each in found]

    async def submit(
        self, body: Submission, caller: Annotated[Caller, Depends(_caller)]
    ) -> dict[str, Any]:
        """Accept a workflow; when this answers, it is on the disk."""
        _need(caller, "run")
        workflow = Workflow.from_api(body.workflow, name=body.name or "job")
        top = caller.quotas.top_priority
        priority = body.priority if top is None else min(body.priority, top)
        await self._let_in(caller, priority)
        new = new_job(
            workflow,
            name=body.name,
            strict=body.strict,
            user=caller.user,
            key=body.key,
            priority=priority,
        )
        (job,) = await run_in_threadpool(lambda: self._store.accept([new]).result())
        self._on_accepted(job)
        return _job(job)

    def shown(self, job_id: JobId, caller: Annotated[Caller, Depends(_caller)]) -> dict[str, Any]:
        """Tell a job's whole story."""
        _need(caller, "view")
        job = self._own(job_id, caller)
        return {
            **_job(job),
            "outcome": self._store.outcome(job.id),
            "story": [asdict(each) for each in self._store.story(job.id)],
            "files": [asdict(each) for each in self._store.files(job.id)],
        }

    def cancelled(
        self, job_id: JobId, caller: Annotated[Caller, Depends(_caller)]
    ) -> dict[str, Any]:
        """Ask for a job's end."""
        _need(caller, "cancel")
        self._own(job_id, caller)
        return self._changed(self._store.cancel(job_id).result())

    async def retried(
        self, job_id: JobId, caller: Annotated[Caller, Depends(_caller)]
    ) -> dict[str, Any]:
        """Queue a job that failed or was cancelled once more."""
        _need(caller, "run")
        job = await run_in_threadpool(self._own, job_id, caller)
        if job.state in (JobState.FAILED, JobState.CANCELLED):
            top = caller.quotas.top_priority
            await self._let_in(caller, job.priority if top is None else min(job.priority, top))
        return self._changed(await asyncio.wrap_future(self._store.retry(job_id)))

    async def _let_in(self, caller: Caller, priority: int) -> None:
        """Judge one more job, as ComfyUI's side does."""
        if self._intake is not None:
            await self._intake.let_in(caller, priority)

    def moved(
        self, job_id: JobId, body: Priority, caller: Annotated[Caller, Depends(_caller)]
    ) -> dict[str, Any]:
        """Give a job another priority."""
        _need(caller, "admin")
        self._own(job_id, caller)
        return self._changed(self._store.set_priority(job_id, body.priority).result())

    def _own(self, job_id: str, caller: Caller) -> StoredJob:
        found = None if "\0" in job_id else self._store.job(job_id)
        if found is None or caller.sees not in (None, found.user):
            raise HTTPException(404, "there is no such job")
        return found

    def _changed(self, job: StoredJob | None) -> dict[str, Any]:
        if job is None:
            raise HTTPException(404, "there is no such job")
        self._on_change(job.user)
        return _job(job)


class _Administration:
    def __init__(self, store: JobStore, comfy: ComfyUI, keys: KeyStore, audit: AuditLog) -> None:
        self._store, self._comfy, self._keys, self._audit = store, comfy, keys, audit

    def add_to(self, app: FastAPI) -> None:
        app.get("/servers", responses=_COMMON)(self.servers)
        app.get("/queue", responses=_COMMON)(self.queue)
        app.put("/queue", responses=_COMMON)(self.pause)
        app.get("/keys", responses=_COMMON)(self.keys)
        app.post("/keys", status_code=201, responses=_COMMON)(self.make_key)
        missing = {404: {"description": "There is no such key."}, **_COMMON}
        app.delete("/keys/{key_id}", responses=missing)(self.disable_key)
        app.get("/audit", responses=_COMMON)(self.audited)

    async def servers(self, caller: Annotated[Caller, Depends(_caller)]) -> list[dict[str, Any]]:
        """How the servers stand."""
        _need(caller, "dashboard")
        return [asdict(each) for each in self._comfy.status()]

    def queue(self, caller: Annotated[Caller, Depends(_caller)]) -> dict[str, Any]:
        """How many jobs there are in each state, and whether they are begun."""
        _need(caller, "view")
        counts = self._store.counts(user=caller.sees)
        return {
            "counts": {state.value: count for state, count in counts.items()},
            "paused": self._store.paused(),
            "seconds_left": self._store.eta(),
        }

    def pause(self, body: Pause, caller: Annotated[Caller, Depends(_caller)]) -> dict[str, Any]:
        """Begin no more jobs, or begin them again."""
        _need(caller, "admin")
        self._store.pause(body.paused, body.reason).result()
        return self.queue(caller)

    def keys(self, caller: Annotated[Caller, Depends(_caller)]) -> list[dict[str, Any]]:
        """List keys; their secrets are known to nobody."""
        _need(caller, "admin")
        return [_key(each) for each in self._keys.list()]

    def make_key(self, body: NewKey, caller: Annotated[Caller, Depends(_caller)]) -> dict[str, Any]:
        """Make a key; it is shown this once."""
        _need(caller, "admin")
        shown, key = self._keys.create(
            body.user,
            body.scopes,
            label=body.label,
            expires=body.expires,
            quotas=Quotas(
                max_queued=body.max_queued,
                jobs_per_hour=body.jobs_per_hour,
                top_priority=body.top_priority,
            ),
        )
        return {**_key(key), "key": shown}

    def disable_key(
        self,
        key_id: Annotated[str, Path(min_length=1, max_length=100)],
        caller: Annotated[Caller, Depends(_caller)],
    ) -> dict[str, Any]:
        """Let a key open nothing any more."""
        _need(caller, "admin")
        key = None if "\0" in key_id else self._keys.disable(key_id)
        if key is None:
            raise HTTPException(404, "there is no such key")
        return _key(key)

    def audited(
        self,
        caller: Annotated[Caller, Depends(_caller)],
        user: Annotated[str | None, Query(max_length=200)] = None,
        before: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> list[dict[str, Any]]:
        """Who did what, the newest first."""
        _need(caller, "admin")
        texts = [None if each is None else each.replace("\0", "") for each in (user, before)]
        found = self._audit.read(user=texts[0], before=texts[1], limit=limit)
        return [asdict(each) for each in found]


_COMMON: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent cannot be done; `detail` says why."},
    401: {"description": "A key is needed."},
    403: {"description": "The key is not good for that."},
    422: {"description": "What was sent has another shape than it must."},
    429: {"description": "Too much at once, or the queue is full; see Retry-After."},
    503: {"description": "The store cannot be used now."},
}


def _caller(request: Request) -> Caller:
    """Whoever the door has let in; where there is no door, nobody."""
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        raise HTTPException(401, "a key is needed")
    return found


def _need(caller: Caller, scope: str) -> None:
    if not caller.can(scope):
        raise HTTPException(403, f"this key is not good for {scope}")


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
    return JSONResponse({"detail": error.message}, error.status, headers)


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


def _job(job: StoredJob) -> dict[str, Any]:
    return {**asdict(job), "state": job.state.value}


def _key(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "user": key.user,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "created": key.created,
        "expires": key.expires,
        "disabled": key.disabled,
        **asdict(key.quotas),
    }
