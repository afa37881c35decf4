"""One job's company on its way: called back when its server goes, joined when it lags.

A `Course` brings a job home by itself. This watches it from outside: if its
server is removed from the pool, the job is taken back and goes elsewhere; if it
takes far longer than such jobs do, a second run may be started on a server that
is free and proven. Whichever delivers first counts; the other is withdrawn, and
what it may have delivered all the same is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from holdfast.comfyui import events
from holdfast.comfyui.attempt import AttemptRun
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.course import Course
from holdfast.comfyui.delivery import AttemptError
from holdfast.comfyui.failures import ComfyUIError, DeadlineError, Failure, FailureKind
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.job import Job
from holdfast.comfyui.needs import needs_of
from holdfast.comfyui.place import Errand, Lease, Place
from holdfast.comfyui.plan import Again, Limits, Remedy
from holdfast.comfyui.repair import Repair
from holdfast.comfyui.result import Attempt, OutputFile, RunResult
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.comfyui.verdict import Patience
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.ports import ambient

KNOWN_FROM = 3
"""So many jobs of a kind must have been delivered before one can be said to lag."""
LOOK_SECONDS = 1.0
"""How often it is looked whether a job lags, and whether a server is free for it."""


class Paid:
    """Which node classes cost money each time they run, as servers say."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    async def in_any(self, server: Server, classes: frozenset[str]) -> bool:
        """Whether one of them does; what cannot be found out counts as paid."""
        for name in sorted(classes - self._known.keys()):
            try:
                node = Catalog.parse(await server.object_info(name)).get(name)
            except (ServerCallError, BadInputError):
                return True
            if node is None:
                return True
            self._known[name] = node.api_node
        return any(self._known[name] for name in classes)


@dataclass(slots=True)
class _Second:
    """The run beside the first one."""

    task: asyncio.Task[tuple[OutputFile, ...] | Failure]
    job: Job
    place: Place
    errand: Errand
    slow: str
    """The server the first one was on."""
    words: str
    began: float
    usual: float
    """Seconds such a job takes where the first one was."""


class Escort:
    """Brings one job home with the courses and attempts it takes. Used once.

    Args:
        job: what is to be made.
        fleet: the servers.
        turn: the job's place in the line.
        repair: what may be changed in the workflow, and what was.
        hedge: how many times as long as usual a run may take before a second one is started;
            None for never.
        paid: what is known of node classes that cost money.
        limits: how much to try.
        patience: how long to wait for what.
        emit: told of everything.
        previews: whether pictures of work in progress are asked for.
        deadline: seconds for everything.
        step: how to begin; None for anywhere.
    """

    def __init__(
        self,
        job: Job,
        fleet: Fleet,
        turn: int,
        *,
        repair: Repair,
        hedge: float | None,
        paid: Paid,
        limits: Limits,
        patience: Patience,
        emit: Callable[[events.Event], None],
        previews: bool,
        deadline: float | None,
        step: Again | None = None,
    ) -> None:
        self._job = job
        self._fleet = fleet
        self._turn = turn
        self._repair = repair
        self._hedge = hedge
        self._paid = paid
        self._limits = limits
        self._patience = patience
        self._emit = emit
        self._previews = previews
        self._deadline = deadline
        self._step = step
        self._errand = Errand(needs_of(job.workflow))
        self._before: tuple[Attempt, ...] = ()
        self._second: _Second | None = None
        self._began = ambient.now()

    async def run(self) -> RunResult:
        """Bring the job to its end.

        Raises:
            ComfyUIError: nothing helps, or the deadline has passed.
            BadInputError: the output folder cannot be written.
        """
        self._fleet.errands[self._job.key] = self._errand
        try:
            self._set_out()
            while True:
                await self._something()
                if self._main.done():
                    return await self._arrived()
                second = self._second
                if second is not None and second.task.done():
                    files = self._of_second(second)
                    if files is not None:
                        return await self._overtaken(second, files)
                elif second is not None and second.errand.recalled:
                    second.errand.recalled = False
                    second.task.cancel()
                elif self._errand.recalled:
                    await self._move_on()
                elif self._lags() is not None:
                    await self._join()
        except ComfyUIError as error:
            error.attempts = self._account(*error.attempts)
            raise
        finally:
            del self._fleet.errands[self._job.key]
            tasks = [self._main, *([self._second.task] if self._second else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _set_out(self) -> None:
        left = self._deadline
        if left is not None and self._before:
            left = max(0.001, left - (ambient.now() - self._began))
        self._course = Course(
            self._job,
            self._fleet,
            self._turn,
            repair=self._repair,
            limits=self._limits,
            patience=self._patience,
            emit=self._emit,
            previews=self._previews,
            deadline=left,
            step=self._step,
        )
        self._step = None
        self._main = asyncio.create_task(self._course.run())

    async def _something(self) -> None:
        """Wait until there may be something to do."""
        tasks: set[asyncio.Task[object]] = {self._main}
        if self._second is not None:
            tasks.add(self._second.task)
        changed = asyncio.create_task(self._errand.changed.wait())
        try:
            await asyncio.wait(
                {*tasks, changed},
                timeout=self._look_in(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
        self._errand.changed.clear()

    # Lagging ----------------------------------------------------------------------------

    def _look_in(self) -> float | None:
        if self._hedge is None or self._second is not None or self._errand.at is None:
            return None
        usual = self._usual()
        lease = self._lease()
        if usual is None or lease is None:
            return LOOK_SECONDS
        left = usual[1] - (ambient.now() - lease.began)
        return min(LOOK_SECONDS, left) if left > 0 else LOOK_SECONDS / 4

    def _lease(self) -> Lease | None:
        place = self._errand.at
        return None if place is None else place.leases.get(self._job.key)

    def _usual(self) -> tuple[float, float] | None:
        """Seconds such a job takes where it is, and after how many it lags; None if unknown."""
        lease, place = self._lease(), self._errand.at
        if lease is None or place is None or self._hedge is None:
            return None
        speeds, signature = self._fleet.speeds, self._errand.needs.signature
        learned = speeds.learned(place.name, signature)
        if learned is None or learned.count < KNOWN_FROM:
            return None
        usual = learned.mean + speeds.load(place.name, signature, lease.missing)
        return usual, max(self._hedge * usual, usual + 4 * learned.deviation)

    def _lags(self) -> tuple[float, float] | None:
        """Seconds it has run and that are usual, if it lags and may be joined."""
        if self._hedge is None or self._second is not None:
            return None
        if self._repair.form.changes:
            return None  # what is usual is known of the workflow as it was given
        lease, usual = self._lease(), self._usual()
        if lease is None or usual is None:
            return None
        ran = ambient.now() - lease.began
        return (ran, usual[0]) if ran >= usual[1] else None

    async def _join(self) -> None:
        """Start a second run, if there is a server for it and it costs no money."""
        slow = self._errand.at
        spare = None if slow is None else self._fleet.spare(slow, self._errand.needs)
        if spare is None or slow is None:
            return
        if await self._paid.in_any(spare.server, self._errand.needs.classes):
            self._hedge = None
            return
        lags = self._lags()
        # Asking took its time: is all of it still so?
        if lags is None or slow is not self._errand.at:
            return
        spare = self._fleet.spare(slow, self._errand.needs)
        if spare is None:
            return
        never = frozenset(self._fleet.names) - {spare.name}
        # Who watches hears of one run, not of two at once.
        job = replace(self._job, key=uuid.uuid4().hex, listens=False)
        errand = Errand(self._errand.needs, never, self._errand.changed)
        self._fleet.errands[job.key] = errand
        place: Place | Failure | None = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    place = await self._fleet.acquire(
                        job.key,
                        self._fleet.next_turn(),
                        avoid=frozenset(),
                        never=never,
                        wait=0.0,
                    )
        finally:
            if not isinstance(place, Place):
                del self._fleet.errands[job.key]
        if not isinstance(place, Place):
            return
        words = (
            f"it had run on {slow.name} for {lags[0]:.3g} s, where {lags[1]:.3g} s are usual, and "
            f"was started a second time on {place.name}"
        )
        self._emit(events.HedgeStarted(self._job.name, slow.name, place.name, *lags))
        task = asyncio.create_task(self._run_beside(job, place))
        self._second = _Second(task, job, place, errand, slow.name, words, ambient.now(), lags[1])

    async def _run_beside(self, job: Job, place: Place) -> tuple[OutputFile, ...] | Failure:
        number = len(self._account(*self._course.attempts)) + 2
        run = AttemptRun(
            place,
            job,
            number,
            patience=self._patience,
            emit=self._emit,
            previews=self._previews,
        )
        try:
            files = await run.perform(Remedy.NONE)
        except AttemptError as error:
            self._fleet.report(place, error.failure, job.key)
            return error.failure
        else:
            self._fleet.report(place, None, job.key)
            return files
        finally:
            self._fleet.release(place, job.key)
            del self._fleet.errands[job.key]

    # How it ends ------------------------------------------------------------------------

    def _of_second(self, second: _Second) -> tuple[OutputFile, ...] | None:
        """What the second run delivered, None if it came to nothing; it is over then."""
        self._second = None
        self._hedge = None  # one is enough
        came = None
        if not second.task.cancelled() and second.task.exception() is None:
            came = second.task.result()
        files = came if isinstance(came, tuple) else None
        self._emit(events.HedgeEnded(self._job.name, second.place.name, won=files is not None))
        return files

    async def _arrived(self) -> RunResult:
        second = self._second
        error = None if self._main.cancelled() else self._main.exception()
        if second is not None:
            # Where the first run has failed, the second is the last hope while there is time.
            if not isinstance(error, ComfyUIError) or isinstance(error, DeadlineError):
                second.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({second.task})
            files = self._of_second(second)
            if files is not None and isinstance(error, ComfyUIError):
                return self._from_second(second, files)
            if files is not None:
                await asyncio.to_thread(_delete, files)
        result = self._main.result()
        notes = (*result.notes, *([second.words] if second is not None else []))
        return replace(
            result,
            attempts=self._account(*result.attempts),
            seconds=ambient.now() - self._began,
            notes=notes,
        )

    async def _overtaken(self, second: _Second, files: tuple[OutputFile, ...]) -> RunResult:
        slow, lease, usual = self._errand.at, self._lease(), second.usual
        if slow is not None and lease is not None and slow.name == second.slow:
            seconds = ambient.now() - lease.began
            words = (
                f"it was still at it after {seconds:.3g} s, where {usual:.3g} s are usual; "
                f"{second.place.name}, which was given it as well, was faster"
            )
            failure = Failure(FailureKind.STALLED, words, slow.name, category=ErrorCategory.SYSTEM)
            number = len(self._course.attempts) + 1
            self._course.attempts.append(Attempt(number, slow.name, seconds, failure, "taken back"))
            self._fleet.health.straggled(slow, seconds / max(usual, 1e-3))
        self._main.cancel()
        await asyncio.wait({self._main})
        if not self._main.cancelled() and self._main.exception() is None:
            # It arrived while it was being called back: one delivery is enough.
            await asyncio.to_thread(_delete, self._main.result().files)
        return self._from_second(second, files)

    def _from_second(self, second: _Second, files: tuple[OutputFile, ...]) -> RunResult:
        now = ambient.now()
        last = Attempt(0, second.place.name, now - second.began, made=len(files))
        return RunResult(
            self._job.prompt_id,
            second.place.name,
            files,
            self._account(*self._course.attempts, last),
            now - self._began,
            notes=(second.words,),
        )

    async def _move_on(self) -> None:
        """The server goes: take the job back from it, and set out anew."""
        self._errand.recalled = False
        place, lease = self._errand.at, self._lease()
        if place is None or lease is None:
            return
        seconds = ambient.now() - lease.began
        self._main.cancel()
        await asyncio.wait({self._main})
        if not self._main.cancelled():
            return  # it had arrived, one way or the other
        words = f"{place.name} was removed from the pool while it had the job"
        failure = Failure(FailureKind.LOST, words, place.name, category=ErrorCategory.SYSTEM)
        recovery = "taken back, and submitted to another server"
        self._before = self._account(
            *self._course.attempts, Attempt(0, place.name, seconds, failure, recovery)
        )
        self._emit(
            events.AttemptFailed(
                self._job.name, place.name, len(self._before), failure, recovery, final=False
            )
        )
        self._set_out()

    def _account(self, *attempts: Attempt) -> tuple[Attempt, ...]:
        """All attempts of all courses, counted through."""
        everything = (*self._before, *attempts)
        return tuple(replace(each, number=at) for at, each in enumerate(everything, 1))


def _delete(files: tuple[OutputFile, ...]) -> None:
    for each in files:
        if each.path is not None:
            each.path.unlink(missing_ok=True)
