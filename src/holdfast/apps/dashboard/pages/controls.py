"""The controls: the queue, the level of service, and the circuit breakers, by hand."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element
from starlette.requests import Request

from holdfast.apps.dashboard.actions import action
from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.frame import Refresh, framed, live
from holdfast.apps.dashboard.phrases import ago, duration, plural
from holdfast.apps.dashboard.pieces import Keyed, Pill, Redrawn, Words, box, put
from holdfast.apps.dashboard.sources import BreakerView, LevelView, Overview
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of
from holdfast.ports import ambient


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/controls", response_timeout=20)
    async def controls_page(request: Request) -> None:
        visit = visit_of(request, deck)
        source = visit.source
        level = await visit.level()

        async def refresh() -> None:
            overview = await source.overview(visit.only)
            queue.show(overview)
            frame.show(overview)
            levels.show(await visit.level())
            known = await visit.breakers()
            nothing.set_visibility(not known)
            breakers.show([(each.name, each) for each in known])

        async def again() -> None:
            await frame.tell(refresh)

        with framed(visit, "Controls", "/controls") as frame:
            with box("div", "grid two"):
                queue = _Queue(visit, again)
                levels = _Levels(visit, level, again)
            with box("section", "card"):
                Words("h2", "Circuit breakers")
                nothing = Words("p", "No breaker was needed yet.", "quiet")
                breakers = Keyed(box("ul", "breakers"), lambda each: _build(visit, each, again))
        await frame.tell(refresh)
        live(frame, refresh)


class _Queue:
    """Pause and go on."""

    def __init__(self, visit: Visit, again: Refresh) -> None:
        with box("section", "card stack"):
            Words("h2", "Queue")
            with box("div", "bar"):
                self._state = Pill("up", "going on")
                self._words = Words("span", "", "quiet")
            reason = ui.input("Why it is paused", placeholder="Drivers are being updated")
            reason.props("dense outlined maxlength=200")
            with box("div", "bar actions"):
                self._pause = action(
                    visit,
                    "Pause",
                    lambda: visit.source.pause((reason.value or "").strip()[:200]),
                    name="pause",
                    target=lambda: "queue",
                    scope=Scope.ADMIN,
                    icon="pause",
                    confirm="Pause the queue? What runs goes on, and nothing new begins.",
                    danger=True,
                    then=again,
                )
                self._resume = action(
                    visit,
                    "Resume",
                    visit.source.resume,
                    name="resume",
                    target=lambda: "queue",
                    scope=Scope.ADMIN,
                    icon="play_arrow",
                    then=again,
                )
            self._reason = reason
            if visit.visitor.why_not(Scope.ADMIN):
                reason.disable()

    def show(self, overview: Overview) -> None:
        """How it stands."""
        paused = overview.paused
        self._state.show("up" if paused is None else "medium",
                         "going on" if paused is None else "paused")  # fmt: skip
        counts = overview.counts
        waiting, running = counts.get("queued", 0), counts.get("running", 0)
        self._words.text = paused or f"{plural(waiting, 'job')} waiting, {running:,} running"
        self._pause.set_visibility(paused is None)
        self._reason.set_visibility(paused is None)
        self._resume.set_visibility(paused is not None)


class _Levels:
    """The level of service."""

    def __init__(self, visit: Visit, level: LevelView, again: Refresh) -> None:
        with box("section", "card stack"):
            Words("h2", "Level of service")
            with box("div", "bar"):
                self._state = Pill(level.level)
                self._words = Words("span", "", "quiet")
            choice = ui.radio(
                {
                    name: f"{name} · {quality:.0%} of the quality, {features} features"
                    for name, quality, features in level.levels
                },
                value=level.level,
            ).props("dense")
            put(choice, "aria-label", "Level of service")
            choice.props("role=radiogroup")
            keep = ui.switch("Keep it there until changed by hand", value=level.pinned)
            keep.props("dense")
            with box("div", "bar actions"):
                action(
                    visit,
                    "Set the level",
                    lambda: visit.source.set_level(str(choice.value), pinned=bool(keep.value)),
                    name="set_level",
                    target=lambda: str(choice.value),
                    scope=Scope.ADMIN,
                    icon="tune",
                    confirm="Set the level for all jobs from now on?",
                    then=again,
                )
            if visit.visitor.why_not(Scope.ADMIN):
                choice.disable()
                keep.disable()
            self._scopes = Redrawn("", _draw_scopes)
            self._changes = Redrawn("", _draw_changes)

    def show(self, level: LevelView) -> None:
        """How it stands."""
        self._state.show(level.level)
        self._words.text = "held there by hand" if level.pinned else "moves by itself"
        self._scopes.show(level.scopes)
        self._changes.show(level.changes[:8])


def _draw_scopes(scopes: tuple[tuple[str, str], ...]) -> None:
    for name, level in scopes:
        with box("div", "bar"):
            Pill(level)
            Words("span", name)


def _draw_changes(changes: tuple[tuple[float, str, str], ...]) -> None:
    if not changes:
        return
    Words("h3", "Last changes")
    with box("ul", "notes"):
        for at, what, why in changes:
            with box("li"):
                Words("span", f"{what}: {why}")
                Words("span", ago(at, ambient.wall()), "quiet nowrap")


def _build(
    visit: Visit, breaker: BreakerView, again: Refresh
) -> tuple[Element, Callable[[BreakerView], None]]:
    made = _Breaker(visit, breaker, again)
    return made.root, made.show


class _Breaker:
    """One circuit breaker."""

    def __init__(self, visit: Visit, breaker: BreakerView, again: Refresh) -> None:
        self._visit, self._name, self._again = visit, breaker.name, again
        self.root = box("li", "breaker")
        with self.root:
            with box("div", "breaker-main"):
                with box("div", "bar"):
                    self._state = Pill(breaker.state)
                    Words("h3", breaker.name)
                self._words = Words("p", "", "quiet")
                Words("p", breaker.rules, "quiet")
            with box("div", "bar actions"):
                self._open = self._button(
                    "Open", "open", "front_hand", f"Refuse every call to {breaker.name}?"
                )
                self._close = self._button("Close", "closed", "check")
                self._reset = self._button("Reset", "reset", "restart_alt")
        self.show(breaker)

    def _button(self, label: str, how: str, icon: str, confirm: str = "") -> ui.button:
        visit, name = self._visit, self._name
        return action(
            visit,
            label,
            lambda: visit.source.force_breaker(name, how),
            name=f"breaker_{how}",
            target=lambda: name,
            scope=Scope.ADMIN,
            icon=icon,
            confirm=confirm,
            danger=bool(confirm),
            then=self._again,
            about=name,
        )

    def show(self, breaker: BreakerView) -> None:
        """How it stands."""
        self._state.show(breaker.state)
        wait = breaker.retry_in
        parts = [
            breaker.reason,
            f"{plural(breaker.failures, 'failure')} in a row" if breaker.failures else "",
            f"asked again in {duration(wait)}" if wait else "",
        ]
        self._words.text = " · ".join(part for part in parts if part)
        refuses = breaker.state == "forced_open"
        self._open.set_visibility(not refuses)
        self._close.set_visibility(breaker.state != "closed")
