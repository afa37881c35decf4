"""The servers: how each stands, what it does now, and the pool they are in."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui
from nicegui.element import Element
from starlette.requests import Request

from holdfast.apps.dashboard.actions import action, perform, push
from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.frame import Refresh, framed, live
from holdfast.apps.dashboard.phrases import duration, size
from holdfast.apps.dashboard.pieces import Keyed, Meter, Pill, Redrawn, Words, box, facts, put
from holdfast.apps.dashboard.sources import ServerView
from holdfast.apps.dashboard.visit import Deck, Visit, visit_of

FULL = 0.9
"""The share of the memory from which on there is little left."""


def register(deck: Deck) -> None:
    """Put the page into NiceGUI's app."""

    @ui.page("/servers", response_timeout=20)
    async def servers_page(request: Request) -> None:
        visit = visit_of(request, deck)

        async def refresh() -> None:
            servers = await visit.servers()
            nothing.set_visibility(not servers)
            cards.show([(server.name, server) for server in servers])

        async def again() -> None:
            await frame.tell(refresh)

        with framed(visit, "Servers", "/servers") as frame:
            nothing = Words("p", "There is no server in the pool.", "card quiet nothing")
            cards = Keyed(box("ul", "grid servers"), lambda server: _build(visit, server, again))
            _adding(visit, again)
        await frame.tell(refresh)
        live(frame, refresh)


def _build(
    visit: Visit, server: ServerView, again: Refresh
) -> tuple[Element, Callable[[ServerView], None]]:
    card = _Card(visit, server, again)
    return card.root, card.show


class _Card:
    """One server."""

    def __init__(self, visit: Visit, server: ServerView, again: Refresh) -> None:
        name = server.name
        self.root = box("li", "card server")
        with self.root:
            with box("div", "card-head"):
                Words("h2", name, "one-line")
                self._state = Pill(server.state)
            self._reason = Words("p", "", "message")
            self._doing = Words("p", "", "doing one-line")
            self._progress = Meter("This node")
            self._memory = Meter("Graphics memory")
            self._facts = Redrawn("", _draw_facts)
            with box("div", "card-foot"):
                with box("span", "bar"):
                    Words("span", "Breaker", "quiet")
                    self._breaker = Pill(server.breaker)
                action(
                    visit,
                    "Remove",
                    lambda: visit.source.remove_server(name),
                    name="remove_server",
                    target=lambda: name,
                    scope=Scope.ADMIN,
                    icon="remove_circle_outline",
                    confirm=f"Take {name} out of the pool? It may finish the job it has.",
                    then=again,
                    about=name,
                )
        self.show(server)

    def show(self, server: ServerView) -> None:
        """How it stands now."""
        self._state.show(server.state)
        wait = f" · looked at again in {duration(server.retry_in)}" if server.retry_in else ""
        self._reason.text = server.reason + wait if server.reason else ""
        self._reason.set_visibility(bool(server.reason))
        self._doing.text = server.doing or ("Busy" if server.busy else "Idle")
        self._doing.set_visibility(bool(server.busy) or not server.reason)
        self._doing.classes(replace="doing one-line" if server.doing else "doing one-line quiet")
        self._progress.show(server.progress, f"{(server.progress or 0) * 100:.0f} %")
        used, total = server.memory_used, server.memory_total
        share = used / total if used is not None and total else None
        words = f"{size(used)} of {size(total)}"
        self._memory.show(share, words, warn=(share or 0) > FULL)
        self._breaker.show(server.breaker)
        self._facts.show(server)


def _draw_facts(server: ServerView) -> None:
    usual = duration(server.seconds)
    pace = f", {server.pace:.1f} times its peers'" if abs(server.pace - 1) > 0.05 else ""
    facts(
        [
            ("Our jobs", f"{server.busy} of {server.capacity}"),
            ("Others' jobs in its queue", f"{server.foreign:,}"),
            ("Delivered", f"{server.done:,}"),
            ("Failed attempts", f"{server.failed:,}"),
            ("A job takes", f"{usual}{pace}" if server.seconds is not None else ""),
            ("Models in memory", ", ".join(server.loaded)),
        ]
    )


def _adding(visit: Visit, again: Refresh) -> None:
    with box("section", "card"):
        Words("h2", "Add a server")
        with box("form", "bar add") as form:
            url = ui.input("Address", placeholder="http://gpu3:8188").props("dense outlined")
            put(url, "maxlength", 300)
            button = push("Add", None, "add", "act main").props("type=submit")
            why_not = visit.visitor.why_not(Scope.ADMIN)
            if why_not:
                url.disable()
                button.disable()
                put(button, "title", why_not)

        async def add() -> None:
            address = (url.value or "").strip()[:300]
            done = await perform(
                visit,
                lambda: visit.source.add_server(address),
                name="add_server",
                target=address,
                scope=Scope.ADMIN,
            )
            if done:
                url.value = ""
            await again()

        form.on("submit.prevent", add)
        Words("p", "It gets jobs as soon as it has answered.", "quiet")
