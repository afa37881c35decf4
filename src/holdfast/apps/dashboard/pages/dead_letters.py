"""The dead letters: jobs that failed for good, why, and how to give them another chance."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element
from starlette.requests import Request

from holdfast.apps.dashboard.actions import action
from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.frame import Refresh, framed, live
from holdfast.apps.dashboard.pages.job_rows import Picture
from holdfast.apps.dashboard.phrases import ago, moment, plural
from holdfast.apps.dashboard.pieces import Keyed, Words, anchor, box, put
from holdfast.apps.dashboard.sources import JobRow
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of
from holdfast.ports import ambient

ROWS = 50


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/dead-letters", response_timeout=20)
    async def dead_letters_page(request: Request, before: str = "") -> None:
        visit = visit_of(request, deck)
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None

        async def refresh() -> None:
            page = await visit.source.jobs(visit.only, state="failed", before=number, limit=ROWS)
            count = page.counts.get("failed", 0)
            said.text = (
                f"{plural(count, 'job')} ended without what was ordered. Everything that is "
                "needed to try again was kept."
                if count
                else "There are no dead letters: every job that has ended was delivered or "
                "called off."
            )
            every.set_visibility(count > 0)
            letters.show([(row.id, row) for row in page.rows])
            older.set_visibility(page.older is not None)
            put(older, "href", visit.to("/dead-letters", before=page.older))

        async def again() -> None:
            await frame.tell(refresh)

        with framed(visit, "Dead letters", "/dead-letters") as frame:
            said = Words("p", "", "lead")
            with box("div", "bar actions"):
                every = action(
                    visit,
                    "Retry all",
                    visit.retry_all,
                    name="retry_all",
                    scope=Scope.RUN,
                    target=lambda: "dead letters",
                    icon="replay",
                    confirm="Queue all dead letters again, up to a thousand at once?",
                    then=again,
                )
            letters = Keyed(box("ul", "letters"), lambda row: _build(visit, row, again))
            with box("nav", "pages", aria_label="Pages of dead letters"):
                older = anchor("Older", "")
        await frame.tell(refresh)
        live(frame, refresh)


def _build(visit: Visit, row: JobRow, again: Refresh) -> tuple[Element, Callable[[JobRow], None]]:
    job_id = row.id
    root = box("li", "card letter")
    with root:
        picture = Picture(visit)
        with box("div", "letter-main"):
            anchor(row.label, visit.to_job(job_id), "strong")
            why = Words("p", "", "message clamp")
            when = Words("span", "", "quiet")
        action(
            visit,
            "Retry",
            lambda: visit.retry(job_id),
            name="retry",
            scope=Scope.RUN,
            target=lambda: job_id,
            icon="replay",
            then=again,
            about=row.label,
        )

    def show(row: JobRow) -> None:
        picture.show(row)
        why.text = row.summary or "It does not say why"
        user = f" · {row.user}" if row.user else ""
        when.text = f"{ago(row.ended, ambient.wall())}{user}"
        put(when, "title", moment(row.ended))

    show(row)
    return root, show
