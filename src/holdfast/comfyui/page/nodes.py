"""A saved node seen together with its class: what the page makes of it when it loads a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from holdfast.comfyui.catalog import Catalog, NodeClass
from holdfast.comfyui.page.document import Node, Slot
from holdfast.comfyui.page.widgets import Widget, filled, slots

_UI_ONLY = (
    "Note",
    "MarkdownNote",
    "Label (rgthree)",
    "Bookmark (rgthree)",
    "Fast Muter (rgthree)",
    "Fast Bypasser (rgthree)",
    "Fast Groups Muter (rgthree)",
    "Fast Groups Bypasser (rgthree)",
    "Fast Actions Button (rgthree)",
    "Mute / Bypass Repeater (rgthree)",
    "Mute / Bypass Relay (rgthree)",
    "Random Unmuter (rgthree)",
)


class Kind(Enum):
    """What becomes of a node."""

    REAL = auto()
    """It is sent."""
    WIRE = auto()
    """It only passes on what comes in."""
    SETTER = auto()
    """It gives what comes in a name."""
    GETTER = auto()
    """It passes on what a setter of the same name was given."""
    PRIMITIVE = auto()
    """It writes its value into the widgets it is linked to."""
    UI = auto()
    """It exists in the page only."""
    NEST = auto()
    """It stands for the nodes of a subgraph, or of a group node."""
    MISSING = auto()
    """The server does not know its class."""


_OF_CORE = {
    "Reroute": Kind.WIRE,
    "PrimitiveNode": Kind.PRIMITIVE,
    "Note": Kind.UI,
    "MarkdownNote": Kind.UI,
}
_OF_PACKS = {
    **dict.fromkeys(_UI_ONLY, Kind.UI),
    "Reroute (rgthree)": Kind.WIRE,
    "SetNode": Kind.SETTER,
    "GetNode": Kind.GETTER,
    "easy setNode": Kind.SETTER,
    "easy getNode": Kind.GETTER,
}


@dataclass(slots=True)
class Live:
    """A node of a loaded graph."""

    node: Node
    kind: Kind
    inputs: list[Slot]
    outputs: tuple[str, ...]
    """Types."""
    widgets: dict[str, tuple[Widget, Any]] = field(default_factory=dict)
    """Those whose values go to the server, with what is in them."""
    node_class: NodeClass | None = None
    _by_widget: dict[str, Slot] = field(init=False)

    def __post_init__(self) -> None:
        self._by_widget = {slot.widget: slot for slot in self.inputs[::-1] if slot.widget}

    @property
    def id(self) -> str:
        """Within its graph."""
        return self.node.id

    @property
    def variable(self) -> Any:
        """The name a setter gives, or a getter asks for."""
        values = self.node.values
        if isinstance(values, tuple):
            return values[0] if values else None
        return next(iter(values.values()), None) if values else None

    def slot_of(self, widget: str) -> Slot | None:
        """The input that replaces a widget while it is linked."""
        return self._by_widget.get(widget)

    def put(self, widget: str, value: Any) -> None:
        """Put a value into a widget as another node does it, if there is such a widget."""
        held = self.widgets.get(widget)
        if held is not None:
            self.widgets[widget] = (held[0], held[0].pushed(value))


def live(node: Node, catalog: Catalog) -> Live:
    """A node that stands for itself; what a subgraph stands for is found elsewhere."""
    kind = _OF_CORE.get(node.type)
    node_class = catalog.get(node.type) if kind is None else None
    if node_class is not None:
        held = filled(node_class, node.values)
        inputs = joined(slots(node_class), node.inputs, held)
        outputs = node_class.outputs + node.outputs[len(node_class.outputs) :]
        return Live(node, Kind.REAL, inputs, outputs, held, node_class)
    kind = kind or _OF_PACKS.get(node.type, Kind.MISSING)
    return Live(node, kind, list(node.inputs), node.outputs)


def joined(
    declared: Iterable[Slot], saved: Iterable[Slot], widgets: Mapping[str, Any]
) -> list[Slot]:
    """The inputs that are declared, linked as they were saved, and those that came later.

    Some nodes get inputs while they are edited. Of these only the ones whose widget is gone
    are dropped, as the page does.
    """
    by_name = {slot.name: slot for slot in saved}
    found = []
    names = set()
    for slot in declared:
        names.add(slot.name)
        mate = by_name.get(slot.name)
        found.append(slot if mate is None else replace(slot, link=mate.link))
    for slot in by_name.values():
        if slot.name not in names:
            if slot.widget is None or slot.widget in widgets:
                found.append(slot)
            elif "." in slot.name and slot.link is not None:
                # An input of a growing list; it has no widget of its own.
                found.append(replace(slot, widget=None))
    return found
