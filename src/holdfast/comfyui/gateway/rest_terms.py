"""What requests to Holdfast's own interface, and its answers, look like, and who may ask."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import HTTPException, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from holdfast.comfyui.gateway.caller import Caller
from holdfast.comfyui.gateway.keys import Key
from holdfast.stores.jobs import JobStore, StoredJob

JobId = Annotated[str, Path(min_length=1, max_length=200, description="The id of a job.")]
MOST = 500
"""Entries of one list."""
HIGHEST = 1_000_000


class Shape(BaseModel):
    """What is sent must be what is said here, and nothing more."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Submission(Shape):
    """A job to be accepted."""

    workflow: dict[str, Any] = Field(description="A workflow in API format.")
    name: str = Field("", max_length=150)
    key: str = Field("", max_length=150, description="For idempotency.")
    priority: int = Field(0, ge=-HIGHEST, le=HIGHEST)
    strict: bool = Field(False, description="Change nothing but what keeps the result.")


class Priority(Shape):
    """Where a job stands."""

    priority: int = Field(ge=-HIGHEST, le=HIGHEST)


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
    max_running: int | None = Field(None, ge=1, lt=2**31)
    jobs_per_hour: int | None = Field(None, ge=0, lt=2**31)
    top_priority: int | None = Field(None, ge=-HIGHEST, le=HIGHEST)


COMMON: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent cannot be done; `detail` says why."},
    401: {"description": "A key is needed."},
    403: {"description": "The key is not good for that."},
    422: {"description": "What was sent has another shape than it must."},
    429: {"description": "Too much at once, or the queue is full; see Retry-After."},
    503: {"description": "The store cannot be used now."},
}


def caller_of_request(request: Request) -> Caller:
    """Whoever the door has let in; where there is no door, nobody."""
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        raise HTTPException(401, "a key is needed")
    return found


def need(caller: Caller, scope: str) -> None:
    """Refuse who may not do what the scope allows."""
    if not caller.can(scope):
        raise HTTPException(403, f"this key is not good for {scope}")


def own_job(store: JobStore, job_id: str, caller: Caller) -> StoredJob:
    """A job that the caller may see.

    Raises:
        HTTPException: 404, there is none, or it is another's.
    """
    found = None if "\0" in job_id else store.job(job_id)
    if found is None or caller.sees not in (None, found.user):
        raise HTTPException(404, "there is no such job")
    return found


def job_shown(job: StoredJob) -> dict[str, Any]:
    """A job as it is told."""
    return {**asdict(job), "state": job.state.value}


def key_shown(key: Key) -> dict[str, Any]:
    """A key as it is told, without its secret."""
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
