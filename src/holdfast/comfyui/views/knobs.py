"""A value in a workflow, followed back to where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.failures import clip, node_name
from holdfast.comfyui.workflow import Workflow, is_link

_PRIMITIVES = {
    "PrimitiveInt": "value",
    "PrimitiveFloat": "value",
    "PrimitiveString": "value",
    "PrimitiveStringMultiline": "value",
    "PrimitiveBoolean": "value",
    "INTConstant": "value",
    "FloatConstant": "value",
    "BOOLConstant": "value",
    "StringConstant": "string",
    "StringConstantMultiline": "string",
    "Seed (rgthree)": "seed",
    "easy int": "value",
    "easy float": "value",
    "easy string": "value",
    "easy seed": "seed",
    "CR Seed": "seed",
    "CR Integer": "number",
    "CR Float": "number",
    "CR Text": "text",
    "JWInteger": "value",
    "JWFloat": "value",
    "JWString": "text",
    "Int Literal": "int",
    "Float Literal": "float",
    "String Literal": "string",
}
"""Nodes that hold one value, and the input it stands in."""

_PASSES_ON = frozenset({"Reroute", "Reroute (rgthree)", "ReroutePrimitive|pysssss"})
"""Nodes that pass on what their only link brings."""

_SIZE_READERS = frozenset({"GetImageSize", "GetImageSize+", "GetImageSizeAndCount", "GetVideoSize"})


@dataclass(frozen=True, slots=True)
class Knob:
    """One value of a workflow: where it is used, what it is, and where it can be set."""

    node_id: str
    """The node that uses it."""
    class_type: str
    input: str
    value: Any
    """None if it is only known when the workflow runs."""
    set_at: tuple[str, str] | None
    """The node and the input where it is written; None if it is not."""
    source: str = ""
    """Where it comes from, in words; empty if it is written where it is used."""

    @property
    def settable(self) -> bool:
        """Whether it is written somewhere."""
        return self.set_at is not None

    @property
    def key(self) -> str | None:
        """As `Workflow.with_inputs` and ``--set`` take it: ``3.seed``."""
        return None if self.set_at is None else ".".join(self.set_at)


@dataclass(frozen=True, slots=True)
class Sight:
    """A workflow, and what is known about its classes: what the views look at."""

    workflow: Workflow
    catalog: Catalog | None = None

    @property
    def graph(self) -> Mapping[str, Mapping[str, Any]]:
        """The nodes."""
        return self.workflow.graph

    def class_of(self, node_id: str) -> str:
        """The class of a node."""
        name: str = self.graph[node_id]["class_type"]
        return name

    def input_type(self, node_id: str, name: str) -> str | None:
        """The type of an input, None if nobody knows."""
        cls = None if self.catalog is None else self.catalog.get(self.class_of(node_id))
        spec = None if cls is None else cls.inputs.get(name)
        return None if spec is None else spec.type

    def called(self, node_id: str) -> str:
        """``node 4 (KSampler)``."""
        return node_name(clip(node_id, 80), clip(self.class_of(node_id), 80))


def follow(workflow: Workflow, node_id: str, name: str) -> Knob:
    """Where the value of an input comes from, through nodes that only hold or pass on values.

    Raises:
        KeyError: there is no such node or input.
    """
    graph = workflow.graph
    sight = Sight(workflow)
    at, key = node_id, name
    seen: set[str] = set()
    while True:
        value = graph[at]["inputs"][key]
        if not is_link(value):
            source = "" if at == node_id else f"{sight.called(at)}: {clip(key, 80)}"
            if isinstance(value, dict) and "__value__" in value:
                value = value["__value__"]
            return Knob(node_id, sight.class_of(node_id), name, value, (at, key), source)
        at = value[0]
        if at not in graph or at in seen:
            why = "a node that does not exist" if at not in graph else "a circle of links"
            return Knob(node_id, sight.class_of(node_id), name, None, None, why)
        seen.add(at)
        held = _held_input(graph[at], sight.class_of(at))
        if held is None:
            what = "the size read by " if sight.class_of(at) in _SIZE_READERS else "made by "
            source = what + sight.called(at)
            return Knob(node_id, sight.class_of(node_id), name, None, None, source)
        key = held


def _held_input(node: Mapping[str, Any], class_type: str) -> str | None:
    """The input whose value comes out of the node unchanged, None if it makes something of it."""
    inputs = node["inputs"]
    known = _PRIMITIVES.get(class_type)
    if known is not None and known in inputs:
        return known
    if len(inputs) != 1:
        return None
    (only,) = inputs
    if is_link(inputs[only]):
        return only if class_type in _PASSES_ON else None
    plain = only in ("value", "int", "float", "string", "text", "number", "boolean")
    return only if plain else None
