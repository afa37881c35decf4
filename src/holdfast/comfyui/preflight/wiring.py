"""How a workflow's nodes hang together: who feeds whom, what is needed, what goes in circles.

There are two graphs in one. The server *checks* along the links of inputs it
knows; it *runs* along all links, those in inputs that the class does not know
included. What only the second graph has is found out by no server before it
is too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.comfyui.catalog import Catalog, NodeClass

Feeds = Mapping[str, tuple[str, ...]]
"""The nodes each node is fed by, in the order of its inputs."""


def runs_as_link(value: Any) -> bool:
    """Whether the server takes a value for a link when it runs the workflow."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def knows(cls: NodeClass, name: str) -> bool:
    """Whether a class has an input; ``images.image0`` is one of those that ``images`` grows."""
    if name in cls.inputs:
        return True
    base, dot, _ = name.partition(".")
    spec = cls.inputs.get(base)
    return bool(dot) and spec is not None and is_dynamic(spec.type)


def is_dynamic(kind: Any) -> bool:
    """Whether a type only stands for others that are chosen in the workflow, on newer servers."""
    return isinstance(kind, str) and kind.startswith("COMFY_")


def checked_feeds(graph: Mapping[str, Mapping[str, Any]], catalog: Catalog) -> Feeds:
    """Along what the server checks: links in inputs that the node's class knows."""
    return {node_id: tuple(_checked_links(node, catalog, graph)) for node_id, node in graph.items()}


def _checked_links(
    node: Mapping[str, Any], catalog: Catalog, graph: Mapping[str, Any]
) -> Iterator[str]:
    cls = catalog.get(node["class_type"])
    for name, value in node["inputs"].items():
        if cls is not None and not knows(cls, name):
            continue
        if isinstance(value, list) and len(value) == 2:
            source = value[0]
            if isinstance(source, str) and source in graph:
                yield source


def running_feeds(graph: Mapping[str, Mapping[str, Any]]) -> Feeds:
    """Along what the server runs: all links."""
    return {
        node_id: tuple(
            value[0]
            for value in node["inputs"].values()
            if runs_as_link(value) and value[0] in graph
        )
        for node_id, node in graph.items()
    }


def needed(feeds: Feeds, ends: Iterable[str]) -> set[str]:
    """The nodes that ``ends`` need, themselves included."""
    found = set(ends)
    left = list(found)
    while left:
        for source in feeds[left.pop()]:
            if source not in found:
                found.add(source)
                left.append(source)
    return found


def spoilt(feeds: Feeds, bad: Iterable[str]) -> set[str]:
    """The nodes that need one of ``bad``, themselves included."""
    consumers: dict[str, list[str]] = {}
    for node_id, sources in feeds.items():
        for source in sources:
            consumers.setdefault(source, []).append(node_id)
    return needed({node_id: tuple(consumers.get(node_id, ())) for node_id in feeds}, bad)


def cycles(feeds: Feeds, among: set[str]) -> list[list[str]]:
    """Nodes that feed one another in a circle, one circle for each knot, in the order of data.

    Args:
        feeds: the graph.
        among: the nodes to look at.
    """
    found = []
    for knot in _knots(feeds, among):
        members = set(knot)
        if len(knot) > 1 or knot[0] in feeds[knot[0]]:
            found.append(_circle(feeds, members, knot[0]))
    return found


def _circle(feeds: Feeds, members: set[str], start: str) -> list[str]:
    # Within a knot every node is fed by another of it, so going upstream must come round.
    path: list[str] = []
    place: dict[str, int] = {}
    current = start
    while current not in place:
        place[current] = len(path)
        path.append(current)
        current = next(each for each in feeds[current] if each in members)
    return path[place[current] :][::-1]


def _knots(feeds: Feeds, among: set[str]) -> Iterator[list[str]]:
    """Strongly connected components, by Tarjan's algorithm without recursion."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    for root in feeds:
        if root not in among or root in number:
            continue
        work = [(root, iter(feeds[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node_id, sources = work[-1]
            for source in sources:
                if source not in among:
                    continue
                if source not in number:
                    number[source] = low[source] = len(number)
                    stack.append(source)
                    on_stack.add(source)
                    work.append((source, iter(feeds[source])))
                    break
                if source in on_stack:
                    low[node_id] = min(low[node_id], number[source])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[node_id])
                if low[node_id] == number[node_id]:
                    at = stack.index(node_id)
                    knot, stack[at:] = stack[at:], []
                    on_stack.difference_update(knot)
                    yield knot
