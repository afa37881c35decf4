"""All jobs: by state, by what is searched for, page by page."""

from __future__ import annotations

from nicegui import ui
from starlette.requests import Request

from holdfast.apps.dashboard.frame import framed, live
from holdfast.apps.dashboard.pages.job_rows import COLUMNS, JobLine
from holdfast.apps.dashboard.phrases import cut
from holdfast.apps.dashboard.pieces import Keyed, Words, anchor, box, put
from holdfast.apps.dashboard.sources import STATES, JobPage
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of

ROWS = 50


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/jobs", response_timeout=20)
    async def jobs_page(request: Request, q: str = "", state: str = "", before: str = "") -> None:
        visit = visit_of(request, deck)
        search, state = q.strip()[:200], state if state in STATES else ""
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
        with framed(visit, "Jobs", "/jobs", search=search) as frame:
            filters = _Filters(visit, state, search)
            if search:
                with box("p", "searched"):
                    Words("span", f"With “{cut(search, 80)}” in name, prompt, model, seed or id")
                    anchor("Show all", visit.to("/jobs", state=state))
            empty = Words("p", "", "card quiet nothing")
            with box("div", "card table-card") as card, box("table", "jobs"):
                Words("caption", "Jobs, the newest first", "unseen")
                with box("thead"), box("tr"):
                    for column in COLUMNS:
                        head = Words("th", column or "Picture", "" if column else "head-thumb")
                        put(head, "scope", "col")
                lines = Keyed(box("tbody"), lambda row: JobLine.build(visit, row))
            with box("nav", "pages", aria_label="Pages of jobs"):
                newest = anchor("Newest", visit.to("/jobs", q=search, state=state))
                older = anchor("Older", "")
            newest.set_visibility(number is not None)

        async def refresh() -> None:
            page = await visit.source.jobs(
                visit.only, state=state, search=search, before=number, limit=ROWS
            )
            filters.show(page)
            empty.text = "No job matches" if search or state else "No job was ordered yet"
            empty.set_visibility(not page.rows)
            card.set_visibility(bool(page.rows))
            lines.show([(row.id, row) for row in page.rows])
            older.set_visibility(page.older is not None)
            put(older, "href", visit.to("/jobs", q=search, state=state, before=page.older))

        await frame.tell(refresh)
        live(frame, refresh)


class _Filters:
    """Links that show the jobs of one state only, with how many there are."""

    def __init__(self, visit: Visit, chosen: str, search: str) -> None:
        self._counts: dict[str, Words] = {}
        with box("nav", "filters", aria_label="Show jobs that are"):
            for state in ("", *STATES):
                with box("a", "chip", href=visit.to("/jobs", q=search, state=state)) as link:
                    if state == chosen:
                        put(link, "aria-current", "true")
                    Words("span", state or "all")
                    self._counts[state] = Words("span", "", "count")

    def show(self, page: JobPage) -> None:
        """How many there are now."""
        for state, words in self._counts.items():
            count = page.counts.get(state, 0) if state else sum(page.counts.values())
            words.text = f"{count:,}"
