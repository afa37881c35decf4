"""The first page: how much there is to do, how it goes, and what is in trouble."""

from __future__ import annotations

from nicegui import ui
from starlette.requests import Request

from holdfast.apps.dashboard import charts
from holdfast.apps.dashboard.frame import framed, live
from holdfast.apps.dashboard.pages.job_rows import JobCard
from holdfast.apps.dashboard.phrases import duration, percent, plural
from holdfast.apps.dashboard.pieces import Keyed, Pill, Plot, Redrawn, Tile, Words, anchor, box
from holdfast.apps.dashboard.sources import ErrorsView, LevelView, Overview, ServerView
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of

RECENT = 8


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/", response_timeout=20)
    async def overview_page(request: Request) -> None:
        visit = visit_of(request, deck)
        with framed(visit, "Overview", "/") as frame:
            tiles = _Tiles(visit)
            with box("div", "grid two"):
                throughput, latency = Plot("Jobs by the minute"), Plot("Time from order to picture")
            with box("section", "card"):
                with box("div", "card-head"):
                    Words("h2", "Latest pictures")
                    anchor("All jobs", visit.to("/jobs"))
                nothing = Words("p", "Nothing was delivered yet", "quiet")
                recent = Keyed(box("ul", "cards"), lambda row: JobCard.build(visit, row))
            with box("div", "grid two"):
                with box("section", "card"):
                    with box("div", "card-head"):
                        Words("h2", "Servers")
                        anchor("All servers", visit.to("/servers"))
                    servers = Redrawn("lines", _draw_servers)
                categories = Plot("Errors by category")

        async def refresh() -> None:
            source = visit.source
            page = await source.jobs(visit.only, state="delivered", limit=RECENT)
            errors, level = await visit.errors(), await visit.level()
            overview = await source.overview(visit.only)
            tiles.show(overview, errors, level)
            series = overview.series
            throughput.show(charts.throughput(series), charts.throughput_words(series))
            latency.show(charts.latency(series), charts.latency_words(series))
            nothing.set_visibility(not page.rows)
            recent.show([(row.id, row) for row in page.rows])
            servers.show((await visit.servers())[:12])
            categories.show(
                charts.errors_by_category(errors.categories),
                charts.categories_words(errors.categories),
            )

        await frame.tell(refresh)
        live(frame, refresh)


class _Tiles:
    """The figures at the top."""

    def __init__(self, visit: Visit) -> None:
        with box("div", "tiles"):
            self._queued = Tile("Waiting", href=visit.to("/jobs", state="queued"))
            self._running = Tile("Running", href=visit.to("/jobs", state="running"))
            self._delivered = Tile("Delivered", href=visit.to("/jobs", state="delivered"))
            self._dead = Tile("Dead letters", href=visit.to("/dead-letters"))
            self._recovery = Tile("Recovery rate", href=visit.to("/errors"))
            self._level = Tile("Level of service", href=visit.to("/controls"))

    def show(self, overview: Overview, errors: ErrorsView, level: LevelView) -> None:
        counts = overview.counts
        queued, running = counts.get("queued", 0), counts.get("running", 0)
        eta = f"done in about {duration(overview.eta)}" if overview.eta else ""
        self._queued.show(f"{queued:,}", "paused" if overview.paused is not None else eta)
        self._running.show(f"{running:,}", "at this moment")
        hour = sum(overview.series.delivered)
        self._delivered.show(f"{counts.get('delivered', 0):,}", f"{hour:,} in the last hour")
        dead = counts.get("failed", 0)
        self._dead.show(f"{dead:,}", "retry them" if dead else "none", "bad" if dead else "")
        tried = f"{errors.recovered:,} of {plural(errors.recoveries, 'error')}"
        self._recovery.show(percent(errors.recovery_rate), tried if errors.recoveries else "")
        pinned = "held by hand" if level.pinned else f"{level.quality:.0%} of the quality"
        self._level.show(level.level, pinned, "" if level.level == "full" else "warn")


def _draw_servers(servers: tuple[ServerView, ...]) -> None:
    if not servers:
        Words("p", "There is no server", "quiet")
    for server in servers:
        with box("div", "line"):
            Pill(server.state)
            with box("div", "line-main"):
                Words("span", server.name, "strong")
                busy = f"{server.busy} of {server.capacity} busy"
                Words("span", server.doing or server.reason or busy, "quiet one-line")
            Words("span", plural(server.done, "job"), "quiet nowrap")
