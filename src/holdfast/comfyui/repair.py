"""One job's workflow on its way: what it was, what was made of it, and what could be made next.

`mends` knows what may help, `plan` whether it is done; this holds the form the
job has now and asks the servers what both must know.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.comfyui.allowed import Allowed
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Change
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.form import Form
from holdfast.comfyui.job import Job
from holdfast.comfyui.knowledge import Knowledge
from holdfast.comfyui.lessons import Lesson, size_of
from holdfast.comfyui.mends import SIMPLER, Mend, may_reseed, next_mend, relived
from holdfast.comfyui.money import may_have_been_paid, never_began, paid_nodes
from holdfast.comfyui.place import Place
from holdfast.comfyui.plan import Offer, Situation
from holdfast.comfyui.result import OutputFile
from holdfast.comfyui.server import Server
from holdfast.comfyui.simpler import uploads_for
from holdfast.errors import ErrorCategory
from holdfast.ports import ambient

if TYPE_CHECKING:
    from holdfast.comfyui.supplies import Supplies

_MENDABLE = frozenset(
    {
        FailureKind.REJECTED,
        FailureKind.NODE_ERROR,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.SERVER_DIED,
        FailureKind.SUSPECT,
    }
)

_ASK_STALLED = 3.0
"""Seconds a server that has stalled gets to say what its node classes are."""


class Repair:
    """The form of one job, and how it came to it. Used once, in one event loop."""

    def __init__(
        self,
        job: Job,
        knowledge: Knowledge,
        servers: Callable[[], Sequence[Server]],
        allowed: Allowed,
        *,
        strict: bool,
        supplies: Supplies | None = None,
    ) -> None:
        self.notes: list[str] = []
        """What else is worth knowing."""
        self._supplies = supplies
        self._supplying: Failure | None = None
        self.form = Form.of(job.workflow)
        self._job = job
        self._knowledge = knowledge
        self._servers = servers
        self._allowed = allowed
        self._strict = strict
        self._number = 0
        self._numbers: list[int] = []
        self._mend: Mend | None = None
        self._lesson: Lesson | None = None
        self._short_at = ""
        """The class of the node that ran out of memory first."""
        self._made_for: str | None = None
        """The server whose memory the form was made for."""

    def start_over(self) -> None:
        """Nothing is made yet: another course may begin with the form the job has now."""
        self.form = self.form.unmade()
        self._numbers = []

    @property
    def may_reseed(self) -> bool:
        """Whether a picture that is suspect is to be made again with another seed."""
        alone = len(self.form.parts) == 1
        return not self._strict and alone and may_reseed(self.form, self._allowed)

    def run(self) -> Job:
        """The next run, as a job of its own."""
        part = self.form.next
        if self._number == 0 and len(self.form.parts) == 1:
            return self._job
        before: Counter[str] = Counter(
            file.node_id for each in self.form.parts for file in each.files or ()
        )
        uploads, homeless = uploads_for(self.form.workflow, self._job.uploads)
        if homeless and SIMPLER in self.form.names:
            self.notes.append(f"the simpler workflow has no place for {', '.join(homeless)}")
        return replace(
            self._job,
            uploads=uploads,
            workflow=self.form.workflow,
            # Another graph is another prompt: nothing of the former one may be taken for it.
            changed=True,
            prompt_id=str(uuid.uuid4()) if len(self.form.parts) > 1 else self._job.prompt_id,
            key=f"{self._job.key}.{self._number}.{part}",
            before=dict(before) if len(self.form.parts) > 1 else None,
        )

    async def arrive(self, place: Place) -> None:
        """The job is about to run on ``place``: begin there with what fits there, if known."""
        if self.form.begun or self._made_for == place.name:
            return
        if self._made_for is not None and await self._has_less(place):
            return
        lesson = self._lesson = self._knowledge.lessons.recall(
            place.name, self._job.workflow, ambient.now()
        )
        form = Form.of(self._job.workflow)
        if lesson is not None:
            catalog = await self._knowledge.catalog(place.server)
            if catalog is not None:
                form = relived(lesson, form, catalog, self._allowed, strict=self._strict)
        if not all(change.keeps_result for change in form.changes) and await self._roomier(place):
            form = Form.of(self._job.workflow)  # it may fit there as it was given
        if form != self.form:
            self._take(form, place.name if form.changes else None)

    async def consider(self, place: Place, failures: Sequence[Failure]) -> Situation:
        """What could be done about the last of the failures; `change` does it."""
        self._numbers.append(self._number)
        self._mend = self._supplying = None
        last = failures[-1]
        if last.kind is FailureKind.OUT_OF_MEMORY and last.node_type and not self._short_at:
            self._short_at = last.node_type
        memory = {}
        if last.kind is FailureKind.OUT_OF_MEMORY:
            memory = dict(await self._knowledge.memory(self._servers()))
        if last.kind in _MENDABLE:
            catalog = await self._catalog(place, fresh=last.kind is FailureKind.REJECTED)
            if catalog is not None:
                self._mend = next_mend(last, self.form, catalog, self._allowed, strict=self._strict)
        offer = None if self._mend is None else self._mend.offer
        early = offer is not None and offer.early
        supplies = self._supplies
        if not early and supplies is not None and supplies.may_help(last, self.form.workflow):
            self._supplying = last
            offer = Offer("once more, when its models are there and whole")
        return Situation(tuple(self._numbers), memory, offer)

    async def change(self, place: Place) -> bool:
        """Make the change that was offered last.

        Returns:
            Whether servers may have models now that they lacked before.
        """
        if self._supplying is not None and self._supplies is not None:
            came = await self._supplies.help(self._supplying, self.form.workflow)
            if isinstance(came, Change):
                self._take(replace(self.form, changes=(*self.form.changes, came)), self._made_for)
            else:
                self.notes.append(f"models were not supplied: {came}")
            return isinstance(came, Change)
        assert self._mend is not None  # noqa: S101 - the plan takes only what was offered
        self._take(self._mend.form, place.name)
        return False

    def delivered(self, place: Place, files: tuple[OutputFile, ...]) -> None:
        """The next run is made."""
        self.form = self.form.delivered(files)
        if self.form.made and self._made_for == place.name and self.form.changes:
            fits = size_of(self._job.workflow) / len(self.form.parts)
            at = self._short_at or (self._lesson.at if self._lesson is not None else "")
            self._knowledge.lessons.learn(
                place.name, self._job.workflow, self.form.names, fits, at=at, now=ambient.now()
            )

    async def paid(
        self, place: Place, failure: Failure, begun: frozenset[str], *, joined: bool
    ) -> Failure | None:
        """Why the run must not be repeated: it may have cost money. None if it did not."""
        if self._allowed.rerun_paid or never_began(failure):
            return None
        # A frozen server answers nothing, and the job is waiting to go elsewhere.
        seconds = _ASK_STALLED if failure.kind is FailureKind.STALLED else None
        catalog = await self._catalog(place, fresh=False, seconds=seconds)
        paid = paid_nodes(self.form.workflow, catalog)
        if not paid or not may_have_been_paid(failure, paid, begun, joined=joined):
            return None
        named = ", ".join(f"node {node} ({name})" for node, name in paid.items())
        return replace(
            failure,
            kind=FailureKind.PAID,
            message=f"{failure.message}; {named} costs money and may have run, so the run was not "
            "repeated (allow it with Allowed(rerun_paid=True))",
            category=failure.category or ErrorCategory.WORKFLOW,
        )

    async def _catalog(
        self, place: Place, *, fresh: bool, seconds: float | None = None
    ) -> Catalog | None:
        known = self._knowledge.last_catalog([place.name])
        if known is not None and not fresh:
            return known
        return await self._knowledge.catalog(place.server, fresh=fresh, seconds=seconds) or known

    async def _roomier(self, place: Place) -> bool:
        """Whether another server is known to have more memory."""
        memory = await self._knowledge.memory(self._servers())
        here = memory.get(place.name, 0)
        return any(size > here for name, size in memory.items() if name != place.name)

    async def _has_less(self, place: Place) -> bool:
        memory = await self._knowledge.memory(self._servers())
        here = memory.get(place.name)
        there = memory.get(self._made_for or "")
        return here is None or there is None or here <= there

    def _take(self, form: Form, made_for: str | None) -> None:
        self.form, self._made_for = form, made_for
        self._number += 1
