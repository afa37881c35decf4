"""One job's way through the fleet: attempts, until its files are here or nothing helps.

`plan` decides, `attempt` acts, `repair` changes the workflow; this holds what
has happened so far and does the waiting in between. A place is kept from one
attempt to the next where the plan prefers the same server, so that no other
job comes between and wipes its cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.attempt import AttemptRun
from holdfast.comfyui.delivery import AttemptError, throw_away
from holdfast.comfyui.failures import ComfyUIError, Failure, FailureKind
from holdfast.comfyui.fleet import Fleet
from holdfast.comfyui.job import Job
from holdfast.comfyui.needs import needs_of
from holdfast.comfyui.place import Place
from holdfast.comfyui.plan import Again, GiveUp, Limits, next_step
from holdfast.comfyui.repair import Repair
from holdfast.comfyui.result import Attempt, OutputFile, RunResult
from holdfast.comfyui.verdict import Patience
from holdfast.errors import DeadlineExceededError, ErrorCategory
from holdfast.pipeline import Pipeline
from holdfast.policies.scope import Deadline
from holdfast.ports import ambient

_HELD_TO_ITS_DEADLINE = Pipeline(name="job")
"""No policy: `plan` knows better when to try again. It interrupts what outlasts the deadline."""


class Course:
    """What has happened to a job so far. Used once."""

    def __init__(
        self,
        job: Job,
        fleet: Fleet,
        turn: int,
        *,
        repair: Repair,
        limits: Limits,
        patience: Patience,
        emit: Callable[[events.Event], None],
        previews: bool,
        deadline: float | None,
        step: Again | None = None,
    ) -> None:
        self.job = job
        self.attempts: list[Attempt] = []
        self._fleet = fleet
        self._repair = repair
        self._limits = limits
        self._patience = patience
        self._emit = emit
        self._previews = previews
        self._deadline = deadline
        self._began = ambient.now()
        self._turn = turn
        self._failures: list[Failure] = []
        self._notes: list[str] = []
        self._step = step or Again("first attempt")
        self._outputs: Mapping[str, Any] = {}
        self._place: Place | None = None
        self._kept: RunResult | None = None
        """A delivery with a suspect picture: what is left if nothing better comes."""

    async def run(self) -> RunResult:
        """Bring the job to its end.

        Raises:
            ComfyUIError: nothing helps, or the deadline has passed.
            BadInputError: the output folder cannot be written.
        """
        own = Deadline(math.inf) if self._deadline is None else Deadline.after(self._deadline)
        whole = False
        try:
            with own:
                result = await _HELD_TO_ITS_DEADLINE.execute(self._to_the_end)
            whole = True
        except ComfyUIError:
            result, whole = self._suspect_or_raise(), True
        except DeadlineExceededError:
            if self._kept is None:
                raise self._too_late() from None
            result, whole = self._suspect_or_raise(), True
        finally:
            if not whole:
                throw_away(self._repair.form.files)  # half a delivery is none
                self._repair.start_over()
            if self._kept is not None and (not whole or result is not self._kept):
                throw_away(self._kept.files)
        return result

    def _suspect_or_raise(self) -> RunResult:
        if self._kept is None:
            raise  # noqa: PLE0704 - called while it is handled
        told = "no better picture came: the suspect one is delivered"
        notes = (*self._kept.notes, *_told(self._kept.files), told)
        self._kept = replace(
            self._kept,
            attempts=tuple(self.attempts),
            seconds=ambient.now() - self._began,
            notes=tuple(dict.fromkeys(notes)),
        )
        return self._kept

    async def _to_the_end(self) -> RunResult:
        try:
            while True:
                place = self._place
                if place is None:
                    place = self._place = await self._take_place()
                    await self._repair.arrive(place)
                started = ambient.now()
                files = await self._attempt(place, started)
                if files is None:
                    continue
                self._made(place, files, started)
                if self._repair.form.made:
                    return self._delivered(place)
        finally:
            if self._place is not None:
                self._fleet.release(self._place, self.job.key)

    async def _take_place(self) -> Place:
        step = self._step
        found = await self._fleet.acquire(
            self.job.key, self._turn, avoid=step.avoid, never=step.never, wait=step.wait
        )
        if isinstance(found, Failure):
            raise self._most_telling(found).to_error(tuple(self.attempts))
        return found

    async def _attempt(self, place: Place, started: float) -> tuple[OutputFile, ...] | None:
        run = AttemptRun(
            place,
            self._repair.run(),
            len(self.attempts) + 1,
            patience=self._patience,
            emit=self._emit,
            previews=self._previews,
        )
        try:
            files = await run.perform(self._step.remedy)
        except AttemptError as error:
            failure = error.failure
        else:
            self._outputs = run.outputs
            if (found := self._suspicion(place, files)) is None:
                return files
            begun = frozenset(run.begun)
            if await self._repair.paid(place, found, begun, joined=run.joined) is not None:
                # Paid for already: it is delivered as it is rather than paid for twice.
                self._notes += _told(files)
                return files
            failure = found
            self._keep(place, files)
        finally:
            self._notes += run.notes
        paid = await self._repair.paid(place, failure, frozenset(run.begun), joined=run.joined)
        await self._failed(place, failure, started, paid)
        return None

    def _keep(self, place: Place, files: tuple[OutputFile, ...]) -> None:
        if self._kept is not None:
            throw_away(self._kept.files)
        self._kept = RunResult(
            self.job.prompt_id,
            place.name,
            files,
            (),
            0.0,
            degradations=self._repair.form.losses,
            notes=tuple(self._notes),
            outputs=self._outputs,
        )

    def _suspicion(self, place: Place, files: tuple[OutputFile, ...]) -> Failure | None:
        suspects = [each for each in files if each.suspect]
        if not suspects:
            return None
        if self._repair.may_reseed:
            words = (
                f"node {suspects[0].node_id} saved {suspects[0].filename}: {suspects[0].suspect}"
            )
            return Failure(
                FailureKind.SUSPECT,
                words,
                place.name,
                suspects[0].node_id,
                category=ErrorCategory.WORKFLOW,
            )
        self._notes += _told(files)
        return None

    async def _failed(
        self, place: Place, failure: Failure, started: float, paid: Failure | None
    ) -> None:
        self._fleet.report(place, failure, self.job.key)
        failure = paid or failure
        self._failures.append(failure)
        seconds = ambient.now() - started
        situation = await self._repair.consider(place, self._failures)
        deadline = Deadline.current()
        left = None if deadline is None else deadline.remaining()
        step = next_step(
            self._failures,
            self._fleet.names,
            self._limits,
            ambient.chance(),
            left=left,
            situation=situation,
        )
        number = len(self.attempts) + 1
        self.attempts.append(Attempt(number, place.name, seconds, failure, step.words))
        final = isinstance(step, GiveUp)
        self._emit(
            events.AttemptFailed(
                self.job.name, place.name, number, failure, step.words, final=final
            )
        )
        if isinstance(step, GiveUp):
            raise step.failure.to_error(tuple(self.attempts))
        self._step = step
        if step.change:
            if await self._repair.change(place):
                for each in self._fleet.places:
                    each.lacks.clear()
            errand = self._fleet.errands.get(self.job.key)
            if errand is not None:  # what the workflow lacks now it needs no more
                errand.needs = needs_of(self._repair.form.workflow)
        if step.prefer != place.name or not self._fleet.is_up(place):
            self._fleet.release(place, self.job.key)
            self._place = None

    def _made(self, place: Place, files: tuple[OutputFile, ...], started: float) -> None:
        self._fleet.report(place, None, self.job.key)
        seconds = ambient.now() - started
        self.attempts.append(Attempt(len(self.attempts) + 1, place.name, seconds, made=len(files)))
        self._repair.delivered(place, files)
        self._step = Again("the next part", prefer=place.name)

    def _delivered(self, place: Place) -> RunResult:
        form = self._repair.form
        return RunResult(
            self.job.prompt_id,
            place.name,
            form.files,
            tuple(self.attempts),
            ambient.now() - self._began,
            degradations=form.losses,
            notes=tuple(dict.fromkeys((*self._notes, *self._repair.notes))),
            outputs=self._outputs,
        )

    def _most_telling(self, last: Failure) -> Failure:
        """Of 'no server is left' and what happened before, the one that says why."""
        own = [each for each in self._failures if each.kind not in _SAY_LITTLE]
        return own[-1] if own and last.kind is FailureKind.UNREACHABLE else last

    def _too_late(self) -> ComfyUIError:
        last = self.attempts[-1] if self.attempts else None
        words = f"not finished within {self._deadline or ambient.now() - self._began:.6g} s"
        if last is not None and last.failure is not None:
            words += f"; the last attempt failed: {last.failure.message}"
        failure = Failure(
            FailureKind.DEADLINE,
            words,
            None if last is None else last.server,
            category=ErrorCategory.SYSTEM,
        )
        return failure.to_error(tuple(self.attempts))


def _told(files: tuple[OutputFile, ...]) -> list[str]:
    return [f"suspect: {each.filename}: {each.suspect}" for each in files if each.suspect]


_SAY_LITTLE = frozenset(
    {
        FailureKind.UNREACHABLE,
        FailureKind.SERVER_ERROR,
        FailureKind.NEVER_ACCEPTED,
        FailureKind.NOT_COMFYUI,
    }
)
