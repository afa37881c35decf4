"""Every client's WebSocket, and what the workers say about jobs: who hears what.

Lives on one event loop; `began`, `frame`, `ended` and the other plain methods may
be called from any thread. A client is a user *and* a client id: an id that is
guessed leads to nothing.
"""

from __future__ import annotations

import asyncio
import functools
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.websockets import WebSocket

from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.audience import Audience
from holdfast.comfyui.gateway.frames import Preview, Raw
from holdfast.comfyui.gateway.listener import NOT_ALLOWED, TOO_MUCH, TOO_SLOW, Listener
from holdfast.comfyui.gateway.outbox import OutboxLimits
from holdfast.comfyui.gateway.replay import Kept, Owner, Replay, ReplayLimits
from holdfast.comfyui.gateway.saying import Said, Sort
from holdfast.comfyui.gateway.seen_files import SeenFiles
from holdfast.comfyui.gateway.tally import Tally
from holdfast.comfyui.gateway.telling import Telling
from holdfast.ports import ambient

FEATURES: Mapping[str, Any] = {"supports_preview_metadata": True, "max_upload_size": 104_857_600}
"""What a client is told that we can do, as ComfyUI tells it."""
_LONGEST_ID = 256
_JOBS = 20_000
"""Jobs that run, or ended last, that are known apart."""
_NEVER = -1.0
GOING_AWAY = 1012
"""How sockets are closed when the gateway restarts."""


class Job(Protocol):
    """What is asked of a job; `holdfast.stores.jobs.StoredJob` is one."""

    @property
    def id(self) -> str:
        """Which is the prompt's id as well."""
        ...

    @property
    def user(self) -> str:
        """Whose it is."""
        ...

    @property
    def client_id(self) -> str:
        """Whose socket hears of it; empty if no client was named."""
        ...

    @property
    def started(self) -> float | None:
        """When it was last given to a worker, which tells one run of it from the next."""
        ...


@dataclass(slots=True)
class _Run:
    telling: Telling
    owner: Owner
    addressed: bool
    started: float | None


class Hub:
    """All open sockets. Give it to the workers as their relay, and `serve` as a route."""

    def __init__(
        self,
        *,
        remaining: Callable[[str], int] | None = None,
        features: Mapping[str, Any] = FEATURES,
        outbox: OutboxLimits | None = None,
        replay: ReplayLimits | None = None,
        most_sockets: int = 10_000,
        most_sockets_per_user: int = 5_000,
        good: Callable[[str], bool] = lambda _key_id: True,
    ) -> None:
        """Make a hub with no sockets.

        Args:
            remaining: how many jobs of a user wait or run; must be quick. None: what the
                hub was told by `accepted`, `began` and `ended` is counted.
            features: what clients are told that we can do.
            outbox: what may wait for one client.
            replay: what is kept for clients that are away.
            most_sockets: sockets open at a time.
            most_sockets_per_user: of one user.
            good: whether the key of this id still opens anything; must be quick. A socket whose
                key does not is cut off within a second.
        """
        self.features = features
        self._good = good
        self._tally = Tally()
        self._remaining = remaining or self._tally.remaining
        self._outbox = outbox or OutboxLimits()
        self._replay = Replay(replay)
        self._audience = Audience(self._status, most_sockets, most_sockets_per_user)
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._over: OrderedDict[str, float | None] = OrderedDict()
        self._files = SeenFiles()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> int:
        """How many are open."""
        return len(self._audience)

    def server_of(
        self, filename: str, subfolder: str, type_: str, *, user: str | None = None
    ) -> str | None:
        """The server with a file that clients were told of while its job ran; None if unknown."""
        return self._files.server_of(filename, subfolder, type_, user=user)

    # What workers and the queue say, from any thread.

    def accepted(self, *jobs: Job) -> None:
        """Jobs were accepted; also to be told of those that wait when the gateway starts."""
        self._soon(self._accepted, jobs)

    def queue_changed(self, user: str) -> None:
        """The user's queue is another now, for whatever reason."""
        self._soon(self._audience.announce, user)

    def began(self, job: Job) -> None:
        """A worker, here or in another process, has taken up the job."""
        self._soon(self._began, job)

    def frame(self, job: Job, server: str, frame: Raw) -> None:
        """A raw frame of the job's run on a server."""
        self._soon(self._frame, job, server, frame)

    def ended(self, job: Job, outcome: Mapping[str, Any]) -> None:
        """The job is over, here or in another process."""
        self._soon(self._ended, job, outcome)

    def is_over(self, job: Job) -> bool:
        """Whether it was told already how this run of the job ended. On the loop."""
        return job.id not in self._runs and self._over.get(job.id, _NEVER) == job.started

    def note(self, job: Job, kind: str, words: str) -> None:
        """Something about a running job for clients that asked for Holdfast's notes."""
        self._soon(self._note, job, kind, words)

    # Sockets.

    async def serve(self, socket: WebSocket) -> None:
        """Serve one client's socket until it closes: the route `/ws`, and `/api/ws`."""
        self._loop = asyncio.get_running_loop()
        caller = getattr(socket.state, "caller", None)
        user, key_id = str(getattr(caller, "user", "")), str(getattr(caller, "key_id", ""))
        client_id = socket.query_params.get("clientId", "") or uuid.uuid4().hex
        await socket.accept()
        if len(client_id) > _LONGEST_ID:
            await socket.close(TOO_SLOW, "this client id is too long")
            return
        if not self._audience.has_room(user):
            await socket.close(TOO_MUCH, "too many sockets are open")
            return
        owner = (user, client_id)
        listener = Listener(socket, owner, self._outbox, key_id)
        self._arrive(listener)
        try:
            await listener.serve(self.features, functools.partial(self._told, owner))
        finally:
            self._leave(listener)

    async def close(self, reason: str = "the gateway restarts") -> None:
        """Close every socket; their clients come back when the gateway does."""
        for listener in self._audience:
            listener.cut(GOING_AWAY, reason)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
            self._sweeper = None
        self._audience.close()

    def _arrive(self, listener: Listener) -> None:
        before = self._audience.add(listener)
        if before is not None:
            before.hush()
            self._replay.left(listener.owner, ambient.now(), broken=True)
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep())
        self._welcome(listener)

    def _leave(self, listener: Listener) -> None:
        if self._audience.remove(listener):
            self._replay.left(listener.owner, ambient.now(), broken=not listener.in_good_order)
            heir = self._audience.spoken_to(listener.owner)
            if heir is not None:
                self._welcome(heir)
        if not self._audience and self._sweeper is not None:
            self._sweeper.cancel()

    def _welcome(self, listener: Listener) -> None:
        """Say what ComfyUI says to a socket that opens, and then what its client has missed."""
        user, client_id = listener.owner
        status = {"status": self._status_of(user), "sid": client_id}
        listener.say(Said(frames.event("status", status), Sort.OTHER))
        node = next(
            (
                run.telling.node
                for run in reversed(self._runs.values())
                if run.addressed and run.owner == listener.owner and run.telling.node is not None
            ),
            None,
        )
        if node is not None:
            listener.say(Said(frames.event("executing", {"node": node}), Sort.OTHER))
        for kept in self._replay.missed(listener.owner, ambient.now()):
            listener.say(_as_plain(kept), kept.number)

    def _told(self, owner: Owner, number: int | None) -> None:
        self._replay.told(owner, number, ambient.now())

    # What is said, on the loop.

    def _soon(self, do: Callable[..., None], *arguments: Any) -> None:
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._loop is None or self._loop is here:
            do(*arguments)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do, *arguments)

    def _accepted(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            if self._tally.add(job.id, job.user):
                self._audience.announce(job.user)

    def _began(self, job: Job) -> None:
        run = self._runs.get(job.id)
        known = run is not None or job.id in self._over
        before = run.started if run is not None else self._over.get(job.id)
        if known and job.started is not None and job.started == before:
            return
        if run is None:
            run = self._run_of(job)
        run.started = job.started
        self._tally.add(job.id, job.user)
        mine = self._spoken_to(run)
        if mine is not None:
            mine.say(self._status(job.user))
        for said in run.telling.begin(_milliseconds()):
            self._deliver(run, said)
        self._audience.announce(job.user, told=mine)

    def _run_of(self, job: Job) -> _Run:
        self._over.pop(job.id, None)
        addressed = bool(job.client_id)
        run = _Run(
            Telling(job.id, addressed=addressed),
            (job.user, job.client_id),
            addressed,
            job.started,
        )
        self._runs[job.id] = run
        if len(self._runs) > _JOBS:
            self._runs.popitem(last=False)
        return run

    def _frame(self, job: Job, server: str, frame: Raw) -> None:
        run = self._runs.get(job.id)
        if run is None:
            self._began(job)
            run = self._runs.get(job.id)
        if run is None:  # it ended: a straggler's last words
            return
        for said in run.telling.hear(server, frame, _milliseconds()):
            if said.sort is Sort.EXECUTED and isinstance(said.frame, str):
                told = json.loads(said.frame)
                files = frames.files_of(told["data"].get("output"))
                self._files.remember(files, server, job.user)
            self._deliver(run, said)

    def _ended(self, job: Job, outcome: Mapping[str, Any]) -> None:
        run = self._runs.pop(job.id, None)
        if self.is_over(job):
            return
        waited = run is None and job.started is None
        self._tally.remove(job.id)
        if waited and outcome.get("status") == "cancelled":  # as ComfyUI: only the queue changes
            self._is_over(job)
            self._audience.announce(job.user)
            return
        if run is None:
            run = self._run_of(job)
            del self._runs[job.id]
        self._is_over(job)
        mine = self._spoken_to(run)
        status = self._status(job.user)
        for said in run.telling.end(outcome, _milliseconds(), status):
            if said.sort is not Sort.STATUS:
                self._deliver(run, said)
            elif mine is not None:
                mine.say(said)
        if run.addressed:
            self._replay.settle(run.owner, job.id, ambient.now())
        self._audience.announce(job.user, told=mine)

    def _is_over(self, job: Job) -> None:
        self._over[job.id] = job.started
        self._over.move_to_end(job.id)
        if len(self._over) > _JOBS:
            self._over.popitem(last=False)

    def _note(self, job: Job, kind: str, words: str) -> None:
        run = self._runs.get(job.id)
        if run is not None:
            for said in run.telling.note(kind, words):
                self._deliver(run, said)

    def _deliver(self, run: _Run, said: Said) -> None:
        if not run.addressed:
            for listener in self._audience.of(run.owner[0]):
                listener.say(said)
            return
        if said.sort is Sort.START:
            self._replay.restart(run.owner, run.telling.job)
        number = None
        if said.to.kept:
            number = self._replay.keep(run.owner, said, ambient.now())
        mine = self._spoken_to(run)
        if mine is not None:
            mine.say(said, number)

    def _spoken_to(self, run: _Run) -> Listener | None:
        """The socket of the job's client."""
        return self._audience.spoken_to(run.owner) if run.addressed else None

    def _status_of(self, user: str) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self._remaining(user)}}

    def _status(self, user: str) -> Said:
        return Said(frames.event("status", {"status": self._status_of(user)}), Sort.STATUS)

    async def _sweep(self) -> None:
        """Cut off who does not read or may not any more, and forget what was kept long enough."""
        while True:
            await asyncio.sleep(min(1.0, self._outbox.seconds / 4))
            now = ambient.now()
            for listener in self._audience:
                listener.check(now)
                if listener.key_id and not self._good(listener.key_id):
                    listener.cut(NOT_ALLOWED, "this key is no longer good")
            self._replay.sweep(now)


def _as_plain(kept: Kept) -> Said:
    """A kept frame for a socket that has not said yet what it understands."""
    said = kept.said
    frame = frames.parse(said.frame) if said.sort is Sort.PREVIEW else None
    plain = frame.plain() if isinstance(frame, Preview) else said.frame
    return Said(plain, said.sort, said.job, said.node)


def _milliseconds() -> int:
    return int(ambient.wall() * 1000)
