"""Where the nodes of a workflow stand once its subgraphs are unfolded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.comfyui.page.document import FROM_OUTSIDE
from holdfast.comfyui.page.graphs import Loaded, Nest
from holdfast.comfyui.page.nodes import Kind, Live
from holdfast.comfyui.page.widgets import Widget


@dataclass(eq=False, slots=True)
class Place:
    """One use of a graph: the workflow itself, or a subgraph where it is used."""

    loaded: Loaded
    path: str = ""
    """What stands before the ids of its nodes: ``12:7:``."""
    outer: Place | None = None
    """Where it is used."""
    host: Live | None = None
    """The node that stands for it there."""
    nest: Nest | None = None
    inner: dict[str, Place] = field(default_factory=dict)
    """The subgraphs used in it, by the ids of the nodes that stand for them; those switched
    off are not among them."""

    def name(self, node: Live) -> str:
        """The id of a node in the API format."""
        return self.path + node.id

    def port(self, slot_link: str | None) -> int | None:
        """Which of the subgraph's inputs a link comes from, None if it comes from a node."""
        link = self.loaded.graph.links.get(slot_link or "")
        from_outside = link is not None and link.origin == FROM_OUTSIDE and self.host is not None
        return link.slot if link is not None and from_outside else None

    def held(self, node: Live, widget: str) -> tuple[Widget, Any]:
        """A widget and what is in it here: what this use was given, or what is saved inside."""
        kind, value = node.widgets[widget]
        slot = node.slot_of(widget)
        port = self.port(slot.link) if slot is not None else None
        if port is not None and self.host is not None and self.outer is not None:
            names = self.host.inputs
            if port < len(names) and names[port].name in self.host.widgets:
                return kind, self.outer.held(self.host, names[port].name)[1]
        if self.nest is not None and (node.id, widget) in self.nest.overrides:
            return kind, kind.settled(self.nest.overrides[node.id, widget])
        return kind, value


def unfold(root: Loaded) -> Place:
    """The place of the workflow, with the places of all its subgraphs."""
    top = Place(root)
    waiting = [top]
    while waiting:
        place = waiting.pop()
        for node_id, nest in place.loaded.nests.items():
            host = place.loaded.nodes[node_id]
            if not host.node.idle:
                inner = Place(nest.inside, f"{place.name(host)}:", place, host, nest)
                place.inner[node_id] = inner
                waiting.append(inner)
    return top


def sent(top: Place) -> Iterator[tuple[Place, Live]]:
    """The nodes that are to run, in the order of the file, each subgraph's where it is used."""
    waiting: list[tuple[Place, Live]] = [(top, each) for each in _reversed(top)]
    while waiting:
        place, node = waiting.pop()
        if node.node.idle:
            continue
        if node.kind is Kind.NEST:
            inner = place.inner[node.id]
            waiting += [(inner, each) for each in _reversed(inner)]
        elif node.kind in (Kind.REAL, Kind.MISSING):
            yield place, node


def _reversed(place: Place) -> list[Live]:
    return list(place.loaded.nodes.values())[::-1]
