"""`/queue`, `/history`, `/interrupt` and `/free`: one's own jobs, told as ComfyUI tells them.

What is long is told piece by piece, so that nobody's history fills the memory.
Jobs beyond the first few hundred that wait are told without their graphs:
clients look for ids there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import TypeVar

from sqlalchemy.engine import Connection
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.exchange import Handler, allowed, answer, read_body
from holdfast.comfyui.gateway.guard import (
    MAX_SMALL_BYTES,
    judge_interrupt,
    judge_object,
    judge_queue_wish,
    whole_number,
)
from holdfast.comfyui.gateway.history import ENDED, history_entry, queue_item
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.stores.jobs import reading, settling
from holdfast.stores.jobs.records import JobState, StoredJob

T = TypeVar("T")

PIECE = 25
"""Jobs that are read with all that belongs to them at a time."""
LONGEST = 10_000
"""Jobs of one answer, as of ComfyUI's own history."""
AT_ONCE = 200
"""Jobs that are cancelled in one commit."""


class QueueRoutes:
    """Tells of jobs, and takes them back."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("GET", "/history", self.get_history),
            ("POST", "/history", self.post_history),
            ("GET", "/history/{prompt_id:path}", self.get_finished),
            ("POST", "/interrupt", self.post_interrupt),
            ("POST", "/free", self.post_free),
        ]

    # Telling ----------------------------------------------------------------------------

    async def get_queue(self, request: Request) -> Response:
        """Tell what runs and what waits."""
        caller = allowed(request, "view")
        running = await self._listing(caller.user, (JobState.RUNNING,), LONGEST)
        waiting = await self._listing(caller.user, (JobState.QUEUED,), LONGEST)
        if len(running) + len(waiting) <= PIECE:
            body = b"".join([piece async for piece in self._queue(running, waiting)])
            return Response(body, media_type="application/json")
        return _stream(self._queue(running, waiting))

    async def _queue(
        self, running: Sequence[StoredJob], waiting: Sequence[StoredJob]
    ) -> AsyncIterator[bytes]:
        whole = self._desk.limits.queue
        yield b'{"queue_running": ['
        async for piece in self._items(running, len(running)):
            yield piece
        yield b'], "queue_pending": ['
        async for piece in self._items(waiting, whole):
            yield piece
        yield b"]}"

    async def _items(self, jobs: Sequence[StoredJob], whole: int) -> AsyncIterator[bytes]:
        first = True
        for piece in _pieces(jobs[:whole], PIECE):
            yield (b"" if first else b", ") + await asyncio.to_thread(self._told_items, piece)
            first = False
        for piece in _pieces(jobs[whole:], 1_000):
            told = ", ".join(json.dumps(queue_item(each, {})) for each in piece)
            yield (b"" if first else b", ") + told.encode("ascii")
            first = False

    def _told_items(self, jobs: Sequence[StoredJob]) -> bytes:
        found = own.records(self._desk.store, jobs)
        told = ", ".join(json.dumps(queue_item(each.job, each.payload)) for each in found)
        return told.encode("ascii")

    async def get_history(self, request: Request) -> Response:
        """Tell of jobs that ended, the oldest of them first."""
        caller = allowed(request, "view")
        most = whole_number(request.query_params, "max_items", None, high=LONGEST)
        asked = self._desk.limits.history if most is None else most
        if "offset" in request.query_params and not request.query_params["offset"].startswith("-"):
            offset = whole_number(request.query_params, "offset", 0) or 0
            jobs = await self._listing(caller.user, ENDED, asked, offset=offset)
        else:
            jobs = await self._listing(caller.user, ENDED, asked, oldest_first=False)
            jobs.reverse()
        if len(jobs) <= PIECE:
            body = b"".join([piece async for piece in self._history(jobs)])
            return Response(body, media_type="application/json")
        return _stream(self._history(jobs))

    async def _history(self, jobs: Sequence[StoredJob]) -> AsyncIterator[bytes]:
        yield b"{"
        first = True
        for piece in _pieces(jobs, PIECE):
            told = await asyncio.to_thread(self._told_entries, piece)
            yield (b"" if first else b", ") + told
            first = False
        yield b"}"

    def _told_entries(self, jobs: Sequence[StoredJob]) -> bytes:
        return ", ".join(
            f"{json.dumps(each.job.id)}: {json.dumps(history_entry(each))}"
            for each in own.records(self._desk.store, jobs)
        ).encode("ascii")

    async def get_finished(self, request: Request) -> Response:
        """Tell of one job that ended; of any other, nothing."""
        caller = allowed(request, "view")
        job_id = request.path_params["prompt_id"]
        record = await self._desk.ask(own.finished, self._desk.store, caller.user, job_id)
        return answer({} if record is None else {job_id: history_entry(record)})

    async def _listing(
        self,
        user: str,
        states: Collection[JobState],
        limit: int,
        *,
        offset: int = 0,
        oldest_first: bool = True,
    ) -> list[StoredJob]:
        if limit <= 0:
            return []
        found = await self._desk.ask(
            own.listing,
            self._desk.store,
            user,
            states,
            limit=limit,
            offset=offset,
            oldest_first=oldest_first,
        )
        return found.jobs

    # Taking back ------------------------------------------------------------------------

    async def post_queue(self, request: Request) -> Response:
        """Take jobs of one's own that wait out of the queue; never what runs."""
        caller = allowed(request, "cancel")
        wish = judge_queue_wish(await read_body(request, MAX_SMALL_BYTES))
        if wish.clear:
            while waiting := await self._listing(caller.user, (JobState.QUEUED,), LONGEST):
                done = await self.cancel(caller.user, [each.id for each in waiting], waiting=True)
                if not done:
                    break
        if wish.delete:
            await self.cancel(caller.user, wish.delete, waiting=True)
        return Response()

    async def post_history(self, request: Request) -> Response:
        """Leave jobs of one's own that ended out of the history from now on."""
        caller = allowed(request, "cancel")
        wish = judge_queue_wish(await read_body(request, MAX_SMALL_BYTES))
        if wish.clear:
            await self._desk.written(self._desk.store.hide(None, caller.user))
        if wish.delete:
            await self._desk.written(self._desk.store.hide(wish.delete, caller.user))
        return Response()

    async def post_interrupt(self, request: Request) -> Response:
        """Stop one's own job of an id if it runs, or all of one's own that run."""
        caller = allowed(request, "cancel")
        job_id = judge_interrupt(await read_body(request, MAX_SMALL_BYTES))
        if job_id:
            await self.cancel(caller.user, [job_id], running=True)
        else:
            running = await self._listing(caller.user, (JobState.RUNNING,), LONGEST)
            await self.cancel(caller.user, [each.id for each in running], running=True)
        return Response()

    async def cancel(
        self,
        user: str,
        job_ids: Iterable[str],
        *,
        waiting: bool = False,
        running: bool = False,
    ) -> int:
        """Cancel a user's jobs that wait, or that run, or both; how many it was asked for."""
        states = {JobState.QUEUED} if waiting else set()
        states |= {JobState.RUNNING} if running else set()
        asked = 0
        for piece in _pieces(list(job_ids), AT_ONCE):

            def write(on: Connection, now: float, piece: Sequence[str] = piece) -> int:
                done = 0
                for each in piece:
                    # Looked at in the same commit: what has begun since is not cancelled.
                    job = reading.job(on, each)
                    if job is not None and job.user == user and job.state in states:
                        settling.cancel(on, now, each)
                        done += 1
                return done

            asked += await self._desk.written(self._desk.store.write(write))
        if asked:
            self._desk.changed(user)
        return asked

    async def post_free(self, request: Request) -> Response:
        """Ask all servers to release memory. As theirs, the answer says only that it was asked."""
        allowed(request, "admin")
        body = judge_object(await read_body(request, MAX_SMALL_BYTES))
        unload, free = bool(body.get("unload_models")), bool(body.get("free_memory"))
        if unload or free:
            await asyncio.gather(
                *(_free(each, unload=unload, free=free) for each in self._desk.servers())
            )
        return Response()


async def _free(server: Server, *, unload: bool, free: bool) -> None:
    try:
        await server.free(unload_models=unload, free_memory=free)
    except ServerCallError:
        return  # a server that is gone has its memory free


def _pieces(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _stream(pieces: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(pieces, media_type="application/json")
