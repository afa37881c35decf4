"""`/prompt`: jobs are taken in, and are on the disk before anybody is told so."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from holdfast.comfyui.durable.orders import index_of
from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Caller, Handler, allowed, answer, read_body
from holdfast.comfyui.gateway.guard import MAX_ID, Refusal, Submission, judge_prompt
from holdfast.comfyui.gateway.history import shown_number
from holdfast.comfyui.gateway.screening import Known, Screening, contents
from holdfast.comfyui.gateway.validation import Accepted
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from holdfast.stores.jobs.records import NewJob, StoredJob

LARGE_BYTES = 128 * 2**10
"""A body larger than this is read and judged beside the event loop."""
FRONT = 100
"""The priority of a job that wants to be first. Others have 0."""


class PromptRoutes:
    """Takes jobs in."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._screening = Screening(desk)

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [("GET", "/prompt", self.get_prompt), ("POST", "/prompt", self.post_prompt)]

    async def get_prompt(self, request: Request) -> Response:
        """Tell how many of one's jobs wait or run."""
        caller = allowed(request, "view")
        count = await self._desk.ask(own.open_jobs, self._desk.store, caller.user)
        return answer({"exec_info": {"queue_remaining": count}})

    async def post_prompt(self, request: Request) -> Response:
        """Judge a prompt and take it in."""
        caller = allowed(request, "run")
        limit = self._desk.limits.prompt_bytes
        raw = await read_body(request, limit)
        if len(raw) > LARGE_BYTES:
            submission = await asyncio.to_thread(judge_prompt, raw, limit=limit)
        else:
            submission = judge_prompt(raw, limit=limit)
        key = _key(request)
        del raw
        there = await self._there(caller, submission)
        if there is not None:
            return there
        known = await self._screening.files(caller.user, submission.graph)
        accepted = await self._screening.judged(submission.graph, known, submission.targets)
        payload = self._payload(submission, accepted, known)
        new = new_job(submission, payload, caller, key)
        # What was accepted before takes nobody's room a second time.
        if not key or not await self._desk.ask(own.has_key, self._desk.store, caller.user, key):
            await self._desk.intake.let_in(caller, new.priority)
        try:
            job = await self._desk.taken(new)
        except BadInputError:
            # Somebody was quicker with the same id.
            there = await self._there(caller, submission)
            if there is None:
                raise
            return there
        self._desk.accepted(job)
        return _told(job, payload if job.id == new.id else {})

    async def _there(self, caller: Caller, submission: Submission) -> Response | None:
        """The answer for a job that was submitted before; None if it was not."""
        if not submission.prompt_id:
            return None
        job = await self._desk.ask(self._desk.store.job, submission.prompt_id)
        if job is None:
            return None
        body = await self._desk.ask(self._desk.store.body, job.id)
        if job.user == caller.user and (body or {}).get("submitted") == submission.digest:
            return _told(job, body or {})
        words = "Take another prompt_id, or none to be given one"
        raise Refusal("prompt_id_in_use", "Another job has this prompt_id", words)

    def _payload(
        self,
        submission: Submission,
        accepted: Accepted,
        known: Known,
    ) -> dict[str, Any]:
        payload: dict[str, Any] = {
            "graph": accepted.graph,
            "extra_data": submission.extra_data,
            **contents(known, accepted.graph),
            "targets": list(accepted.targets),
            "settings": dict(self._desk.job_settings),
            "submitted": submission.digest,
        }
        if accepted.node_errors:
            payload["node_errors"] = accepted.node_errors
        if submission.number is not None:
            payload["number"] = submission.number
        elif submission.front:
            payload["front"] = True
        return payload


def new_job(submission: Submission, payload: Mapping[str, Any], caller: Caller, key: str) -> NewJob:
    """The job as the store takes it, with what it can be found by.

    Raises:
        BadInputError: no worker could run it.
    """
    if "prompt" in payload["graph"]:
        # By this a file is known that holds a whole request, and not only a graph.
        raise BadInputError("a node's id must not be 'prompt'; call it otherwise")
    # Looked over already, by `guard` and `validation`.
    workflow = Workflow(payload["graph"])
    found = index_of(workflow)
    return NewJob(
        payload=payload,
        name=_name(workflow),
        id=submission.prompt_id or _IDS.take(),
        key=key,
        user=caller.user,
        priority=_priority(submission, caller),
        client_id=submission.client_id,
        signature=found["signature"],
        prompt=found["prompt"],
        seed=found["seed"],
        model=found["model"],
    )


class _Ids:
    """Random ids for jobs.

    Asking the system for chance is dear in a busy process, so it is done for many at a time.
    """

    def __init__(self, many: int = 256) -> None:
        self._many = many
        self._left: list[str] = []

    def take(self) -> str:
        """One more, as a UUID."""
        if not self._left:
            chance = secrets.token_bytes(16 * self._many)
            self._left = [
                str(uuid.UUID(bytes=chance[at : at + 16], version=4))
                for at in range(0, len(chance), 16)
            ]
        return self._left.pop()


_IDS = _Ids()


def _told(job: StoredJob, payload: Mapping[str, Any]) -> Response:
    errors = payload.get("node_errors")
    return answer(
        {
            "prompt_id": job.id,
            "number": shown_number(job, payload),
            "node_errors": errors if isinstance(errors, dict) else {},
        }
    )


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if len(key) > MAX_ID or not key.isprintable():
        words = f"The Idempotency-Key must be printable, and of at most {MAX_ID} characters"
        raise Refusal("invalid_idempotency_key", words)
    return key


def _priority(submission: Submission, caller: Caller) -> int:
    number = submission.number
    wanted = FRONT if (submission.front if number is None else number < 0) else 0
    top = getattr(getattr(caller, "quotas", None), "top_priority", None)
    return wanted if top is None else min(wanted, top)


def _name(workflow: Workflow) -> str:
    prefixes = (
        value
        for node in workflow.graph.values()
        for name, value in node["inputs"].items()
        if name == "filename_prefix" and isinstance(value, str)
    )
    name = next(prefixes, "").replace("\\", "/").rsplit("/", 1)[-1]
    clean = "".join(each for each in name if each.isprintable())[:80].strip()
    return clean or "workflow"
