"""Buttons that do something: whether one may is asked when the page is made, and at each press."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from holdfast.apps.dashboard.caller import Scope
from holdfast.apps.dashboard.pieces import Words, box, put
from holdfast.apps.dashboard.visit import Visit, log
from holdfast.errors import HoldfastError

Act = Callable[[], Awaitable[str]]
"""Does it, and says in a sentence what was done."""


def action(
    visit: Visit,
    label: str,
    act: Act,
    *,
    name: str,
    target: Callable[[], str],
    scope: Scope = Scope.SUBMIT,
    icon: str = "",
    confirm: str = "",
    danger: bool = False,
    then: Callable[[], Awaitable[None]] | None = None,
    about: str = "",
) -> ui.button:
    """A button for an action.

    Args:
        visit: whose.
        label: what it says.
        act: does it.
        name: of the action, for the audit log.
        target: what it is done to, for the audit log.
        scope: what it takes.
        icon: its sign.
        confirm: what is asked before it is done; empty for nothing.
        danger: whether it looks like something to think about.
        then: brings the page up to date.
        about: what it is done to, for those who hear the page instead of seeing it.
    """

    async def pressed() -> None:
        if confirm and not await confirmed(confirm, label):
            return
        await perform(visit, act, name=name, target=target(), scope=scope)
        if then is not None:
            await then()

    button = push(label, pressed, icon, "act danger" if danger else "act")
    why_not = visit.visitor.why_not(scope)
    spoken = f"{label}: {about}" if about else label
    if why_not:
        button.disable()
        put(button, "title", why_not)
        spoken = f"{spoken}. {why_not}"
    if spoken != label:
        put(button, "aria-label", spoken)
    return button


def push(
    label: str, pressed: Callable[..., object] | None, icon: str = "", classes: str = "act"
) -> ui.button:
    """A button that looks like all others."""
    # Without a colour, for Quasar's are such as no style sheet overrules.
    button = ui.button(label, icon=icon or None, color=None, on_click=pressed)
    return button.props("no-caps unelevated dense no-wrap").classes(classes)


async def perform(visit: Visit, act: Act, *, name: str, target: str, scope: Scope) -> bool:
    """Do it if the visitor may now, and say what came of it."""
    visitor = visit.visitor
    why_not = visitor.why_not(scope)
    if why_not:
        visit.deck.note(visitor.name, name, target, done=False)
        _say(why_not, "negative")
        return False
    try:
        words = await act()
    except HoldfastError as error:
        visit.deck.note(visitor.name, name, target, done=False)
        _say(str(error), "negative")
        return False
    except Exception:  # noqa: BLE001 - it is shown, and logged
        log.exception("%s of %r failed", name, target)
        visit.deck.note(visitor.name, name, target, done=False)
        _say(f"That went wrong; the log of the service says how ({name})", "negative")
        return False
    visit.deck.note(visitor.name, name, target, done=True)
    _say(words, "positive")
    return True


async def confirmed(question: str, label: str) -> bool:
    """Ask, and wait for the answer; Escape is no."""
    with ui.dialog() as dialog, box("div", "card ask", role="document"):
        put(dialog, "aria-label", question)
        Words("p", question)
        with box("div", "bar end"):
            push("No", lambda: dialog.submit(False)).props("autofocus")
            push(label, lambda: dialog.submit(True), "", "act danger")
    answer = await dialog
    if dialog.client.is_deleted:
        return False  # whoever was asked has gone
    dialog.delete()
    return answer is True


def _say(words: str, kind: str) -> None:
    # `html` is off, so that a message stays a text whatever is in it.
    ui.notify(words, type=kind, position="bottom", close_button="Close", timeout=6000, html=False)  # type: ignore[arg-type]
