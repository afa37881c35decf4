"""Small pieces the pages are made of. Texts go in as texts: none of this makes markup of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from holdfast.apps.dashboard.phrases import icon_of, spoken, tone_of

V = TypeVar("V")


class Words(TextElement):
    """An element of any kind with a text in it."""

    def __init__(self, tag: str, text: str = "", classes: str = "") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)


def box(tag: str = "div", classes: str = "", **attributes: Any) -> Element:
    """An element to put others into; ``aria_label`` stands for ``aria-label``."""
    element = ui.element(tag).classes(classes)
    for name, value in attributes.items():
        put(element, name.rstrip("_").replace("_", "-"), value)
    return element


def put(element: Element, name: str, value: Any) -> None:
    """Give an element an attribute, if it has it not already; never through a parser."""
    if element.props.get(name) != value:
        element.props[name] = value


def anchor(text: str, href: str, classes: str = "") -> Words:
    """A link."""
    made = Words("a", text, classes)
    put(made, "href", href)
    return made


def sign(name: str) -> Element:
    """An icon that says nothing that is not said in words as well."""
    made = ui.icon(name)
    put(made, "aria-hidden", "true")
    return made


def thumb(src: str, alt: str, classes: str = "thumb") -> Element:
    """A small picture."""
    return box("img", classes, src=src, alt=alt, loading="lazy", decoding="async")


class Pill:
    """A state: its name, its sign and its colour."""

    def __init__(self, state: str, words: str = "") -> None:
        self.root = box("span")
        with self.root:
            self._icon = ui.icon("circle")
            put(self._icon, "aria-hidden", "true")
            self._words = Words("span")
        self.show(state, words)

    def show(self, state: str, words: str = "") -> None:
        """Be that of another state."""
        self.root.classes(replace=f"pill tone-{tone_of(state)}")
        self._icon.set_name(icon_of(state))
        self._words.text = words or spoken(state)


class Tile:
    """One figure with its name."""

    def __init__(self, name: str, value: str = "-", note: str = "", href: str = "") -> None:
        self.root = box("a" if href else "div", "tile")
        if href:
            put(self.root, "href", href)
        with self.root:
            Words("span", name, "tile-name")
            self._value = Words("span", value, "tile-value")
            self._note = Words("span", note, "tile-note")

    def show(self, value: str, note: str = "", tone: str = "") -> None:
        """Another figure."""
        self._value.text, self._note.text = value, note
        self.root.classes(replace=f"tile tone-{tone}" if tone else "tile")


class Meter:
    """A bar that is so full, with words beside it."""

    def __init__(self, label: str) -> None:
        self.root = box("div", "meter")
        with self.root:
            with box("div", "meter-head"):
                Words("span", label)
                self._words = Words("span")
            self._track = box("div", "meter-track", role="progressbar", aria_label=label)
            put(self._track, "aria-valuemin", 0)
            put(self._track, "aria-valuemax", 100)
            with self._track:
                self._fill = box("div", "meter-fill")

    def show(self, share: float | None, words: str, *, warn: bool = False) -> None:
        """Another value; None hides the bar."""
        self.root.set_visibility(share is not None)
        if share is None:
            return
        whole = round(min(max(share, 0.0), 1.0) * 100)
        self._words.text = words
        put(self._track, "aria-valuenow", whole)
        put(self._track, "aria-valuetext", words)
        self._fill.style(replace=f"width:{whole}%")
        self._fill.classes(replace="meter-fill warn" if warn else "meter-fill")


class Plot:
    """A chart under a heading, with what it shows in words."""

    def __init__(self, title: str) -> None:
        with box("section", "card plot"):
            Words("h2", title)
            self._words = Words("p", "", "quiet")
            self._chart = ui.echart({}, renderer="svg").classes("chart")
            put(self._chart, "role", "img")
        self._shown: dict[str, Any] | None = None

    def show(self, options: dict[str, Any], words: str) -> None:
        """Another state of it."""
        self._words.text = words
        if options != self._shown:
            self._shown = options
            put(self._chart, "aria-label", words)
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()


class Keyed(Generic[V]):
    """A list whose parts stay the same elements while their values change.

    So the keyboard's focus, a text half selected, and the place one has scrolled to are kept.

    Args:
        parent: what the parts go into, and nothing else.
        build: makes a part in the place where it is called, and gives it with what updates it.
    """

    def __init__(
        self, parent: Element, build: Callable[[V], tuple[Element, Callable[[V], None]]]
    ) -> None:
        self._parent = parent
        self._build = build
        self._parts: dict[str, tuple[Element, Callable[[V], None], V]] = {}

    def show(self, items: Sequence[tuple[str, V]]) -> None:
        """Show these values, each under its key, in this order."""
        wanted = dict(items)
        for key in [key for key in self._parts if key not in wanted]:
            self._parts.pop(key)[0].delete()
        for place, (key, value) in enumerate(wanted.items()):
            part = self._parts.get(key)
            if part is None:
                with self._parent:
                    root, update = self._build(value)
            else:
                root, update, old = part
                if old != value:
                    update(value)
            self._parts[key] = (root, update, value)
            children = self._parent.default_slot.children
            if children[place] is not root:
                root.move(target_index=place)


class Redrawn(Generic[V]):
    """A part of a page that is drawn anew when its value is another. For what has no buttons."""

    def __init__(self, classes: str, draw: Callable[[V], None]) -> None:
        self.root = box("div", classes)
        self._draw = draw
        self._shown: V | None = None

    def show(self, value: V) -> None:
        """Show that value."""
        if value == self._shown:
            return
        self._shown = value
        self.root.clear()
        with self.root:
            self._draw(value)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names with values; those without a value are left out."""
    with box("dl", "facts"):
        for name, value in pairs:
            if value and value != "-":
                Words("dt", name)
                Words("dd", value)
