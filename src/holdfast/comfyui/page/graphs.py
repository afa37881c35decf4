"""Loaded graphs: the nodes of a workflow and of its subgraphs, ready to be followed.

A definition of a subgraph is loaded once, however often it is used. What is
different from one use to the next, its place and the values given to it, is
the business of `places`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page.document import FROM_OUTSIDE, Document, Graph, Link, Node, Slot
from holdfast.comfyui.page.groups import GroupShape, shape_of
from holdfast.comfyui.page.nodes import Kind, Live, joined, live
from holdfast.comfyui.page.widgets import Widget, in_steps
from holdfast.errors import BadInputError

MAX_NESTING = 32
"""Subgraphs inside one another; real workflows have three."""

MAX_UNFOLDED = 20_000
"""Nodes of a workflow with all its subgraphs unfolded, and their inputs and outputs. A few
subgraphs that use one another twice are a file of some kilobytes and millions of nodes."""


@dataclass(slots=True)
class Loaded:
    """A graph whose nodes know their classes."""

    graph: Graph
    nodes: dict[str, Live]
    nests: dict[str, Nest] = field(default_factory=dict)
    """What stands behind the nodes that stand for others, by their ids."""
    setters: dict[Any, Live] = field(default_factory=dict)
    """By the names they give."""
    promoted: dict[str, tuple[Widget, Any]] = field(default_factory=dict)
    """The widgets that a subgraph shows outside, by the names of the inputs they hang on."""
    saved_widgets: list[str] = field(default_factory=list)
    """The inputs that led to widgets when the file was saved."""
    outlets: list[Link | None] = field(default_factory=list)
    """What each output of a subgraph is linked from."""


@dataclass(slots=True)
class Nest:
    """What stands behind a node that stands for others."""

    inside: Loaded
    overrides: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Values this use has for widgets inside, by node and widget."""


class Loader:
    """Loads the graphs of one document, each once."""

    def __init__(self, document: Document, catalog: Catalog) -> None:
        self._document = document
        self._catalog = catalog
        self._loaded: dict[str, Loaded] = {}
        self._sizes: dict[str, int] = {}
        self._shapes: dict[str, GroupShape] = {}

    def root(self) -> Loaded:
        """The workflow itself.

        Raises:
            BadInputError: a subgraph holds itself, or unfolded there would be too many nodes.
        """
        root = self._document.root
        # Before anything is made of it: every use of a subgraph has places for what it shows.
        if self._size(root, ()) > MAX_UNFOLDED:
            raise BadInputError(
                f"with its subgraphs unfolded the workflow has more than {MAX_UNFOLDED:,} nodes"
            )
        return self._load(root)

    def _size(self, graph: Graph, way: tuple[str, ...]) -> int:
        size = len(graph.nodes)
        for node in graph.nodes.values():
            inside = self._definition(node.type)
            if inside is None:
                continue
            if node.type in way:
                raise BadInputError(f"subgraph {inside.name[:80]!r} contains itself")
            if len(way) >= MAX_NESTING:
                raise BadInputError(f"subgraphs are nested more than {MAX_NESTING} deep")
            if node.type not in self._sizes:
                shown = len(inside.inputs) + len(inside.outputs)
                self._sizes[node.type] = shown + self._size(inside, (*way, node.type))
            size += self._sizes[node.type]
        return size

    def _definition(self, kind: str) -> Graph | None:
        shape = self._group(kind)
        return self._document.subgraphs.get(kind) if shape is None else shape.graph

    def _load(self, graph: Graph) -> Loaded:
        loaded = Loaded(graph, {})
        for node in graph.nodes.values():
            loaded.nodes[node.id] = self._node(node, loaded)
        for each in loaded.nodes.values():
            if each.kind is Kind.SETTER and isinstance(each.variable, str):
                loaded.setters.setdefault(each.variable, each)
        fed = _fed_by_primitives(loaded)
        for node_id, targets in fed.items():
            _write(loaded.nodes[node_id], targets)
        loaded.promoted = _promoted(loaded)
        loaded.saved_widgets = _saved_widgets(graph)
        loaded.outlets = [
            next((link for key in port.links if (link := graph.links.get(key))), None)
            for port in graph.outputs
        ]
        return loaded

    def _node(self, node: Node, loaded: Loaded) -> Live:
        definition = self._definition(node.type)
        if definition is None:
            return live(node, self._catalog)
        if node.type not in self._loaded:
            self._loaded[node.type] = self._load(definition)
        inside = self._loaded[node.type]
        promoted = dict(inside.promoted)
        declared = [
            Slot(port.name, port.type, None, port.name if port.name in promoted else None)
            for port in definition.inputs
        ]
        nest = Nest(inside)
        outputs = tuple(port.type for port in definition.outputs)
        found = Live(node, Kind.NEST, joined(declared, node.inputs, promoted), outputs, promoted)
        shape = self._group(node.type)
        if shape is not None:
            _put_by_place(found, shape.places)
        else:
            _put_saved(found, nest)
        loaded.nests[node.id] = nest
        return found

    def _group(self, kind: str) -> GroupShape | None:
        if kind in self._document.subgraphs:
            return None
        for prefix in ("workflow>", "workflow/"):
            name = kind.removeprefix(prefix)
            if name != kind and name in self._document.groups:
                if name not in self._shapes:
                    given = self._document.groups[name]
                    self._shapes[name] = shape_of(name, given, self._catalog)
                return self._shapes[name]
        return None


def _promoted(inside: Loaded) -> dict[str, tuple[Widget, Any]]:
    """The widgets that a subgraph shows outside: those its inputs lead to."""
    fed: dict[int, dict[str, tuple[Widget, Any]]] = {}
    for each in inside.nodes.values():
        for slot in each.inputs:
            link = inside.graph.links.get(slot.link or "")
            if link is None or link.origin != FROM_OUTSIDE or slot.widget not in each.widgets:
                continue
            fed.setdefault(link.slot, {})[slot.link or ""] = each.widgets[slot.widget]
    found = {}
    for index, port in enumerate(inside.graph.inputs):
        held = fed.get(index)
        if held:
            first = next((key for key in port.links if key in held), next(iter(held)))
            widget, value = held[first]
            found[port.name] = (replace(widget, name=port.name), value)
    return found


def _put_by_place(found: Live, places: tuple[str | None, ...]) -> None:
    values = found.node.values
    if isinstance(values, Mapping):
        for name, value in values.items():
            _settle(found, name, value)
    elif values is not None:
        for place, value in zip(places, values, strict=False):
            if place is not None:
                _settle(found, place, value)


def _settle(found: Live, name: str, value: Any) -> None:
    held = found.widgets.get(name)
    if held is not None:
        found.widgets[name] = (held[0], held[0].settled(value))


def _put_saved(found: Live, nest: Nest) -> None:
    values = found.node.values
    proxies = list(_proxies(found.node.properties.get("proxyWidgets")))
    if proxies and isinstance(values, tuple):
        for (source, name), value in zip(proxies, values, strict=False):
            if value is None:
                continue
            port = name if source == "-1" else _port_of(nest.inside, source, name)
            if port is None:
                nest.overrides[source, name] = value
            else:
                _settle(found, port, value)
        return
    count = len(values) if isinstance(values, tuple) else 0
    shown = [slot.name for slot in found.inputs if slot.name in found.widgets]
    # What was a widget when the file was saved tells more than what is one on this server.
    if len(shown) != count:
        shown = nest.inside.saved_widgets
    places: list[str | None] = []
    for name in shown:
        places.append(name)
        held = found.widgets.get(name)
        # Some files hold a place for the control of each seed, too.
        if held and count > len(shown) and (held[0].options or {}).get("control_after_generate"):
            places.append(None)
    _put_by_place(found, tuple(places))


def _saved_widgets(definition: Graph) -> list[str]:
    """The inputs of a subgraph that led to widgets when it was saved."""
    led = {slot.link for node in definition.nodes.values() for slot in node.inputs if slot.widget}
    return [port.name for port in definition.inputs if not led.isdisjoint(port.links)]


def _proxies(given: Any) -> Iterator[tuple[str, str]]:
    for each in given if isinstance(given, list) else ():
        if isinstance(each, list) and len(each) >= 2:
            yield str(each[0])[:80], str(each[1])[:200]
        else:
            yield "", ""


def _port_of(inside: Loaded, node_id: str, widget: str) -> str | None:
    """The input of a subgraph that leads to a widget inside."""
    node = inside.nodes.get(node_id)
    slot = node.slot_of(widget) if node is not None else None
    link = inside.graph.links.get(slot.link or "") if slot is not None else None
    if link is None or link.origin != FROM_OUTSIDE or link.slot >= len(inside.graph.inputs):
        return None
    return inside.graph.inputs[link.slot].name


def _fed_by_primitives(loaded: Loaded) -> dict[str, dict[str, tuple[Live, Slot]]]:
    """What each primitive is linked to, by its id and the link's."""
    fed: dict[str, dict[str, tuple[Live, Slot]]] = {
        each.id: {} for each in loaded.nodes.values() if each.kind is Kind.PRIMITIVE
    }
    for each in loaded.nodes.values():
        for slot in each.inputs:
            link = loaded.graph.links.get(slot.link or "")
            if link is not None and slot.link is not None and link.origin in fed:
                fed[link.origin][slot.link] = (each, slot)
    return fed


def _write(primitive: Live, targets: dict[str, tuple[Live, Slot]]) -> None:
    """Write a primitive's value into the widgets it is linked to."""
    listed = primitive.node.output_links[0] if primitive.node.output_links else ()
    first = [key for key in listed if key in targets]
    held = [
        (each, slot.widget, each.widgets[slot.widget])
        for each, slot in (targets[key] for key in dict.fromkeys([*first, *targets]))
        if slot.widget is not None and slot.widget in each.widgets
    ]
    if not held:
        return
    values = primitive.node.values
    value = values[0] if isinstance(values, tuple) and values else held[0][2][1]
    kind = held[0][2][0].type
    if kind in ("INT", "FLOAT") and isinstance(value, int | float) and not isinstance(value, bool):
        value = _within([widget for _, _, (widget, _) in held if widget.type == kind], value)
    for each, name, _ in held:
        each.put(name, value)


def _within(widgets: list[Widget], value: float) -> float:
    """The value as a widget holds it that obeys the limits of several."""
    low, high, step = -math.inf, math.inf, 1
    for widget in widgets:
        options = widget.options or {}
        least = _limit(options.get("min"), -math.inf)
        most = _limit(options.get("max"), math.inf)
        if least > high or most < low:
            continue
        low, high = max(low, least), min(high, most)
        given = options.get("step")
        if isinstance(given, int) and 0 < given < 2**31 and step < 2**31:
            step = math.lcm(step, given)
    value = min(max(value, low), high)
    if widgets[0].type != "INT":
        return value
    return in_steps(value, {"step": step, "min": 0 if low == -math.inf else low})


def _limit(value: Any, otherwise: float) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return value if good else otherwise
