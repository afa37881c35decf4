"""Where the value of an input comes from, through everything that only passes it on.

A link may run through reroutes, named wires, bypassed nodes, into subgraphs
and out of them. In the end there is the output of a node, a value given to a
subgraph, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from holdfast.comfyui.page.document import BYPASSED, FROM_OUTSIDE, MUTED
from holdfast.comfyui.page.nodes import Kind, Live
from holdfast.comfyui.page.places import Place
from holdfast.comfyui.page.widgets import fits
from holdfast.errors import BadInputError

MAX_STEPS = 500_000
"""Steps along links in one conversion. Real workflows take a few thousand."""


@dataclass(frozen=True, slots=True)
class Source:
    """The output of a node."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True)
class Given:
    """A value that stands in a widget of a subgraph."""

    value: Any


@dataclass(frozen=True, slots=True)
class _At:
    """A stop on the way: an input of a node, or an output."""

    place: Place
    node: Live
    slot: int
    type: str
    output: bool


class Tracer:
    """Follows links back to where they come from."""

    def __init__(self) -> None:
        self._steps = 0

    def source(self, place: Place, node: Live, index: int) -> Source | Given | None:
        """Where input ``index`` of a node gets its value, None if it is not linked.

        Raises:
            BadInputError: the links go in a circle, or on and on.
        """
        at: _At | Source | Given | None = _At(place, node, index, node.inputs[index].type, False)
        seen: set[tuple[int, str, bool, int]] = set()
        while isinstance(at, _At):
            key = (id(at.place), at.node.id, at.output, at.slot)
            if key in seen:
                raise BadInputError(
                    f"the links into input {node.inputs[index].name[:80]!r} of node "
                    f"{place.name(node)} go in a circle"
                )
            seen.add(key)
            self._steps += len(at.node.inputs) if at.node.node.mode == BYPASSED else 1
            if self._steps > MAX_STEPS:
                raise BadInputError("the workflow's links run through too many nodes")
            at = _from_output(at) if at.output else _from_input(at)
        return at


def _from_input(at: _At) -> _At | Given | None:
    if at.slot >= len(at.node.inputs):
        return None
    place = at.place
    link = place.loaded.graph.links.get(at.node.inputs[at.slot].link or "")
    if link is None:
        return None
    if place.port(at.node.inputs[at.slot].link) is not None:
        return _outside(place, link.slot)
    origin = place.loaded.nodes.get(link.origin)
    return None if origin is None else _At(place, origin, link.slot, at.type, True)


def _outside(place: Place, index: int) -> _At | Given | None:
    host, outer = place.host, place.outer
    if host is None or outer is None or index >= len(host.inputs):
        return None
    slot = host.inputs[index]
    if slot.link is not None and slot.link in outer.loaded.graph.links:
        return _At(outer, host, index, slot.type, False)
    if slot.name in host.widgets:
        return Given(outer.held(host, slot.name)[1])
    return None


def _from_output(at: _At) -> _At | Source | None:
    node = at.node
    if node.node.mode == MUTED:
        return None
    if node.node.mode == BYPASSED:
        index = _through(node, at.slot, at.type)
        return None if index is None else _input(at, index)
    found: _At | Source | None = None
    match node.kind:
        case Kind.REAL | Kind.MISSING:
            found = Source(at.place.name(node), at.slot)
        case Kind.WIRE:
            found = replace(at, output=False)
        case Kind.SETTER:
            found = replace(at, slot=0, output=False)
        case Kind.GETTER:
            found = _set_elsewhere(at)
        case Kind.NEST:
            found = _inside(at)
        case Kind.PRIMITIVE | Kind.UI:
            pass
    return found


def _input(at: _At, index: int) -> _At | None:
    if index >= len(at.node.inputs):
        return None
    return _At(at.place, at.node, index, at.node.inputs[index].type, False)


def _through(node: Live, slot: int, wanted: str) -> int | None:
    """The input that stands in for an output of a bypassed node, by the page's own order."""
    inputs = node.inputs
    if wanted in ("", "*"):
        return slot if slot < len(inputs) else 0
    produced = node.outputs[slot] if slot < len(node.outputs) else "*"

    def stands_in(index: int) -> bool:
        return fits(inputs[index].type, produced) and fits(inputs[index].type, wanted)

    if slot < len(inputs) and stands_in(slot):
        return slot
    exact = (index for index, each in enumerate(inputs) if each.type == wanted)
    fitting = (index for index in range(len(inputs)) if stands_in(index))
    return next(exact, next(fitting, None))


def _inside(at: _At) -> _At | None:
    inner = at.place.inner.get(at.node.id)
    if inner is None or at.slot >= len(inner.loaded.outlets):
        return None
    link = inner.loaded.outlets[at.slot]
    if link is None:
        return None
    if link.origin == FROM_OUTSIDE:
        return _input(at, link.slot)
    origin = inner.loaded.nodes.get(link.origin)
    return None if origin is None else _At(inner, origin, link.slot, at.type, True)


def _set_elsewhere(at: _At) -> _At | None:
    name = at.node.variable
    if not isinstance(name, str):
        return None
    place: Place | None = at.place
    while place is not None:
        setter = place.loaded.setters.get(name)
        if setter is not None:
            return _At(place, setter, 0, at.type, False)
        place = place.outer
    return None
