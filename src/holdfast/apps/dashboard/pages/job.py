"""One job: its pictures, its story, every attempt, and what can be done with it."""

from __future__ import annotations

from nicegui import ui
from starlette.requests import Request

from holdfast.apps.dashboard.actions import action, perform, push
from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.frame import Frame, framed, live
from holdfast.apps.dashboard.pages.job_rows import took
from holdfast.apps.dashboard.phrases import clock, cut, duration, moment, size
from holdfast.apps.dashboard.pieces import (
    Pill,
    Redrawn,
    Words,
    anchor,
    box,
    facts,
    put,
    sign,
    thumb,
)
from holdfast.apps.dashboard.sources import (
    AttemptView,
    FileView,
    JobDetail,
    JobRow,
    StoryStep,
    Tone,
)
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of
from holdfast.errors import BadInputError

MOST_PRIORITY = 1_000
_COLOURS = {
    Tone.GOOD: "positive",
    Tone.BUSY: "primary",
    Tone.WARN: "warning",
    Tone.BAD: "negative",
    Tone.PLAIN: "grey",
}


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/job/{job_id:path}", response_timeout=20)
    async def job_page(request: Request, job_id: str) -> None:
        visit = visit_of(request, deck)
        job = await visit.source.job(job_id, visit.only)
        if job is None:
            with framed(visit, "No such job", "/jobs") as frame:
                Words("p", f"There is no job {cut(job_id, 100)}, or it is not yours.", "card")
                anchor("All jobs", visit.to("/jobs"))
            live(frame, _nothing)
            return
        with framed(visit, job.row.label, "/jobs") as frame:
            _JobPage(visit, frame, job)


async def _nothing() -> None:
    """Nothing on the page changes."""


class _JobPage:
    """The page of a job that there is."""

    def __init__(self, visit: Visit, frame: Frame, job: JobDetail) -> None:
        self._visit = visit
        self._frame = frame
        self._id = job.row.id
        self._job = job
        with box("div", "job-head"):
            self._state = Pill(job.row.state)
            self._summary = Words("span", "", "quiet")
        self._buttons(job.row)
        with box("div", "grid job"):
            with box("div", "stack"):
                self._failure = Redrawn("", self._draw_failure)
                with box("section", "card"):
                    Words("h2", "Story")
                    self._story = Redrawn("", _draw_story)
                self._attempts = Redrawn("", _draw_attempts)
            with box("div", "stack"):
                self._files = Redrawn("", self._draw_files)
                self._changes = Redrawn("", _draw_changes)
                with box("section", "card"):
                    Words("h2", "Facts")
                    self._facts = Redrawn("", _draw_facts)
                with box("section", "card"):
                    self._workflow = Redrawn("", self._draw_workflow)
        self._show(job)
        live(frame, self.refresh)

    async def refresh(self) -> None:
        """Bring it up to date."""
        job = await self._visit.source.job(self._id, self._visit.only)
        if job is not None:
            self._show(job)

    def _show(self, job: JobDetail) -> None:
        self._job = job
        row = job.row
        self._state.show(row.state, "being cancelled" if row.cancelling else "")
        self._summary.text = row.summary or ("" if took(row) == "-" else took(row))
        ended = row.state not in ("queued", "running")
        self._cancel.set_visibility(not ended and not row.cancelling)
        self._retry.set_visibility(row.state in ("failed", "cancelled"))
        self._rank.set_visibility(row.state == "queued")
        self._failure.show(job)
        self._story.show(job.story)
        self._attempts.show(job.attempts)
        self._files.show(job.files)
        self._changes.show((job.degradations, job.notes))
        self._facts.show(job)
        self._workflow.show(job.workflow)

    def _buttons(self, row: JobRow) -> None:
        visit, source = self._visit, self._visit.source
        with box("div", "bar actions"):
            self._cancel = action(
                visit,
                "Cancel job",
                lambda: source.cancel(self._id, visit.only),
                name="cancel",
                target=lambda: self._id,
                icon="block",
                confirm="Cancel this job? What it has made so far is lost.",
                danger=True,
                then=self._again,
            )
            self._retry = action(
                visit,
                "Retry",
                lambda: visit.retry(self._id),
                name="retry",
                scope=Scope.RUN,
                target=lambda: self._id,
                icon="replay",
                then=self._again,
            )
            with box("form", "bar rank") as self._rank:
                number = ui.number("Priority", value=row.priority, precision=0)
                number.props("dense outlined")
                self._rank.on("submit.prevent", lambda: self._set_priority(number.value))
                button = push("Set", None).props("type=submit")
                put(button, "aria-label", "Set the priority")
                why_not = visit.visitor.why_not(Scope.SUBMIT)
                if why_not:
                    button.disable()
                    number.disable()
                    put(button, "title", why_not)

    async def _set_priority(self, value: float | None) -> None:
        visit = self._visit
        rank = max(-MOST_PRIORITY, min(int(value or 0), MOST_PRIORITY))

        async def act() -> str:
            most = visit.visitor.top_priority
            if most is not None and rank > most:
                raise BadInputError(f"priority must be at most {most} with your key, got {rank}")
            return await visit.source.set_priority(self._id, rank, visit.only)

        await perform(
            visit,
            act,
            name="priority",
            target=self._id,
            scope=Scope.SUBMIT,
        )
        await self._again()

    async def _again(self) -> None:
        await self._frame.tell(self.refresh)

    def _draw_failure(self, job: JobDetail) -> None:
        failure = job.failure
        if failure is None or job.row.state == "queued":
            return
        with box("section", "card trouble"):
            Words("h2", "Why it failed")
            Words("p", failure.message or failure.kind or "Nobody knows", "message")
            facts([("Kind", failure.kind), ("Category", failure.category), ("Node", failure.node)])
            if failure.traceback:
                with box("details"):
                    Words("summary", "Traceback of the server")
                    Words("pre", "\n".join(failure.traceback), "code")

    def _draw_files(self, files: tuple[FileView, ...]) -> None:
        visit = self._visit
        if not files:
            return
        with box("section", "card"):
            Words("h2", "Pictures and files")
            with box("ul", "files"):
                for file in files:
                    href = visit.to_file(file.sha256, file.filename)
                    pixels = f"{file.width} x {file.height}, " if file.width else ""
                    with box("li"), box("a", "file", href=href, download=file.filename):
                        if file.is_picture:
                            thumb(visit.to_thumb(file.sha256), f"Picture {file.filename}", "shot")
                        with box("span", "file-words"):
                            sign("download")
                            Words("span", file.filename, "strong one-line")
                        Words("span", f"{pixels}{size(file.size)}, node {file.node}", "quiet")
                        if file.suspect:
                            with box("span", "pill tone-warn"):
                                sign("warning")
                                Words("span", file.suspect)

    def _draw_workflow(self, workflow: str) -> None:
        with box("div", "card-head"):
            Words("h2", "Workflow")
            save = push(
                "Download", lambda: ui.download.content(workflow, "workflow.json"), "download"
            )
            put(save, "aria-label", "Download the workflow as JSON")
        with box("details"):
            Words("summary", "Show as JSON")
            put(Words("pre", workflow, "code"), "tabindex", "0")


def _draw_story(story: tuple[StoryStep, ...]) -> None:
    with ui.timeline(side="right", layout="dense").classes("story"):
        for step in story:
            made = ui.timeline_entry(
                title=step.title,
                subtitle=clock(step.at),
                icon=step.icon,
                color=_COLOURS[step.tone],
            )
            if step.words:
                with made:
                    Words("div", step.words)


def _draw_attempts(attempts: tuple[AttemptView, ...]) -> None:
    if not attempts:
        return
    with box("section", "card"):
        Words("h2", "Attempts")
        with box("ol", "attempts"):
            for each in attempts:
                with box("li"):
                    with box("div", "bar"):
                        Pill("failed" if each.error else "delivered")
                        Words("span", each.server, "strong")
                        Words("span", duration(each.seconds), "quiet")
                    if each.error:
                        Words("p", each.error, "message")
                    if each.recovery:
                        with box("p", "recovery"):
                            sign("healing")
                            Words("span", each.recovery)


def _draw_changes(what: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    degradations, notes = what
    if not degradations and not notes:
        return
    with box("section", "card"):
        for title, texts, icon in (
            ("Changed, to get a result", degradations, "tune"),
            ("Notes", notes, "info"),
        ):
            if texts:
                Words("h2", title)
                with box("ul", "notes"):
                    for text in texts:
                        with box("li"):
                            sign(icon)
                            Words("span", text)


def _draw_facts(job: JobDetail) -> None:
    row = job.row
    facts(
        [
            ("Prompt", row.prompt),
            ("Model", row.model),
            ("Seed", row.seed),
            ("Id", row.id),
            ("Number", f"{row.number:,}"),
            ("User", row.user),
            ("Order", job.order),
            ("Key", job.key),
            ("Priority", str(row.priority)),
            ("Ordered", moment(row.created)),
            ("Begun", moment(row.started)),
            ("Ended", moment(row.ended)),
            ("Must be done", moment(job.deadline)),
            ("Expected to take", duration(row.estimate)),
            ("Workers that went away", str(row.tries) if row.tries else ""),
            ("Worker", job.worker),
            ("Client", job.client_id),
        ]
    )
