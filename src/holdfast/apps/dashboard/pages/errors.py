"""The errors: how many, of what kinds, whether they grow, and what was done about them."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element
from starlette.requests import Request

from holdfast.apps.dashboard import charts
from holdfast.apps.dashboard.frame import framed, live
from holdfast.apps.dashboard.phrases import ago, icon_of, percent, plural
from holdfast.apps.dashboard.pieces import Keyed, Pill, Plot, Tile, Words, box, put, sign
from holdfast.apps.dashboard.sources import ErrorGroupView
from holdfast.apps.dashboard.visit import Deck, visit_of
from holdfast.ports import ambient

_TALL = 24


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/errors", response_timeout=20)
    async def errors_page(request: Request) -> None:
        visit = visit_of(request, deck)
        with framed(visit, "Errors", "/errors") as frame:
            with box("div", "tiles"):
                total, rate = Tile("Errors"), Tile("A minute, lately")
                recovery, kinds = Tile("Recovery rate"), Tile("Kinds of trouble")
            with box("div", "grid three"):
                minutes, categories = Plot("Errors by the minute"), Plot("Errors by category")
                recoveries = Plot("How often each recovery helped")
            with box("section", "card"):
                Words("h2", "The same trouble, counted together")
                nothing = Words("p", "No errors. All is well.", "quiet")
                groups = Keyed(box("ul", "groups"), _build)

        async def refresh() -> None:
            errors = await visit.errors()
            total.show(f"{errors.total:,}", "since the start")
            rate.show(f"{errors.per_minute:.2g}", "over the last hour")
            tried = f"{errors.recovered:,} of {plural(errors.recoveries, 'error')}"
            recovery.show(percent(errors.recovery_rate), tried if errors.recoveries else "")
            kinds.show(f"{len(errors.groups)}", "in groups")
            recent = sum(errors.minutes)
            minutes.show(
                charts.errors_by_minute(errors.minutes),
                f"{plural(recent, 'error')} in the last hour",
            )
            categories.show(
                charts.errors_by_category(errors.categories),
                charts.categories_words(errors.categories),
            )
            recoveries.show(
                charts.recovery_rates(errors.strategies), charts.recovery_words(errors.strategies)
            )
            nothing.set_visibility(not errors.groups)
            groups.show([(group.fingerprint, group) for group in errors.groups])

        await frame.tell(refresh)
        live(frame, refresh)


def _build(group: ErrorGroupView) -> tuple[Element, Callable[[ErrorGroupView], None]]:
    made = _Group(group)
    return made.root, made.show


class _Group:
    """One trouble."""

    def __init__(self, group: ErrorGroupView) -> None:
        self.root = box("li", "group")
        with self.root:
            with box("div", "group-main"):
                with box("div", "bar"):
                    self._severity = Pill(group.severity)
                    Words("h3", group.type)
                    Words("span", group.category, "quiet")
                Words("p", group.sample, "message clamp")
                self._done = Words("p", "", "quiet")
                self._where = Words("p", "", "quiet")
            with box("div", "group-side"):
                self._count = Words("span", "", "group-count")
                with box("span", "trend") as self._trend_box:
                    self._icon = sign("trending_flat")
                    self._trend = Words("span")
                self._line = _Line()
        self.show(group)

    def show(self, group: ErrorGroupView) -> None:
        """Another state of it."""
        self._severity.show(group.severity)
        self._count.text = f"{group.count:,}"
        self._trend.text = group.trend
        put(self._icon, "name", icon_of(group.direction))
        self._trend_box.classes(replace=f"trend {group.direction}")
        done = "; ".join(
            f"{name.replace('_', ' ')} {tried:,} times, helped {helped:,}"
            for name, tried, helped in group.done
        )
        self._done.text = f"Done about it: {done}" if done else "Nothing was done about it"
        where = ", ".join(f"{name or '(none)'} {count:,}" for name, count in group.dependencies)
        last = f"last {ago(group.last_seen, ambient.wall())}"
        self._where.text = f"{where} · {last}" if where else last
        self._line.show(group.per_minute)


class _Line:
    """Errors of the last hour as a small line."""

    def __init__(self) -> None:
        svg = box("svg", "spark", viewBox=f"0 0 60 {_TALL}", preserveAspectRatio="none")
        put(svg, "aria-hidden", "true")
        with svg:
            self._line = box("polyline")

    def show(self, minutes: tuple[int, ...]) -> None:
        """Other values."""
        most = max(minutes, default=0) or 1
        put(
            self._line,
            "points",
            " ".join(
                f"{place},{_TALL - 1 - (_TALL - 2) * count / most:.1f}"
                for place, count in enumerate(minutes)
            ),
        )
