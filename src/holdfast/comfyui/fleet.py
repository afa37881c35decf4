"""The servers there are: which of them may get the next job, and how they show they are well.

Each server runs one job of ours at a time; ComfyUI runs one at a time anyway,
and a queue of ours is safer than a queue in a server's memory. A server that
fails is left alone by its circuit breaker and comes back through a probe: one
cheap call, or, if it had stalled, a tiny graph that its worker must finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from holdfast.comfyui import events
from holdfast.comfyui.canary import worker_answers
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.server import NotComfyUIAnswerError, RefusedError, Server, ServerCallError
from holdfast.comfyui.withdraw import Submission, Withdrawal, withdraw
from holdfast.errors import ErrorCategory
from holdfast.machines.circuit import Circuit, CircuitSettings, CircuitState, Permit

BREAKER = CircuitSettings(
    failure_threshold=2, open_seconds=1.0, open_growth=1.6, open_maximum=30.0, probe_seconds=120.0
)
"""Short openings: a probe costs one small call, and a restarted ComfyUI is up in seconds."""


@dataclass(slots=True)
class Place:
    """One server's place in the fleet. Belongs to one event loop."""

    server: Server
    circuit: Circuit
    known: bool = False
    """Whether it has answered as a ComfyUI before."""
    busy: bool = False
    suspect: bool = False
    """It stalled: only a finished canary brings it back."""
    alien: str = ""
    """Why it is no ComfyUI, if it is none."""
    down_since: float | None = None
    permit: Permit | None = None
    used: int = 0
    leftovers: dict[str, tuple[str, Submission]] = field(default_factory=dict)
    """Submissions that may still be there, by token: (job, submission)."""
    uploads: dict[str, str] = field(default_factory=dict)
    """Names of files already uploaded, by content hash."""

    @property
    def name(self) -> str:
        """The server as it is shown to people."""
        return self.server.name

    def leftover_of(self, job: str) -> Submission | None:
        """The submission of ``job`` that may still be here, if there is one."""
        found = [ours for name, ours in self.leftovers.values() if name == job]
        return found[-1] if found else None


class Fleet:
    """All places, and the waiting for one. Belongs to one event loop."""

    def __init__(
        self,
        servers: list[Server],
        emit: Callable[[events.Event], None],
        *,
        reach_seconds: float,
        canary_seconds: float = 5.0,
        breaker: CircuitSettings = BREAKER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = [Place(server, Circuit(breaker)) for server in servers]
        self.reach_seconds = reach_seconds
        """How long all usable servers may be down before a job gives up."""
        self.canary_seconds = canary_seconds
        self._emit = emit
        self._clock = clock
        self._changed = asyncio.Event()
        self._turns = 0
        self._line: dict[int, frozenset[str]] = {}
        """Who waits for a place: a job's turn, and the servers it does not want now."""

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order given."""
        return [place.name for place in self.places]

    def next_turn(self) -> int:
        """A job's place in the line; it keeps it over all its attempts."""
        self._turns += 1
        return self._turns

    async def acquire(
        self, job: str, turn: int, *, avoid: frozenset[str], never: frozenset[str], wait: float
    ) -> Place | Failure:
        """A server that is free and well, or why there is none.

        Args:
            job: the job's name; a submission of it that was left behind is not withdrawn.
            turn: the job's place in the line: what came first is served first.
            avoid: servers used only once ``wait`` has passed and no other is free.
            never: servers that cannot run this job.
            wait: seconds to leave the avoided ones alone.
        """
        until = self._clock() + wait
        try:
            while True:
                self._changed.clear()
                now = self._clock()
                able = [each for each in self.places if each.name not in never and not each.alien]
                if not able:
                    return self._no_server(never)
                hot = avoid if now < until else frozenset()
                self._line[turn] = never | hot
                for place in self._free(able, avoid, turn, now):
                    if await self._enter(place, job):
                        return place
                if self._all_down(able, self._clock()):
                    return self._no_server(never)
                await self._wait_for_change(able, until if hot else None)
        finally:
            self._line.pop(turn, None)

    def _free(
        self, able: list[Place], avoid: frozenset[str], turn: int, now: float
    ) -> Iterator[Place]:
        ranked = sorted(
            (each for each in able if each.name not in self._line[turn]),
            key=lambda each: (each.name in avoid, not each.known, each.used),
        )
        for place in ranked:
            wanted = any(
                other < turn and place.name not in unwanted
                for other, unwanted in self._line.items()
            )
            if not place.busy and not wanted and place.circuit.retry_after(now) <= 0:
                yield place

    async def _enter(self, place: Place, job: str) -> bool:
        permit = place.circuit.admit(self._clock())
        if permit is None:
            return False
        place.busy, place.permit = True, permit
        place.used += 1
        entered = False
        try:
            entered = await self._is_well(place, job)
        finally:
            if not entered:
                self.release(place)
        return entered

    async def _is_well(self, place: Place, job: str) -> bool:
        was_open = place.permit is not None and place.permit.probe is not None
        if place.known and not was_open and not place.leftovers:
            return True
        try:
            problem = await self._examine(place, job)
        except NotComfyUIAnswerError as error:
            place.alien = str(error)
            self._emit(events.ServerDown(place.name, str(error), float("inf")))
            return False
        except ServerCallError as error:
            self._down(place, str(error), at_once=isinstance(error, RefusedError))
            return False
        if problem:
            self._down(place, problem, at_once=True)
            return False
        if place.permit is not None:
            place.circuit.success(place.permit, self._clock())
        if place.down_since is not None:
            self._emit(events.ServerUp(place.name))
        # The probe's permit is spent; the job itself goes through the closed circuit.
        place.known, place.suspect, place.down_since = True, False, None
        place.permit = place.circuit.admit(self._clock())
        return place.permit is not None

    async def _examine(self, place: Place, job: str) -> str:
        """What is wrong with a server, or an empty text."""
        if not place.known:
            await place.server.system_stats()
        queue = await place.server.queue()
        for token, (owner, ours) in list(place.leftovers.items()):
            if owner != job and (await withdraw(place.server, ours, seconds=3.0)).clean:
                del place.leftovers[token]
        mine = place.leftover_of(job)
        there = {item.token for item in (*queue.running, *queue.pending)}
        if not place.suspect or (mine is not None and mine.token in there):
            return ""
        took = await worker_answers(place.server, seconds=self.canary_seconds)
        return "" if took is not None else "its worker does not finish a tiny test graph"

    def release(self, place: Place) -> None:
        """Give a place back; others may have it."""
        if place.permit is not None:
            place.circuit.abandon(place.permit, self._clock())
        place.busy, place.permit = False, None
        self._changed.set()

    def report(self, place: Place, failure: Failure | None) -> None:
        """Tell how an attempt on ``place`` went; the job's own failures are no fault of it."""
        kind = failure.kind if failure is not None else None
        now = self._clock()
        if kind in (FailureKind.SERVER_DIED, FailureKind.UNREACHABLE):
            assert failure is not None  # noqa: S101 - kind says so
            place.uploads.clear()
            self._down(place, failure.message, at_once=True)
        elif kind is FailureKind.STALLED:
            assert failure is not None  # noqa: S101 - kind says so
            place.suspect = True
            self._down(place, failure.message, at_once=True)
        elif kind in (FailureKind.SERVER_ERROR, FailureKind.NEVER_ACCEPTED):
            assert failure is not None  # noqa: S101 - kind says so
            self._down(place, failure.message, at_once=False)
        elif kind is FailureKind.NOT_COMFYUI:
            assert failure is not None  # noqa: S101 - kind says so
            place.alien = failure.message
        elif place.permit is not None:
            place.circuit.success(place.permit, now)
        if kind is FailureKind.LOST:
            place.uploads.clear()

    def is_up(self, place: Place) -> bool:
        """Whether a place would take another job at once."""
        return not place.alien and place.circuit.state(self._clock()) is CircuitState.CLOSED

    async def withdraw_leftovers(self, *, seconds: float) -> list[tuple[str, str, Withdrawal]]:
        """Try once more to take back what was left behind: (job, server, what became of it)."""
        left: list[tuple[str, str, Withdrawal]] = []

        async def clear(place: Place) -> None:
            silent = False
            for token, (job, ours) in list(place.leftovers.items()):
                # One wait for a silent server is enough, however much was left there.
                became = Withdrawal.UNREACHABLE
                if not silent:
                    became = await withdraw(place.server, ours, seconds=seconds)
                silent = became is Withdrawal.UNREACHABLE
                if became.clean:
                    place.leftovers.pop(token, None)
                else:
                    left.append((job, place.name, became))

        await asyncio.gather(*(clear(place) for place in self.places))
        return left

    def _down(self, place: Place, reason: str, *, at_once: bool) -> None:
        now = self._clock()
        if at_once:
            place.circuit.trip(now)
        elif place.permit is not None:
            place.circuit.failure(place.permit, now)
        if place.circuit.state(now) is CircuitState.CLOSED:
            return
        if place.down_since is None:
            place.down_since = now
            self._emit(events.ServerDown(place.name, reason, place.circuit.retry_after(now)))
        self._changed.set()

    def _all_down(self, able: list[Place], now: float) -> bool:
        since = [place.down_since for place in able]
        return all(
            each is not None and now - each >= self.reach_seconds for each in since
        ) and not any(place.busy for place in able)

    async def _wait_for_change(self, able: list[Place], until: float | None) -> None:
        now = self._clock()
        waits = [place.circuit.retry_after(now) for place in able if not place.busy]
        if until is not None:
            waits.append(until - now)
        seconds = max(0.02, min([wait for wait in waits if wait > 0], default=1.0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, 1.0)):
                await self._changed.wait()

    def _no_server(self, never: frozenset[str]) -> Failure:
        alien = [place for place in self.places if place.alien]
        if len(alien) == len(self.places):
            return Failure(
                FailureKind.NOT_COMFYUI,
                "; ".join(place.alien for place in alien),
                alien[0].name,
                category=ErrorCategory.NETWORK,
            )
        down = [place.name for place in self.places if place.name not in never and not place.alien]
        return Failure(
            FailureKind.UNREACHABLE,
            f"no server can be reached: {', '.join(down) or 'none is left'}",
            down[0] if down else None,
            category=ErrorCategory.NETWORK,
        )
