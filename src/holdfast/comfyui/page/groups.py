"""Group nodes, what the page had before subgraphs, read as subgraphs.

A group node shows the free inputs, the widgets and the free outputs of the
nodes in it, under names made unique. Which is which is not in the file; it
follows from the order in which the page builds the group's own class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page.document import (
    FROM_OUTSIDE,
    MAX_NODES,
    Graph,
    Link,
    Node,
    Port,
    Slot,
    read_node,
)
from holdfast.comfyui.page.widgets import Widget, by_input, slots
from holdfast.errors import BadInputError

_MAX_PREFIX = 200
"""Letters of a title that are put before names; it may be put before hundreds."""

_PRIMITIVE = "PrimitiveNode"
_REROUTE = "Reroute"
_PLACES_OF_PRIMITIVE = {"INT": 2, "COMBO": 3}
"""A primitive's value and its control; for a list, a filter, too."""


@dataclass(frozen=True, slots=True)
class GroupShape:
    """A group node as a subgraph."""

    graph: Graph
    places: tuple[str | None, ...]
    """Which input each of its saved values belongs to; None for what stays in the page."""


@dataclass(slots=True)
class _Shown:
    """An input of the group."""

    type: str
    targets: list[tuple[int, str]]
    """The inputs inside that it stands for: index of the node, name."""
    places: tuple[bool, ...] = ()
    """Its places among the group's saved values, and whether they are its value."""


@dataclass(slots=True)
class _Wire:
    """A link inside the group."""

    origin: int
    slot: int
    target: int
    input: int
    type: str


def shape_of(name: str, given: Mapping[str, Any], catalog: Catalog) -> GroupShape:
    """Read the definition of a group node.

    Raises:
        BadInputError: it is not shaped as one.
    """
    where = f" in group node {name[:80]!r}"
    listed = given.get("nodes")
    if not isinstance(listed, list) or len(listed) > MAX_NODES:
        raise BadInputError(f"there is no list of at most {MAX_NODES:,} nodes{where}")
    nodes = [read_node(each, where, str(index)) for index, each in enumerate(listed)]
    return _Builder(name, nodes, given, catalog).build()


@dataclass
class _Builder:
    name: str
    nodes: list[Node]
    given: Mapping[str, Any]
    catalog: Catalog
    _seen: dict[str, int] = field(default_factory=dict)
    _shown: dict[str, _Shown] = field(default_factory=dict)
    _types: dict[tuple[int, str], str] = field(default_factory=dict)
    _targets: dict[int, dict[tuple[int, str], None]] = field(default_factory=dict)

    def build(self) -> GroupShape:
        self._wires = list(_wires(self.given.get("links"), len(self.nodes)))
        self._from: dict[int, list[_Wire]] = {}
        self._into: dict[tuple[int, str], _Wire] = {}
        for wire in self._wires:
            self._from.setdefault(wire.origin, []).append(wire)
        order = [self._inputs_in_order(index) for index in range(len(self.nodes))]
        for wire in self._wires:
            key = (wire.target, self._input_name(wire, order[wire.target]))
            self._into[key] = wire
            self._targets.setdefault(wire.origin, {})[key] = None
        late = [self._show_inputs(index) for index in range(len(self.nodes))]
        for index, names in enumerate(late):
            for each in names:
                if (index, each) not in self._into:
                    self._show(index, each, self._places(index, each))
        return GroupShape(self._graph(), tuple(self._saved()))

    # Inputs -----------------------------------------------------------------------------

    def _inputs_in_order(self, index: int) -> list[str]:
        """Names by the numbers that links inside the group use: sockets, then former widgets."""
        node = self.nodes[index]
        node_class = self.catalog.get(node.type)
        if node_class is None:
            return [slot.name for slot in node.inputs]
        sockets = [name for name, group in by_input(node_class) if not group]
        return sockets + self._former_widgets(index)

    def _former_widgets(self, index: int) -> list[str]:
        node_class = self.catalog.get(self.nodes[index].type)
        widgets = {name for name, group in by_input(node_class) if group} if node_class else set()
        # The page sorts their positions as texts.
        found = {
            str(at): slot.name
            for at, slot in enumerate(self.nodes[index].inputs)
            if slot.widget == slot.name and slot.name in widgets
        }
        return [found[at] for at in sorted(found)]

    def _input_name(self, wire: _Wire, order: list[str]) -> str:
        saved = self.nodes[wire.target].inputs
        if wire.input < len(saved):
            return saved[wire.input].name
        return order[wire.input] if wire.input < len(order) else ""

    def _show_inputs(self, index: int) -> list[str]:
        """Show what one node gives the group; the names of former widgets, which come last."""
        node = self.nodes[index]
        node_class = self.catalog.get(node.type)
        if node.type == _PRIMITIVE:
            self._show_primitive(index)
        elif node.type == _REROUTE:
            self._show_reroute(index)
        if node_class is None:
            return []
        former = self._former_widgets(index)
        groups = list(by_input(node_class))
        types = {slot.name: slot.type for slot in slots(node_class)}
        self._types.update({(index, name): kind for name, kind in types.items()})
        for name, group in groups:
            if group and name not in former:
                self._show(index, name, _places(group))
        for name, group in groups:
            if not group and (index, name) not in self._into:
                self._show(index, name, ())
        return former

    def _show_primitive(self, index: int) -> None:
        wires = self._from.get(index)
        if not wires:
            return
        targets = [key for key, wire in self._into.items() if wire.origin == index and key[1] != ""]
        kind = wires[0].type
        count = _PLACES_OF_PRIMITIVE.get(kind, 1)
        name = self._unique(index, "value")
        self._shown[name] = _Shown(kind, targets, (True, *[False] * (count - 1)))
        for key in targets:
            # The value comes from the group now; the primitive itself has nothing left to do.
            self._into[key] = replace(wires[0], origin=-1)

    def _show_reroute(self, index: int) -> None:
        wires = self._from.get(index, [])
        fed = (index, self._socket(index)) in self._into
        if fed:
            return
        kind = self.nodes[index].outputs[0] if self.nodes[index].outputs else "*"
        for wire in wires:
            inputs = self.nodes[wire.target].inputs
            if wire.input < len(inputs) and inputs[wire.input].type != "*":
                kind = inputs[wire.input].type
                break
        name = self._unique(index, kind)
        self._shown[name] = _Shown(kind, [(index, self._socket(index))])

    def _socket(self, index: int) -> str:
        inputs = self.nodes[index].inputs
        return inputs[0].name if inputs else ""

    def _places(self, index: int, name: str) -> tuple[bool, ...]:
        node_class = self.catalog.get(self.nodes[index].type)
        groups = dict(by_input(node_class)) if node_class is not None else {}
        return _places(groups.get(name, ()))

    def _show(self, index: int, name: str, places: tuple[bool, ...]) -> None:
        shown = self._unique(index, name)
        if not places and self._config(index, name).get("visible") is False:
            return
        kind = self._types.get((index, name), "*")
        self._shown[shown] = _Shown(kind, [(index, name)], places)

    def _unique(self, index: int, name: str) -> str:
        node = self.nodes[index]
        label = next((slot.label for slot in node.inputs if slot.name == name), "")
        custom = self._config(index, name).get("name")
        shown = custom if isinstance(custom, str) else label or name
        key = shown
        if (node.type == _PRIMITIVE and node.title) or shown in self._seen:
            prefix = f"{(node.title or node.type)[:_MAX_PREFIX]} "
            key = shown = prefix + name
            if shown in self._seen:
                shown = f"{prefix}{self._seen[shown]} {name}"
        self._seen[key] = self._seen.get(key, 1) + 1
        return shown

    def _config(self, index: int, name: str) -> Mapping[str, Any]:
        found: Any = self.given.get("config")
        for step in (str(index), "input", name):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    # The graph --------------------------------------------------------------------------

    def _graph(self) -> Graph:
        links: dict[str, Link] = {}
        fed: dict[tuple[int, str], str] = {}
        for (index, target), wire in self._into.items():
            if wire.origin >= 0:
                key = f"wire {index} {target}"
                fed[index, target] = key
                links[key] = Link(str(wire.origin), wire.slot, str(index))
        inputs = []
        for number, (name, shown) in enumerate(self._shown.items()):
            for index, target in shown.targets:
                key = f"in {number} {index} {target}"
                fed[index, target] = key
                links[key] = Link(FROM_OUTSIDE, number, str(index))
            inputs.append(Port(name, shown.type))
        outputs = []
        for index, slot, kind in self._free_outputs():
            key = f"out {index} {slot}"
            links[key] = Link(str(index), slot, "")
            outputs.append(Port(kind, kind, (key,)))
        linked: dict[int, dict[str, str]] = {}
        for (index, target), link in fed.items():
            linked.setdefault(index, {})[target] = link
        nodes = {
            str(index): self._node(index, linked.get(index, {})) for index in range(len(self.nodes))
        }
        return Graph(nodes, links, tuple(inputs), tuple(outputs), self.name)

    def _node(self, index: int, linked: Mapping[str, str]) -> Node:
        node = self.nodes[index]
        saved = {slot.name: slot for slot in node.inputs}
        inputs = tuple(
            replace(
                saved.get(name) or Slot(name, self._types.get((index, name), "*")),
                link=linked.get(name),
            )
            for name in dict.fromkeys([*saved, *linked])
        )
        return replace(node, inputs=inputs)

    def _free_outputs(self) -> Iterator[tuple[int, int, str]]:
        external = {
            (each[0], each[1]): each[2]
            for each in _list(self.given.get("external"))
            if isinstance(each, list) and len(each) >= 3 and _hashable(each[:2])
        }
        for index, node in enumerate(self.nodes):
            node_class = self.catalog.get(node.type)
            kinds = node_class.outputs if node_class is not None else ()
            if node.type == _REROUTE:
                inner = (index, self._socket(index)) in self._into and index in self._from
                kinds = () if inner and (index, 0) not in external else ("*",)
            elif node.type == _PRIMITIVE and index in self._from:
                kinds = (self._from[index][0].type,)
            used = {wire.slot for wire in self._from.get(index, [])}
            for slot, kind in enumerate(kinds):
                shown = slot not in used or (index, slot) in external
                chosen = self._output_config(index, slot).get("visible")
                if chosen if isinstance(chosen, bool) else shown:
                    yield index, slot, kind

    def _output_config(self, index: int, slot: int) -> Mapping[str, Any]:
        found: Any = self.given.get("config")
        for step in (str(index), "output", str(slot)):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def _saved(self) -> Iterator[str | None]:
        for name, shown in self._shown.items():
            for is_value in shown.places:
                yield name if is_value else None


def _places(group: tuple[Widget, ...]) -> tuple[bool, ...]:
    return tuple(each.sent for each in group if each.saved)


def _wires(given: Any, count: int) -> Iterator[_Wire]:
    for each in _list(given):
        if not isinstance(each, list) or len(each) < 4:
            continue
        origin, slot, target, entry = each[:4]
        whole = all(_whole(number) for number in each[:4])
        if whole and origin < count and target < count:
            kind = each[5] if len(each) > 5 and isinstance(each[5], str) else "*"
            yield _Wire(origin, slot, target, entry, kind)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _hashable(parts: list[Any]) -> bool:
    return all(_whole(each) for each in parts)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
