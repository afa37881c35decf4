"""The servers there are, the jobs that wait for one, and who gets which.

Each server runs one job of ours at a time, unless it is allowed more; ComfyUI
runs one at a time anyway, and a queue of ours is safer than a queue in a
server's memory. `line` holds who waits, `routing` says who goes where, `health`
says who may be gone to. What came first is served first, as far as the same
servers will do; giving a server away wakes one job, however many wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from holdfast.comfyui import events
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.health import INTRODUCTION_SECONDS, Health
from holdfast.comfyui.hopeless import Hopeless
from holdfast.comfyui.line import Line, Wish
from holdfast.comfyui.needs import Needs, lacking
from holdfast.comfyui.outliers import Ejection
from holdfast.comfyui.pairing import Scene, bid_of, learn, next_pair
from holdfast.comfyui.place import Errand, Lease, Place
from holdfast.comfyui.probe import clear
from holdfast.comfyui.routing import overtakers
from holdfast.comfyui.server import Server
from holdfast.comfyui.speed import Speeds
from holdfast.comfyui.withdraw import Withdrawal
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.policies.breaker import CircuitBreaker
from holdfast.ports import ambient

LACK_SECONDS = 600.0
"""How long it is believed that a server lacks a model or a node: somebody may install it."""
LONGEST_NAP = 1.0
"""Seconds after which everything is looked at again, whatever is expected."""

_EMPTIES_MEMORY = frozenset(
    {FailureKind.SERVER_DIED, FailureKind.LOST, FailureKind.OUT_OF_MEMORY, FailureKind.UNREACHABLE}
)
"""After these a server's models are no longer where they were."""


def _breaker(server: Server) -> CircuitBreaker:
    # Short openings: a probe costs one small call, and a restarted ComfyUI is up in seconds.
    return CircuitBreaker(
        server.name[:200],
        failure_threshold=2,
        success_threshold=1,
        timeout=1.0,
        timeout_growth=1.6,
        timeout_maximum=30.0,
        probe_seconds=120.0,
    )


class Fleet:
    """All places, and the line of jobs that wait for one. Belongs to one event loop."""

    def __init__(
        self,
        servers: Sequence[Server],
        emit: Callable[[events.Event], None],
        *,
        reach_seconds: float,
        canary_seconds: float = 5.0,
        patience_seconds: float = 3600.0,
        capacity: int = 1,
        ejection: Ejection | None = None,
        warm_up: Workflow | None = None,
    ) -> None:
        self.places: list[Place] = []
        self.speeds = Speeds()
        self.left: list[tuple[str, str, Withdrawal]] = []
        """What could not be taken back from servers that were removed: job, server, why."""
        self.errands: dict[str, Errand] = {}
        """What is known of jobs, by key; whoever enters one takes it out again."""
        self._capacity = capacity
        self._emit = emit
        self._line = Line()
        self._turns = self._ever = 0
        self._stir = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self.health = Health(
            self.places,
            self,
            emit,
            self._changed,
            canary_seconds=canary_seconds,
            patience_seconds=patience_seconds,
            ejection=ejection or Ejection(),
            warm_up=warm_up,
        )
        self._hopeless = Hopeless(self.health, reach_seconds)
        for server in servers:
            self._enter(server)

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order given, without those on their way out."""
        return [place.name for place in self.places if not place.draining]

    def next_turn(self) -> int:
        """A job's place in the line; it keeps it over all its attempts."""
        self._turns += 1
        return self._turns

    async def acquire(
        self, job_key: str, turn: int, *, avoid: frozenset[str], never: frozenset[str], wait: float
    ) -> Place | Failure:
        """A server that is free and well, or why there is none.

        Args:
            job_key: what the job is known by; it may go where a submission of it was left.
            turn: the job's place in the line: what came first is served first.
            avoid: servers used only once ``wait`` has passed and no other is free.
            never: servers that cannot run this job.
            wait: seconds to leave the avoided ones alone.
        """
        errand = self.errands.get(job_key) or Errand()
        never = (never | errand.never) & {place.name for place in self.places}
        if not self._able(never):
            return self._no_server(never)
        now = ambient.now()
        future: asyncio.Future[Place | Failure] = asyncio.get_running_loop().create_future()

        def answer(given: Place | Failure) -> bool:
            if future.done():
                return False
            future.set_result(given)
            return True

        latest = turn + overtakers(len(self.places), len(self._line))
        wish = Wish(job_key, turn, errand.needs, never, avoid, now + wait, now, latest, answer)
        self._line.add(wish)
        try:
            self.start()
            return await future
        except asyncio.CancelledError:
            # It may have been given a place in the very moment it was called off.
            given = future.result() if future.done() and not future.cancelled() else None
            if isinstance(given, Place):
                self.release(given, job_key)
            raise
        finally:
            self._line.remove(wish)

    def release(self, place: Place, job_key: str | None = None) -> None:
        """Give a place back; others may have it.

        Args:
            place: where the job was.
            job_key: which job; needed where several may be at a time.
        """
        lease = self._lease(place, job_key)
        if lease is not None:
            del place.leases[lease.job_key]
            errand = self.errands.get(lease.job_key)
            if errand is not None:
                errand.at = None
                errand.changed.set()
        if not place.leases:
            if place.emptied is not None:
                place.emptied.set()
            if place.permit is not None:
                place.breaker.abandon(place.permit)
            place.permit = None
        if place.leftovers:
            place.well = False
        self._dispatch()
        self._stir.set()

    def report(self, place: Place, failure: Failure | None, job_key: str | None = None) -> None:
        """Tell how an attempt on ``place`` went, before it is given back.

        Args:
            place: where the job was.
            failure: what it came to; None if it delivered.
            job_key: which job; needed where several may be at a time.
        """
        now = ambient.now()
        lease = self._lease(place, job_key)
        ratio = None
        if failure is None:
            place.done += 1
            if lease is not None:
                ratio = learn(place, lease, now - lease.began, self.speeds)
        else:
            place.failed += 1
            if lease is not None:
                for name in lacking(failure, lease.needs):
                    place.lacks[name] = now + LACK_SECONDS
            if failure.kind in (FailureKind.SERVER_DIED, FailureKind.LOST):
                place.uploads.clear()
            if failure.kind in _EMPTIES_MEMORY:
                place.loaded = frozenset()
        if lease is not None:
            lease.began, lease.missing = now, lease.needs.models - place.loaded
            lease.fresh = True
        self.health.report(place, failure, ratio, again=lease is not None and lease.failed)
        if lease is not None:
            lease.failed = failure is not None

    def is_up(self, place: Place) -> bool:
        """Whether a place would take another job at once."""
        return self.health.is_fit(place)

    def spare(self, besides: Place, needs: Needs) -> Place | None:
        """A proven server that nobody waits for, for a second run of a job, if there is one."""
        if len(self._line):
            return None
        now = ambient.now()
        free = [
            place
            for place in self.places
            if place is not besides
            and place.proven
            and not place.busy
            and place.reserved is None
            and self.health.is_fit(place)
            and place.can_run(needs, now)
        ]
        return min(free, key=lambda each: bid_of(each, needs, self.speeds, now).rank, default=None)

    def start(self) -> None:
        """Look at the servers, and go on doing so for as long as there are jobs."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
            self._tend()
        else:
            self._dispatch()
            self._stir.set()

    async def close(self, *, seconds: float) -> list[tuple[str, str, Withdrawal]]:
        """End all probes, and try once more to take back what was left behind.

        Returns what could not be: (job, server, what became of it).
        """
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self.health.close()
        found = await asyncio.gather(*(clear(place, seconds) for place in self.places))
        return [*self.left, *(each for left in found for each in left)]

    # Servers that come and go -----------------------------------------------------------

    def add(self, server: Server) -> Place:
        """Take a server in: it is examined, and gets jobs once it answers.

        Raises:
            BadInputError: it is there already.
        """
        if any(place.name == server.name for place in self.places):
            raise BadInputError(f"{server.name}: this server is in the pool already")
        place = self._enter(server)
        place.introduces, place.returned = False, True
        self._emit(events.ServerAdded(place.name))
        self.start()
        return place

    async def remove(self, name: str, *, drain: bool, seconds: float = 3.0) -> None:
        """Let a server go, once the job it has is done or was taken back.

        Raises:
            BadInputError: there is no such server, or it is the last one.
        """
        place = next((each for each in self.places if each.name == name), None)
        if place is None or place.draining:
            raise BadInputError(
                f"{name}: no such server in the pool; it has {', '.join(self.names)}"
            )
        if self.names == [name]:
            raise BadInputError(f"{name}: this is the last server; add another one before")
        place.draining, place.emptied = True, asyncio.Event()
        self._changed()
        try:
            if place.leases:
                for key in [] if drain else list(place.leases):
                    self._recall(key)
                await place.emptied.wait()
        except asyncio.CancelledError:
            place.draining = False  # it stays
            self._changed()
            raise
        self.places.remove(place)
        self.speeds.forget(name)
        self.left += await clear(place, seconds)
        self._emit(events.ServerRemoved(name))
        self._changed()

    def _recall(self, job_key: str) -> None:
        errand = self.errands.get(job_key)
        if errand is not None and not errand.recalled:
            errand.recalled = True
            errand.changed.set()

    def _enter(self, server: Server) -> Place:
        self._ever += 1
        place = Place(server, _breaker(server), capacity=self._capacity, order=self._ever)
        self.places.append(place)
        return place

    # What probes ask --------------------------------------------------------------------

    def wants(self, job_key: str, place: Place) -> bool:
        """Whether the job waits for a place, and would take this one sooner or later."""
        wish = self._line.of(job_key)
        return wish is not None and place.name not in wish.never

    def has_only(self, job_key: str, place: Place) -> bool:
        """Whether there is no other server for the job."""
        wish = self._line.of(job_key)
        never = wish.never if wish is not None else frozenset()
        return all(
            other is place or other.alien or other.draining or other.name in never
            for other in self.places
        )

    # Giving places away -----------------------------------------------------------------

    async def _keep(self) -> None:
        while len(self._line) or any(place.leases for place in self.places):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._nap()):
                    await self._stir.wait()
            self._stir.clear()
            self._tend()

    def _tend(self) -> None:
        self.health.examine(self.places)
        if len(self.places) > 1:
            self.health.gauge()
        self._disappoint(self._hopeless.lost(self._line, self._able))
        self._dispatch()

    def _changed(self) -> None:
        self._dispatch()
        self._stir.set()

    def _dispatch(self) -> None:
        while True:
            found = next_pair(
                Scene(
                    self.places,
                    self._line,
                    self.speeds,
                    ambient.now(),
                    self.health.is_fit,
                    self.health.introduces_itself,
                )
            )
            if found is None:
                return
            wish, place = found
            self._line.remove(wish)
            if wish.answer(place):
                self._take(place, wish)

    def _take(self, place: Place, wish: Wish) -> None:
        place.leases[wish.job_key] = Lease(
            wish.job_key,
            wish.needs,
            wish.needs.models - place.loaded,
            ambient.now(),
            fresh=place.leftover_of(wish.job_key) is None,
        )
        place.reserved = None
        place.permit = place.breaker.admit()
        place.used += 1
        errand = self.errands.get(wish.job_key)
        if errand is not None:
            errand.at = place
            errand.changed.set()

    def _lease(self, place: Place, job_key: str | None) -> Lease | None:
        if job_key is not None:
            return place.leases.get(job_key)
        return next(iter(place.leases.values()), None)

    def _able(self, never: frozenset[str]) -> list[Place]:
        return [
            each
            for each in self.places
            if each.name not in never and not each.alien and not each.draining
        ]

    def _disappoint(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            self._line.remove(wish)
            wish.answer(self._no_server(wish.never))

    def _nap(self) -> float:
        now = ambient.now()
        waits = [LONGEST_NAP]
        for place in self.places:
            if self.health.introduces_itself(place):
                waits.append(INTRODUCTION_SECONDS / 5)
            if not (place.well or place.busy or place.probing or place.alien or place.draining):
                waits.append(self.health.due_in(place))
        waits += [wish.until - now for wish in self._line.avoiding]
        waits += [
            wish.patient_until - now
            for wish, _ in self._line.heads()
            if wish.patient_until is not None
        ]
        return max(0.02, min(wait for wait in waits if wait > 0))

    def _no_server(self, never: frozenset[str]) -> Failure:
        alien = [place for place in self.places if place.alien]
        if len(alien) == len(self.places):
            return Failure(
                FailureKind.NOT_COMFYUI,
                "; ".join(place.alien for place in alien),
                alien[0].name,
                category=ErrorCategory.NETWORK,
            )
        down = [place.name for place in self._able(never)]
        return Failure(
            FailureKind.UNREACHABLE,
            f"no server can be reached: {', '.join(down) or 'none is left'}",
            down[0] if down else None,
            category=ErrorCategory.NETWORK,
        )
