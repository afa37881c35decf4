"""What every page has: the way to the others, search, colours, shortcuts, and what is urgent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from nicegui import ui
from nicegui.events import KeyEventArguments

from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.phrases import cut
from holdfast.apps.dashboard.pieces import Words, anchor, box, put, sign
from holdfast.apps.dashboard.routes import THEMES
from holdfast.apps.dashboard.sources import Overview
from holdfast.apps.dashboard.visit import Visit, log
from holdfast.errors import HoldfastError

PAGES = (
    ("/", "Overview", "dashboard"),
    ("/servers", "Servers", "dns"),
    ("/jobs", "Jobs", "photo_library"),
    ("/errors", "Errors", "troubleshoot"),
    ("/dead-letters", "Dead letters", "mail"),
    ("/controls", "Controls", "tune"),
)
REFRESH_SECONDS = 2.0
_THEME_ICONS = {"auto": "brightness_auto", "light": "light_mode", "dark": "dark_mode"}
_SHORTCUTS = (
    ("/", "Search the jobs"),
    ("1 to 6", "Go to a page, in the order of the menu"),
    ("?", "Show these shortcuts"),
    ("Esc", "Close what has opened"),
)

Refresh = Callable[[], Awaitable[None]]


class Frame:
    """The parts of the frame that change."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.trouble = box("div", "banner tone-bad", role="alert")
        self.trouble.set_visibility(False)
        with self.trouble:
            sign("cloud_off")
            self._trouble = Words("span")
        self.paused = box("div", "banner tone-warn", role="status")
        self.paused.set_visibility(False)
        with self.paused:
            sign("pause_circle")
            self._why = Words("span")
            anchor("Controls", visit.to("/controls"))
        self.badges: dict[str, Words] = {}

    def show(self, overview: Overview) -> None:
        """Say what is urgent."""
        why = overview.paused
        self.paused.set_visibility(why is not None)
        self._why.text = f"The queue is paused: {cut(why, 200)}" if why is not None else ""
        counts = overview.counts
        waiting = counts.get("queued", 0) + counts.get("running", 0)
        self._badge("/jobs", waiting, "open")
        self._badge("/dead-letters", counts.get("failed", 0), "failed")

    async def tell(self, refresh: Refresh) -> None:
        """Bring the page up to date, or say why it is not."""
        try:
            await refresh()
        except HoldfastError as error:
            self._fail(str(error))
        except Exception:  # noqa: BLE001 - it is shown, and logged
            log.exception("the dashboard could not be brought up to date")
            self._fail("what is shown is old: the service cannot be read now")
        else:
            self.trouble.set_visibility(False)

    def _fail(self, words: str) -> None:
        self._trouble.text = words
        self.trouble.set_visibility(True)

    def _badge(self, path: str, count: int, word: str) -> None:
        badge = self.badges[path]
        badge.set_visibility(count > 0)
        badge.text = f"{count:,}" if count < 10_000 else "9,999+"
        put(badge, "aria-label", f"{count:,} {word}")


@contextmanager
def framed(visit: Visit, heading: str, path: str, *, search: str = "") -> Iterator[Frame]:
    """A page with its frame; what is made within goes into its main part."""
    ui.page_title(f"{cut(heading, 60)} · {visit.deck.title}")
    ui.colors(primary="#2563eb", positive="#15803d", negative="#c62828", warning="#b45309")
    ui.dark_mode({"light": False, "dark": True}.get(visit.theme))
    # NiceGUI's own page is the main part already, and a header does not belong into that.
    with ui.context.client.layout:
        header = box("header", "top")
    header.move(target_index=0)
    with header:
        with box("a", "brand", href=visit.to("/"), aria_label=f"{visit.deck.title}: overview"):
            sign("anchor")
            Words("span", visit.deck.title)
        badges = _menu(visit, path)
        find = _search(visit, search)
        _theme(visit)
    main = box("div", "page", tabindex="-1")
    ui.skip_link(target=main)
    with main:
        frame = Frame(visit)
        frame.badges = badges
        with box("div", "heading"):
            Words("h1", heading)
        _rights(visit)
        yield frame
    _keys(find)


def live(frame: Frame, refresh: Refresh) -> None:
    """Keep a page up to date until it is closed."""

    async def again() -> None:
        async def both() -> None:
            frame.show(await frame.visit.source.overview(frame.visit.only))
            await refresh()

        await frame.tell(both)

    ui.timer(REFRESH_SECONDS, again)


def _menu(visit: Visit, path: str) -> dict[str, Words]:
    badges: dict[str, Words] = {}
    with box("nav", "menu", aria_label="Pages"), box("ul"):
        for target, name, icon in PAGES:
            with box("li"), box("a", "menu-item", href=visit.to(target)) as link:
                if target == path:
                    put(link, "aria-current", "page")
                sign(icon)
                Words("span", name)
                badges[target] = Words("span", "", "badge")
                badges[target].set_visibility(False)
    return badges


def _search(visit: Visit, text: str) -> ui.input:
    with box("search", "find"):
        find = ui.input(placeholder="Search jobs  ( / )", value=text)
        find.props("dense outlined clearable type=search autocomplete=off maxlength=200")
        put(find, "aria-label", "Search the jobs by name, prompt, model, seed or id")
        with find.add_slot("prepend"):
            sign("search")
        find.on(
            "keydown.enter",
            lambda: ui.navigate.to(_inside("/jobs", visit, q=(find.value or "").strip()[:200])),
        )
    return find


def _inside(path: str, visit: Visit, **query: str) -> str:
    """An address as `ui.navigate` wants it: without what it puts before it by itself."""
    return visit.to(path, **query)[len(visit.root) :]


def _theme(visit: Visit) -> None:
    following = THEMES[(THEMES.index(visit.theme) + 1) % len(THEMES)]
    words = f"Colours: {visit.theme}. Change to {following}"
    href = visit.to("/theme", to=following, back=visit.here.lstrip("/"))
    with box("a", "theme", href=href, aria_label=words, title=words):
        sign(_THEME_ICONS[visit.theme])


def _rights(visit: Visit) -> None:
    missing = [
        scope.value
        for scope in (Scope.SUBMIT, Scope.RUN, Scope.ADMIN)
        if not visit.visitor.can(scope)
    ]
    if missing:
        with box("p", "quiet rights"):
            sign("lock")
            words = " and ".join(f"“{each}”" for each in missing)
            Words("span", f"You see your own jobs; actions that need {words} are switched off")


def _keys(find: ui.input) -> None:
    with ui.dialog() as help_, box("div", "card ask", role="document"):
        put(help_, "aria-label", "Shortcuts")
        Words("h2", "Shortcuts")
        with box("dl", "facts"):
            for key, words in _SHORTCUTS:
                with box("dt"):
                    Words("kbd", key)
                Words("dd", words)

    def pressed(event: KeyEventArguments) -> None:
        if not event.action.keydown or event.action.repeat:
            return
        if event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta:
            return
        key = event.key.name
        if key == "/":
            find.run_method("focus")
        elif key == "?":
            help_.open()
        elif key.isdigit() and 1 <= int(key) <= len(PAGES):
            ui.navigate.to(PAGES[int(key) - 1][0])

    ui.keyboard(on_key=pressed, repeating=False, ignore=["input", "select", "textarea"])
