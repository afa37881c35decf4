"""The servers there are: which of them may get the next job, and how they show they are well.

Each server runs one job of ours at a time; ComfyUI runs one at a time anyway,
and a queue of ours is safer than a queue in a server's memory. A server that
fails is left alone by its circuit breaker and comes back through a probe.
Probes run by themselves, beside the jobs: nobody waits for a frozen server
while another one is free. What came first is served first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.comfyui import events
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.place import Place
from holdfast.comfyui.probe import Condition, Finding, examine
from holdfast.comfyui.server import NotComfyUIAnswerError, Server, ServerCallError
from holdfast.comfyui.withdraw import Withdrawal, withdraw
from holdfast.errors import ErrorCategory
from holdfast.machines.circuit import CircuitState
from holdfast.policies.breaker import CircuitBreaker
from holdfast.ports import ambient

log = logging.getLogger(__name__)


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


PROBE_SECONDS = 90.0
"""How long a probe may take in all."""
INTRODUCTION_SECONDS = 0.25
"""How long the first jobs wait for all servers to answer once."""

_AT_ONCE = frozenset(
    {
        FailureKind.SERVER_DIED,
        FailureKind.UNREACHABLE,
        FailureKind.STALLED,
        FailureKind.DEVICE_BROKEN,
    }
)
"""One such failure is proof enough."""
_ILL = frozenset({FailureKind.STALLED, FailureKind.DEVICE_BROKEN})
"""It answers, and does not work: it must show that it does."""
_BY_COUNT = frozenset(
    {FailureKind.SERVER_ERROR, FailureKind.NEVER_ACCEPTED, FailureKind.NOT_COMFYUI}
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a waiting job would take."""

    job_key: str
    never: frozenset[str]
    not_now: frozenset[str]

    def allows(self, place: Place) -> bool:
        """Whether the job would take this place now."""
        mine = place.reserved in (None, self.job_key)
        return mine and place.name not in self.never and place.name not in self.not_now


class Fleet:
    """All places, and the line of jobs that wait for one. Belongs to one event loop."""

    def __init__(
        self,
        servers: list[Server],
        emit: Callable[[events.Event], None],
        *,
        reach_seconds: float,
        canary_seconds: float = 5.0,
        patience_seconds: float = 3600.0,
    ) -> None:
        self.places = [Place(server, _breaker(server)) for server in servers]
        self.reach_seconds = reach_seconds
        """How long all usable servers may be down before a job gives up."""
        self._canary_seconds = canary_seconds
        self._patience_seconds = patience_seconds
        self._emit = emit
        self._changed = asyncio.Event()
        self._turns = 0
        self._line: dict[int, _Wish] = {}
        """Who waits, by turn."""
        self._probes: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order given."""
        return [place.name for place in self.places]

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
        until = ambient.now() + wait
        hopeless_since: float | None = None
        try:
            while True:
                self._changed.clear()
                now = ambient.now()
                able = [each for each in self.places if each.name not in never and not each.alien]
                hot = avoid if now < until else frozenset()
                self._line[turn] = _Wish(job_key, never, hot)
                place = self._best(able, avoid, turn)
                if place is not None:
                    return self._take(place)
                if not able:
                    return self._no_server(never)
                if not all(self._is_down(place) for place in able):
                    hopeless_since = None
                elif hopeless_since is None:
                    hopeless_since = now
                elif now - hopeless_since >= self.reach_seconds:
                    if self._asked_since(able, hopeless_since + self.reach_seconds):
                        return self._no_server(never)
                    self._start_probes(able, force=True)  # a last question before giving up
                self._start_probes(able)
                await self._wait_for_change(able, until if hot else None)
        finally:
            self._line.pop(turn, None)
            self._changed.set()

    def release(self, place: Place) -> None:
        """Give a place back; others may have it."""
        if place.permit is not None:
            place.breaker.abandon(place.permit)
        place.busy, place.permit = False, None
        if place.leftovers:
            place.well = False
        self._changed.set()

    def report(self, place: Place, failure: Failure | None) -> None:
        """Tell how an attempt on ``place`` went; the job's own failures are no fault of it."""
        kind = failure.kind if failure is not None else None
        if failure is not None and kind in _AT_ONCE:
            place.suspect = place.suspect or kind in _ILL
            self._down(place, failure.message, at_once=True)
        elif failure is not None and kind in _BY_COUNT:
            self._down(place, failure.message, at_once=False)
        elif place.permit is not None:
            place.breaker.settle(place.permit, failed=False)
            place.suspect = False
        if kind in (FailureKind.SERVER_DIED, FailureKind.LOST):
            place.uploads.clear()

    def is_up(self, place: Place) -> bool:
        """Whether a place would take another job at once."""
        return place.well and place.breaker.state is CircuitState.CLOSED

    async def close(self, *, seconds: float) -> list[tuple[str, str, Withdrawal]]:
        """End all probes, and try once more to take back what was left behind.

        Returns what could not be: (job, server, what became of it).
        """
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        left: list[tuple[str, str, Withdrawal]] = []

        async def clear(place: Place) -> None:
            silent = False
            for token, each in list(place.leftovers.items()):
                # One wait for a silent server is enough, however much was left there.
                became = Withdrawal.UNREACHABLE
                if not silent:
                    became = await withdraw(place.server, each.submission, seconds=seconds)
                silent = became is Withdrawal.UNREACHABLE
                if became.clean:
                    place.leftovers.pop(token, None)
                else:
                    left.append((each.job_name, place.name, became))

        await asyncio.gather(*(clear(place) for place in self.places))
        return left

    # Choosing ---------------------------------------------------------------------------

    def _best(self, able: list[Place], avoid: frozenset[str], turn: int) -> Place | None:
        if any(self._introduces_itself(place) for place in able):
            return None
        wish = self._line[turn]
        free = [
            place
            for place in able
            if place.well
            and not place.busy
            and not place.probing
            and wish.allows(place)
            and place.breaker.state is CircuitState.CLOSED
            and not self._promised(place, turn)
        ]
        return min(
            free,
            key=lambda each: (each.name in avoid, each.reserved != wish.job_key, each.used),
            default=None,
        )

    def _introduces_itself(self, place: Place) -> bool:
        # At the start all servers get a moment to answer, so that the order given decides, and
        # not which of them was faster by a millisecond.
        return (
            place.probing
            and not place.known
            and place.down_since is None
            and ambient.now() - place.asked_at < INTRODUCTION_SECONDS
        )

    def _promised(self, place: Place, turn: int) -> bool:
        """Whether somebody who waits longer would take this place."""
        return any(other < turn and wish.allows(place) for other, wish in self._line.items())

    def _take(self, place: Place) -> Place:
        place.busy, place.reserved = True, None
        place.permit = place.breaker.admit()
        place.used += 1
        self._changed.set()  # who stood behind us may now look at the other places
        return place

    def _is_down(self, place: Place) -> bool:
        return place.down_since is not None and not place.busy

    def _asked_since(self, able: list[Place], moment: float) -> bool:
        return all(not each.probing and each.asked_at >= moment for each in able)

    async def _wait_for_change(self, able: list[Place], until: float | None) -> None:
        now = ambient.now()
        waits = [place.breaker.retry_after for place in able if not place.well]
        if until is not None:
            waits.append(until - now)
        if any(self._introduces_itself(place) for place in able):
            waits.append(INTRODUCTION_SECONDS / 5)
        seconds = max(0.02, min([wait for wait in waits if wait > 0], default=1.0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, 1.0)):
                await self._changed.wait()

    # Probing ----------------------------------------------------------------------------

    def _start_probes(self, able: list[Place], *, force: bool = False) -> None:
        now = ambient.now()
        for place in able:
            if place.reserved is not None and not self.wants(place.reserved, place):
                place.reserved, place.well = None, False  # it got what it wanted elsewhere
            due = force or place.breaker.retry_after <= 0
            if place.well or place.busy or place.probing or not due:
                continue
            place.probing, place.asked_at = True, now
            task = asyncio.create_task(self._probe(place))
            self._probes.add(task)
            task.add_done_callback(self._probes.discard)

    async def _probe(self, place: Place) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                finding = await examine(
                    place,
                    self,
                    now=ambient.now(),
                    canary_seconds=self._canary_seconds,
                    patience_seconds=self._patience_seconds,
                )
        except NotComfyUIAnswerError as error:
            if place.known:
                # A proxy may say anything while the server behind it is away.
                self._down(place, str(error), at_once=True)
            else:
                place.alien = str(error)
                self._emit(events.ServerDown(place.name, str(error), float("inf")))
        except (ServerCallError, TimeoutError) as error:
            words = str(error) or f"it did not answer within {PROBE_SECONDS:g} s"
            self._down(place, words, at_once=True)
        except Exception as error:
            log.exception("a probe of %s failed", place.name)
            self._down(place, f"it could not be examined: {error}", at_once=True)
        else:
            self._found(place, finding)
        finally:
            place.probing = False
            self._changed.set()

    def _found(self, place: Place, finding: Finding) -> None:
        place.known = True
        if finding.condition is not Condition.WELL:
            self._down(place, finding.words, at_once=True)
            if finding.condition is Condition.BUSY:
                place.down_since = None  # it answers: nobody gives it up for that
            return
        place.breaker.close()
        if place.out:
            self._emit(events.ServerUp(place.name))
        place.out = False
        place.well, place.reserved, place.down_since = True, finding.reserved, None
        if finding.reserved is None:
            place.suspect = False

    def wants(self, job_key: str, place: Place) -> bool:
        """Whether the job waits for a place, and would take this one sooner or later."""
        return any(
            wish.job_key == job_key and place.name not in wish.never for wish in self._line.values()
        )

    def has_only(self, job_key: str, place: Place) -> bool:
        """Whether there is no other server for the job."""
        never = {name for w in self._line.values() if w.job_key == job_key for name in w.never}
        return all(other is place or other.alien or other.name in never for other in self.places)

    def _down(self, place: Place, reason: str, *, at_once: bool) -> None:
        now = ambient.now()
        if at_once:
            place.breaker.trip()
        elif place.permit is not None:
            place.breaker.settle(place.permit, failed=True)
        if place.breaker.state is CircuitState.CLOSED:
            return
        place.well = False
        if place.down_since is None:
            place.down_since = now
        if not place.out:
            place.out = True
            self._emit(events.ServerDown(place.name, reason, place.breaker.retry_after))
        self._changed.set()

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
