"""From the web page's own format to the API's, as the page does it when a workflow is queued."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page.document import Document, Graph, read
from holdfast.comfyui.page.graphs import Loader
from holdfast.comfyui.page.hints import ModelHint, hints
from holdfast.comfyui.page.missing import MissingNode, MissingNodesError, where_from
from holdfast.comfyui.page.nodes import Kind, Live
from holdfast.comfyui.page.places import Place, sent, unfold
from holdfast.comfyui.page.text import filled_in, resolved_prompt
from holdfast.comfyui.page.trace import Given, Source, Tracer
from holdfast.comfyui.page.widgets import ABSENT, Widget
from holdfast.errors import BadInputError

MAX_SIZE = 64 * 2**20
"""Letters and values in a converted workflow. A text given to a subgraph is in all nodes that
show it, so a file of a megabyte could become one of many gigabytes."""

_SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced"})
_SAVERS = frozenset(
    {
        "CLIPSave",
        "LoraSave",
        "ModelSave",
        "SaveAnimatedPNG",
        "SaveAnimatedWEBP",
        "SaveAudio",
        "SaveGLB",
        "SaveImage",
        "SaveLatent",
        "SaveWEBM",
        "VAESave",
    }
)
"""The nodes in whose file names the page fills in what is in other nodes."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What a workflow of the page is in the API's format."""

    graph: Mapping[str, Mapping[str, Any]]
    models: tuple[ModelHint, ...]
    """The models its author named."""


def convert(loaded: Mapping[str, Any], catalog: Catalog, *, source: str = "workflow") -> Converted:
    """Convert a parsed workflow of the web page.

    Args:
        loaded: the parsed file.
        catalog: the classes of the server it is for.
        source: what to call it in errors.

    Raises:
        MissingNodesError: the server does not know all the classes it needs.
        BadInputError: it is not shaped as such a workflow, or too large.
    """
    try:
        document = read(loaded)
        top = unfold(Loader(document, catalog).root())
        graph = _graph(top, source)
    except MissingNodesError:
        raise
    except BadInputError as error:
        raise BadInputError(f"{source}: {error}") from None
    return Converted(graph, hints(_models(document)))


def _graph(top: Place, source: str) -> dict[str, dict[str, Any]]:
    running = list(sent(top))
    absent = [(place, node) for place, node in running if node.kind is Kind.MISSING]
    if absent:
        raise MissingNodesError(source, _missing(absent))
    names = _Names(running)
    tracer = Tracer()
    scale = _Scale()
    graph: dict[str, dict[str, Any]] = {}
    for place, node in running:
        node_class = node.node_class
        title = node.node.title or (node_class.display_name if node_class else node.node.type)
        graph[place.name(node)] = {
            "class_type": node.node.type,
            "inputs": _inputs(place, node, tracer, names),
            "_meta": {"title": title},
        }
        scale.put(graph[place.name(node)])
    for entry in graph.values():
        inputs = entry["inputs"]
        for name in [name for name, value in inputs.items() if _dangles(value, graph)]:
            del inputs[name]
    return graph


def _inputs(place: Place, node: Live, tracer: Tracer, names: _Names) -> dict[str, Any]:
    traced = {
        slot.name: tracer.source(place, node, index) for index, slot in enumerate(node.inputs)
    }
    inputs: dict[str, Any] = {}
    for name in node.widgets:
        if traced.get(name) is None:
            widget, value = place.held(node, name)
            if value is not ABSENT:
                inputs[name] = _sendable(widget, _resolved(node, widget, value, names))
    for name, found in traced.items():
        if isinstance(found, Source):
            inputs[name] = [found.node, found.slot]
        elif isinstance(found, Given) and found.value is not ABSENT:
            held = node.widgets.get(name)
            inputs[name] = _sendable(held[0] if held else Widget(name), found.value)
    return inputs


def _resolved(node: Live, widget: Widget, value: Any, names: _Names) -> Any:
    if not isinstance(value, str):
        return value
    if (widget.options or {}).get("dynamicPrompts") is True:
        return resolved_prompt(value)
    if widget.name == "filename_prefix" and node.node.type in _SAVERS:
        return filled_in(value, names.value)
    if widget.name == "sampler_name" and node.node.type in _SAMPLERS:
        return value.removeprefix("sample_")
    return value


def _sendable(widget: Widget, value: Any) -> Any:
    if widget.type == "CURVE" and value is not None:
        return {"__type__": "CURVE", "__value__": value}
    # A bare list would be taken for a link.
    return {"__value__": value} if isinstance(value, list) else value


def _dangles(value: Any, graph: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and value[0] not in graph


class _Scale:
    """Weighs a workflow as it grows: a value in many nodes counts often, but is read once."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._sum = 0

    def put(self, node: Mapping[str, Any]) -> None:
        self._sum += len(node["_meta"]["title"]) + len(node["class_type"])
        for name, value in node["inputs"].items():
            inner = value.get("__value__", value) if isinstance(value, dict) else value
            self._sum += len(name) + self._weight(inner)
        if self._sum > MAX_SIZE:
            raise BadInputError(
                f"with its subgraphs unfolded the workflow is larger than {MAX_SIZE:,} bytes"
            )

    def _weight(self, value: Any) -> int:
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return 1 + value.bit_length() // 3
        if not isinstance(value, list | dict):
            return 8
        known = self._known.get(id(value))
        if known is None:
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            # A link is made anew for each input; only what is from the file has an identity.
            known = 8 + sum(self._weight(each) for each in parts)
            self._known[id(value)] = known
        return known


class _Names:
    """The names by which file names may speak of nodes."""

    def __init__(self, running: list[tuple[Place, Live]]) -> None:
        self._aliased: dict[Any, tuple[Place, Live]] = {}
        self._titled: dict[str, tuple[Place, Live]] = {}
        for place, node in running:
            alias = node.node.properties.get("Node name for S&R")
            if isinstance(alias, str):
                self._aliased.setdefault(alias, (place, node))
            shown = node.node_class.display_name if node.node_class else ""
            self._titled.setdefault(node.node.title or shown, (place, node))

    def value(self, name: str, widget: str) -> str | None:
        """What is in a widget, as text; None if there is no such node or widget."""
        place, node = self._aliased.get(name) or self._titled.get(name) or (None, None)
        if place is None or node is None or widget not in node.widgets:
            return None
        value = place.held(node, widget)[1]
        if value is None or value is ABSENT:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)


def _missing(absent: list[tuple[Place, Live]]) -> Iterator[MissingNode]:
    found: dict[str, list[tuple[Place, Live]]] = {}
    for place, node in absent:
        found.setdefault(node.node.type, []).append((place, node))
    for kind, uses in found.items():
        told = (where_from(node.node.properties) for _, node in uses)
        ids = tuple(place.name(node) for place, node in uses)
        yield MissingNode(kind, ids, next((each for each in told if each), ""))


def _models(document: Document) -> Iterator[Any]:
    graphs: list[Graph] = [document.root, *document.subgraphs.values()]
    for graph in graphs:
        for node in graph.nodes.values():
            listed = node.properties.get("models")
            yield from listed if isinstance(listed, list) else ()
    yield from document.models
