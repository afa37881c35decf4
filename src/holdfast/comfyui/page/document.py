"""A workflow as the web page saves it, read into values.

The page writes two versions of its format: in 0.4 a link is a list, in 1 it is
an object, and definitions of subgraphs always hold objects. Both are read here
into the same `Graph`. What is not shaped as the page shapes it is refused if
the workflow hangs on it, and left out if it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import BadInputError

MAX_NODES = 20_000
"""Nodes in one graph of a file; the largest workflows that are shared have a few hundred."""

MAX_ID = 200
"""Letters of an id. Inside subgraphs ids are strung together, so long ones would multiply."""

FROM_OUTSIDE = "-10"
"""The id under which a subgraph's links start at the subgraph's own inputs."""

MUTED = 2
BYPASSED = 4

_RENAMED = {
    "T2IAdapterLoader": "ControlNetLoader",
    "ConditioningAverage ": "ConditioningAverage",
    "SDV_img2vid_Conditioning": "SVD_img2vid_Conditioning",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """An input of a node."""

    name: str
    type: str
    link: str | None = None
    widget: str | None = None
    """The widget whose value it replaces while it is linked."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link starts from, and the node it was drawn to."""

    origin: str
    slot: int
    target: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it was saved."""

    id: str
    type: str
    title: str = ""
    mode: int = 0
    inputs: tuple[Slot, ...] = ()
    outputs: tuple[str, ...] = ()
    """Types."""
    output_links: tuple[tuple[str, ...], ...] = ()
    values: tuple[Any, ...] | Mapping[str, Any] | None = None
    """Of its widgets: in order, or, as some node packs save them, by name."""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether it is switched off: muted, or bypassed."""
        return self.mode in (MUTED, BYPASSED)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a subgraph, and the links inside that hang on it."""

    name: str
    type: str
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes and links of a workflow, or of the definition of a subgraph."""

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file."""

    root: Graph
    subgraphs: Mapping[str, Graph]
    groups: Mapping[str, Mapping[str, Any]]
    """Definitions of group nodes, what the page had before subgraphs, as they were saved."""
    models: tuple[Any, ...]
    """The list of models a file in version 1 may have."""


def is_page(loaded: Any) -> bool:
    """Whether this is the web page's own format, and not the API's."""
    return isinstance(loaded, Mapping) and isinstance(loaded.get("nodes"), list)


def read(loaded: Mapping[str, Any]) -> Document:
    """Read a parsed file.

    Raises:
        BadInputError: it is not shaped as the page's format is; the message says where.
    """
    definitions = loaded.get("definitions")
    subgraphs: dict[str, Graph] = {}
    _collect(definitions, subgraphs)
    extra = loaded.get("extra")
    groups = extra.get("groupNodes") if isinstance(extra, Mapping) else None
    return Document(
        read_graph(loaded),
        subgraphs,
        {
            name: group
            for name, group in (groups.items() if isinstance(groups, Mapping) else ())
            if isinstance(name, str) and isinstance(group, Mapping)
        },
        tuple(_list(loaded.get("models"))),
    )


def _collect(definitions: Any, found: dict[str, Graph]) -> None:
    # A definition may carry definitions of its own; all of them share one space of ids.
    waiting = [definitions]
    while waiting:
        each = waiting.pop()
        for given in _list(each.get("subgraphs")) if isinstance(each, Mapping) else ():
            if isinstance(given, Mapping) and isinstance(given.get("id"), str):
                name = _text(given.get("name")) or given["id"]
                found.setdefault(given["id"], read_graph(given, f" in subgraph {name[:80]!r}"))
                waiting.append(given.get("definitions"))


def read_graph(given: Mapping[str, Any], where: str = "") -> Graph:
    """Read nodes and links, of a workflow or of a definition; ``where`` is for errors.

    Raises:
        BadInputError: a node is not shaped as one, or there are too many.
    """
    listed = given.get("nodes")
    if not isinstance(listed, list):
        raise BadInputError(f"there is no list of nodes{where}")
    if len(listed) > MAX_NODES:
        raise BadInputError(f"there are {len(listed):,} nodes{where}; at most {MAX_NODES:,} fit")
    nodes: dict[str, Node] = {}
    for each in listed:
        node = read_node(each, where)
        if node.id in nodes:
            raise BadInputError(f"there are two nodes with the id {node.id}{where}")
        nodes[node.id] = node
    return Graph(
        nodes,
        _links(given.get("links")),
        _ports(given.get("inputs")) if "outputs" in given else (),
        _ports(given.get("outputs")),
        _text(given.get("name")),
    )


def read_node(given: Any, where: str, node_id: str | None = None) -> Node:
    """Read one node; ``node_id`` stands in for the id of nodes that are saved without one.

    Raises:
        BadInputError: it has no id or no type.
    """
    if not isinstance(given, Mapping):
        raise BadInputError(f"a node{where} is {repr(given)[:60]}; a node is an object")
    key = _id(given.get("id")) if node_id is None else node_id
    if key is None:
        shown = repr(given.get("id"))[:60]
        raise BadInputError(
            f"a node{where} has the id {shown}; an id is a number or a text of at most "
            f"{MAX_ID} letters"
        )
    kind = given.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadInputError(f"node {key}{where} has no type")
    outputs = [each for each in _list(given.get("outputs")) if isinstance(each, Mapping)]
    properties = given.get("properties")
    mode = given.get("mode")
    return Node(
        key,
        _RENAMED.get(kind, kind),
        _text(given.get("title")),
        mode if isinstance(mode, int) else 0,
        tuple(_slot(each) for each in _list(given.get("inputs")) if isinstance(each, Mapping)),
        tuple(_type(each.get("type")) for each in outputs),
        tuple(_ids(each.get("links")) for each in outputs),
        _values(given),
        properties if isinstance(properties, Mapping) else {},
    )


def _values(given: Mapping[str, Any]) -> tuple[Any, ...] | Mapping[str, Any] | None:
    for name in ("widgets_values", "widgets_values_named"):
        saved = given.get(name)
        if isinstance(saved, list):
            return tuple(saved)
        if isinstance(saved, Mapping):
            return saved
    return None


def _slot(given: Mapping[str, Any]) -> Slot:
    widget = given.get("widget")
    name = widget.get("name") if isinstance(widget, Mapping) else None
    return Slot(
        _text(given.get("name")),
        _type(given.get("type")),
        _id(given.get("link")),
        name if isinstance(name, str) else None,
        _text(given.get("label")),
    )


def _ports(given: Any) -> tuple[Port, ...]:
    return tuple(
        Port(_text(each.get("name")), _type(each.get("type")), _ids(each.get("linkIds")))
        if isinstance(each, Mapping)
        else Port("", "*")
        for each in _list(given)
    )


def _links(given: Any) -> dict[str, Link]:
    found: dict[str, Link] = {}
    listed: Iterable[Any] = given.values() if isinstance(given, Mapping) else _list(given)
    for each in listed:
        if isinstance(each, Mapping):
            parts = [each.get(key) for key in ("id", "origin_id", "origin_slot", "target_id")]
        elif isinstance(each, list) and len(each) >= 4:
            parts = each[:4]
        else:
            continue
        key, origin, target = _id(parts[0]), _id(parts[1]), _id(parts[3])
        slot = _number(parts[2])
        if key is not None and origin is not None and slot is not None:
            found[key] = Link(origin, slot, target or "")
    return found


def _id(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    # Text of a number this long would take Python longer than the rest of the file.
    if isinstance(value, int) and value.bit_length() > 128:
        return None
    text = str(value)
    return text if len(text) <= MAX_ID else None


def _ids(value: Any) -> tuple[str, ...]:
    return tuple(key for each in _list(value) if (key := _id(each)) is not None)


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if good else None


def _type(value: Any) -> str:
    if isinstance(value, list):
        return "COMBO"
    return value if isinstance(value, str) else "*"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
