"""Which servers are fit for jobs: what takes one out, and what brings it back.

- One that dies, stalls or answers with errors is left alone by its circuit breaker.
- One whose results are far off its peers' is ejected for a growing time, never too many at once.
- Both come back through a probe, a warm-up if one is declared, and a first job that must succeed.

Probes run by themselves, beside the jobs: nobody waits for a frozen server
while another one is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.canary import worker_answers
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.needs import needs_of
from holdfast.comfyui.outliers import Ejection, Record, judge
from holdfast.comfyui.place import Place
from holdfast.comfyui.probe import Condition, Finding, Waiting, examine
from holdfast.comfyui.server import NotComfyUIAnswerError, ServerCallError
from holdfast.comfyui.workflow import Workflow
from holdfast.machines.circuit import CircuitState
from holdfast.ports import ambient

log = logging.getLogger(__name__)

PROBE_SECONDS = 90.0
"""How long a probe may take in all."""
WARM_UP_SECONDS = 300.0
"""How long a declared warm-up may take."""
INTRODUCTION_SECONDS = 0.25
"""How long the first jobs wait for all servers to answer once."""
GAUGE_SECONDS = 5.0
"""How often a server is asked how many jobs it has, while there is a choice to be made."""

_ILL = frozenset({FailureKind.STALLED, FailureKind.DEVICE_BROKEN})
"""It answers, and does not work: it must show that it does."""
_AT_ONCE = frozenset({FailureKind.SERVER_DIED, FailureKind.UNREACHABLE, *_ILL})
"""One such failure is proof enough."""
_BY_COUNT = frozenset(
    {FailureKind.SERVER_ERROR, FailureKind.NEVER_ACCEPTED, FailureKind.NOT_COMFYUI}
)
_SAYS_NOTHING = frozenset(
    {
        FailureKind.REJECTED,
        FailureKind.INTERRUPTED,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.DEADLINE,
        FailureKind.NOT_COMFYUI,
    }
)
"""Failures that do not make a server an outlier: a small one may be very good at small jobs."""


class Health:
    """Takes servers out and brings them back. Belongs to one event loop."""

    def __init__(
        self,
        places: Sequence[Place],
        waiting: Waiting,
        emit: Callable[[events.Event], None],
        changed: Callable[[], None],
        *,
        canary_seconds: float,
        patience_seconds: float,
        ejection: Ejection,
        warm_up: Workflow | None = None,
    ) -> None:
        self._places = places
        self._waiting = waiting
        self._emit = emit
        self._changed = changed
        self._canary_seconds = canary_seconds
        self._patience_seconds = patience_seconds
        self._ejection = ejection
        self._warm_up = warm_up
        self._tasks: set[asyncio.Task[None]] = set()

    # What is known ----------------------------------------------------------------------

    def is_fit(self, place: Place) -> bool:
        """Whether a place may get a job without being examined first."""
        return (
            place.well
            and not place.probing
            and not place.draining
            and place.breaker.state is CircuitState.CLOSED
        )

    def introduces_itself(self, place: Place) -> bool:
        """Whether the first jobs wait a moment for its first answer.

        So the order given decides, and not which server was faster by a millisecond.
        """
        return (
            place.probing
            and place.introduces
            and not place.known
            and place.down_since is None
            and ambient.now() - place.asked_at < INTRODUCTION_SECONDS
        )

    def due_in(self, place: Place) -> float:
        """Seconds until a place that is out may be examined; 0 if it may be now."""
        wait = place.breaker.retry_after
        if place.ejected_until is not None:
            wait = max(wait, place.ejected_until - ambient.now())
        return max(0.0, wait)

    # What jobs came to ------------------------------------------------------------------

    def report(
        self,
        place: Place,
        failure: Failure | None,
        ratio: float | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Tell how an attempt went; the job's own failures are no fault of the server's.

        Args:
            place: where.
            failure: what it came to; None if it delivered.
            ratio: how long it took compared with such jobs on a typical server, if known.
            again: the same job has failed there just before, so that this says nothing new.
        """
        kind = failure.kind if failure is not None else None
        if failure is not None and kind in _AT_ONCE:
            place.suspect = place.suspect or kind in _ILL
            self.down(place, failure.message, at_once=True)
        elif failure is not None and kind in _BY_COUNT:
            self.down(place, failure.message, at_once=False)
        elif place.permit is not None:
            place.breaker.settle(place.permit, failed=False)
            place.suspect = False
        if failure is None:
            self._delivered(place, ratio)
        elif kind not in _SAYS_NOTHING and not again:
            place.record.outcome(failed=True, words=failure.message)
            self._weigh(place, again=place.returned and place.ejections > 0)

    def _delivered(self, place: Place, ratio: float | None) -> None:
        place.record.outcome(failed=False)
        place.room = min(place.capacity, place.room + 1) if place.proven else place.room
        place.proven, place.returned = True, False
        if place.record.outcomes >= 2 * self._ejection.outcomes and place.record.failing < 0.2:
            place.ejections = 0
        if ratio is not None:
            place.record.took(ratio)
            self._weigh(place)

    def straggled(self, place: Place, ratio: float) -> None:
        """A job was taken back after ``ratio`` times the seconds that are usual there."""
        place.failed += 1
        place.record.took(ratio * place.record.usual)
        self._weigh(place)

    def _weigh(self, place: Place, *, again: bool = False) -> None:
        others = [each for each in self._places if each is not place and not each.alien]
        peers = [each.record for each in others if each.ejected_until is None]
        reason = judge(place.record, peers, self._ejection)
        if again and reason is None:
            reason = f"it failed again when it was given another chance: {place.record.reasons[-1]}"
        out = sum(each.ejected_until is not None for each in others)
        # The last server that works is kept, whatever its results.
        if (
            reason is not None
            and self._ejection.allows(out, len(others) + 1)
            and any(self.is_fit(each) for each in others)
        ):
            self._eject(place, reason)

    def _eject(self, place: Place, reason: str) -> None:
        if place.ejected_until is not None:
            return
        place.ejections += 1
        seconds = self._ejection.lasts(place.ejections)
        place.ejected_until = ambient.now() + seconds
        place.reason, place.record = reason, Record()
        place.well, place.out, place.suspect = False, True, True
        self._emit(events.ServerEjected(place.name, reason, seconds))
        self._changed()

    def down(self, place: Place, reason: str, *, at_once: bool) -> None:
        """A server is in trouble; ``at_once``: one such finding is proof enough."""
        now = ambient.now()
        if at_once:
            place.breaker.trip()
        elif place.permit is not None:
            place.breaker.settle(place.permit, failed=True)
        if place.breaker.state is CircuitState.CLOSED:
            return
        place.well, place.reason = False, reason
        if place.down_since is None:
            place.down_since = now
        if not place.out:
            place.out = True
            self._emit(events.ServerDown(place.name, reason, place.breaker.retry_after))
        self._changed()

    # Examining --------------------------------------------------------------------------

    def examine(self, places: Sequence[Place], *, force: bool = False) -> None:
        """Begin to examine those that are due; with ``force`` all that are out."""
        now = ambient.now()
        for place in places:
            if place.alien or place.draining:
                continue
            if place.reserved is not None and not self._waiting.wants(place.reserved, place):
                place.reserved, place.well = None, False  # it got what it wanted elsewhere
            if place.well or place.busy or place.probing:
                continue
            if force or self.due_in(place) <= 0:
                place.probing, place.asked_at = True, now
                self._start(self._probe(place))

    def gauge(self) -> None:
        """Ask those whose queue was not looked at for a while how long it is."""
        now = ambient.now()
        for place in self._places:
            if place.well and not place.probing and now - place.gauged_at >= GAUGE_SECONDS:
                place.gauged_at = now
                self._start(self._measure(place))

    def second_chance(self, places: Sequence[Place]) -> None:
        """End ejections early where nothing else is left: a bad server is better than none."""
        if any(place.well or place.busy or place.probing for place in places):
            return
        for place in places:
            if place.ejected_until is not None:
                place.ejected_until = min(place.ejected_until, ambient.now())

    async def close(self) -> None:
        """End everything that runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _measure(self, place: Place) -> None:
        try:
            length = await place.server.queue_length()
        except ServerCallError:
            return  # whether it is well is for its jobs and the probes to say
        place.foreign = max(0, length - len(place.leases) - len(place.leftovers))

    async def _probe(self, place: Place) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                finding = await examine(
                    place,
                    self._waiting,
                    now=ambient.now(),
                    canary_seconds=self._canary_seconds,
                    patience_seconds=self._patience_seconds,
                )
            await self._warm(place, finding)
        except NotComfyUIAnswerError as error:
            if place.known:
                # A proxy may say anything while the server behind it is away.
                self.down(place, str(error), at_once=True)
            else:
                place.alien = place.reason = str(error)
                self._emit(events.ServerDown(place.name, str(error), float("inf")))
        except (ServerCallError, TimeoutError) as error:
            words = str(error) or f"it did not answer within {PROBE_SECONDS:g} s"
            self.down(place, words, at_once=True)
        except Exception as error:
            log.exception("a probe of %s failed", place.name)
            self.down(place, f"it could not be examined: {error}", at_once=True)
        else:
            self._found(place, finding)
        finally:
            place.probing = False
            self._changed()

    async def _warm(self, place: Place, finding: Finding) -> None:
        # Only where a server comes anew: one that somebody has a job on is in no need of it.
        anew = place.out or place.returned
        if self._warm_up is None or not anew or finding.condition is not Condition.WELL:
            return
        if finding.reserved is not None or finding.foreign:
            return
        graph = self._warm_up.to_api()
        took = await worker_answers(place.server, seconds=WARM_UP_SECONDS, graph=graph)
        # One that cannot do it may still do what jobs ask for: the test graph was the proof.
        if took is None:
            log.warning("%s did not go through the declared warm-up", place.name)
        else:
            place.loaded = needs_of(self._warm_up).models

    def _found(self, place: Place, finding: Finding) -> None:
        place.known = True
        if finding.condition is not Condition.WELL:
            self.down(place, finding.words, at_once=True)
            if finding.condition is Condition.BUSY:
                place.down_since = None  # it answers: nobody gives it up for that
            return
        place.breaker.close()
        if place.out:
            place.proven, place.returned, place.room = False, True, 1
            self._emit(events.ServerUp(place.name))
        place.out, place.reason, place.ejected_until = False, "", None
        place.foreign, place.gauged_at = finding.foreign, ambient.now()
        place.well, place.reserved, place.down_since = True, finding.reserved, None
        if finding.reserved is None:
            place.suspect = False
