"""A workflow while it is being operated on: the graph, what it is linked to, and what came of it.

A `Draft` is a private copy that an edit may change freely. `finish` makes an
`Edit` of it, and only if the result is something the server would take where
it was touched: no link into nothing, every required input there, every value
within its range, and an output node left. An edit that would break the graph
is no edit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from holdfast.comfyui.catalog import COMBO, Catalog, InputSpec
from holdfast.comfyui.edit import Change, Edit
from holdfast.comfyui.workflow import SAVING_NODES, Workflow, is_link

MOST_NUMBER = 2**31
"""Numbers above this are no sizes, frames or steps."""


MOST_NODES = 2_000
"""A workflow of more nodes reads as empty, so that no edit applies; real ones have hundreds."""


_HANDING_ON: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {"WanCameraEmbedding": {1: "width", 2: "height", 3: "length"}},
)
"""Classes that hand some of their inputs on, by which output; primitives need not be here."""


class Use(NamedTuple):
    """One input that is linked from a node."""

    node: str
    """The node that has the input."""
    name: str
    slot: int
    """Which output of the source it takes."""


class Place(NamedTuple):
    """Where a value is written: a node's input."""

    node: str
    name: str


class Draft:
    """A copy of a workflow that an edit changes."""

    def __init__(self, workflow: Workflow, catalog: Catalog) -> None:
        self.catalog = catalog
        self.graph: dict[str, dict[str, Any]] = {}
        if len(workflow.graph) <= MOST_NODES:
            self.graph = workflow.to_api()
        self.before = workflow

    # Reading ----------------------------------------------------------------------------

    def kind(self, node: str) -> str:
        """The class of a node."""
        kind: str = self.graph[node]["class_type"]
        return kind

    def inputs(self, node: str) -> dict[str, Any]:
        """What a node is given; may be changed."""
        inputs: dict[str, Any] = self.graph[node]["inputs"]
        return inputs

    def of(self, kinds: Iterable[str]) -> list[str]:
        """The nodes of some classes, in the order of the graph."""
        wanted = frozenset(kinds)
        return [node for node in self.graph if self.kind(node) in wanted]

    def source(self, node: str, name: str) -> tuple[str, int] | None:
        """What an input is linked from: node and output; None if it is not linked."""
        value: Any = self.inputs(node).get(name)
        if not is_link(value) or value[0] not in self.graph:
            return None
        return str(value[0]), int(value[1])

    def uses(self, node: str) -> list[Use]:
        """Every input that is linked from ``node``."""
        return [
            Use(other, name, int(value[1]))
            for other, given in self.graph.items()
            for name, value in given["inputs"].items()
            if is_link(value) and value[0] == node
        ]

    def sources(self, node: str) -> Iterator[str]:
        """The nodes that ``node`` is linked from."""
        for value in self.inputs(node).values():
            if is_link(value) and value[0] in self.graph:
                yield value[0]

    def above(self, nodes: Iterable[str]) -> set[str]:
        """``nodes`` and everything they need, however far."""
        found, ahead = set[str](), [each for each in nodes if each in self.graph]
        while ahead:
            node = ahead.pop()
            if node not in found:
                found.add(node)
                ahead += self.sources(node)
        return found

    def below(self, nodes: Iterable[str]) -> set[str]:
        """``nodes`` and everything that needs them, however far."""
        fed: dict[str, list[str]] = {}
        for node in self.graph:
            for each in self.sources(node):
                fed.setdefault(each, []).append(node)
        found, ahead = set[str](), [each for each in nodes if each in self.graph]
        while ahead:
            node = ahead.pop()
            if node not in found:
                found.add(node)
                ahead += fed.get(node, ())
        return found

    def spec(self, node: str, name: str) -> InputSpec | None:
        """What the server says of an input; None if it does not know it."""
        known = self.catalog.get(self.kind(node))
        return None if known is None else known.inputs.get(name)

    def output_type(self, node: str, slot: int) -> str | None:
        """The type of an output; None if the server does not know it."""
        known = self.catalog.get(self.kind(node))
        if known is None or not 0 <= slot < len(known.outputs):
            return None
        return known.outputs[slot]

    def is_output(self, node: str) -> bool:
        """Whether a node ends a branch: only what leads to one runs."""
        known = self.catalog.get(self.kind(node))
        if known is not None:
            return known.output_node
        return self.kind(node) in SAVING_NODES

    def outputs(self) -> list[str]:
        """The nodes that end branches."""
        return [node for node in self.graph if self.is_output(node)]

    def running(self) -> set[str]:
        """The nodes that run: those that an output node needs."""
        return self.above(self.outputs())

    # Values -----------------------------------------------------------------------------

    def place(self, node: str, name: str) -> Place | None:
        """Where the value of an input is written, a primitive node's input if it is linked.

        None if it comes out of something that computes it.
        """
        seen = set[str]()
        while node not in seen:
            seen.add(node)
            if name not in self.inputs(node):
                return None
            linked = self.source(node, name)
            if linked is None:
                return None if isinstance(self.inputs(node)[name], list) else Place(node, name)
            handed_on = self._handed_on(*linked)
            if handed_on is None:
                return None
            node, name = linked[0], handed_on
        return None

    def _handed_on(self, node: str, slot: int) -> str | None:
        """The input that a node hands on unchanged by an output; None if there is none."""
        if self.kind(node) in _HANDING_ON:
            return _HANDING_ON[self.kind(node)].get(slot)
        known = self.catalog.get(self.kind(node))
        if known is None or len(known.inputs) != 1 or len(known.outputs) != 1 or slot != 0:
            return None
        only = next(iter(known.inputs.values()))
        return only.name if only.type == known.outputs[0] else None

    def value(self, place: Place) -> Any:
        """What is written there."""
        return self.inputs(place.node)[place.name]

    def whole(self, node: str, name: str) -> int | None:
        """The whole number an input has, followed to its primitive; None if it has none."""
        place = self.place(node, name)
        return None if place is None else whole(self.value(place))

    def put(self, place: Place, value: Any) -> None:
        """Write a value."""
        self.inputs(place.node)[place.name] = value

    # Changing ---------------------------------------------------------------------------

    def add(self, kind: str, **given: Any) -> str | None:
        """A new node with what the server takes by default, and ``given``.

        None if the server does not know the class, or it needs an input that is not given.
        """
        known = self.catalog.get(kind)
        if known is None:
            return None
        inputs = dict(given)
        for spec in known.required:
            if spec.name not in inputs:
                if not spec.is_plain or spec.default is None:
                    return None
                inputs[spec.name] = spec.default
        number = max((int(each) for each in self.graph if _short_number(each)), default=0) + 1
        node = str(number)
        self.graph[node] = {"class_type": kind, "inputs": inputs}
        return node

    def relink(self, uses: Iterable[Use], node: str, slot: int = 0) -> None:
        """Link some inputs from another output."""
        for use in uses:
            self.inputs(use.node)[use.name] = [node, slot]

    def prune(self, was_running: set[str]) -> None:
        """Take out what ran before and is needed no more, not even by what never ran."""
        idle = self.graph.keys() - was_running
        still = self.above([*self.outputs(), *idle])
        self.graph = {node: given for node, given in self.graph.items() if node in still}

    # The result -------------------------------------------------------------------------

    def touched(self) -> list[str]:
        """The nodes that are not what they were, those that are gone among them."""
        before = self.before.graph
        changed = [node for node, given in self.graph.items() if given != before.get(node)]
        return changed + [node for node in before if node not in self.graph]

    def workflow(self) -> Workflow | None:
        """The changed workflow; None if it is unchanged or not one the server would take."""
        touched = self.touched()
        if not self.graph or not touched or not self._sound(touched):
            return None
        return replace(self.before, graph=self.graph)

    def finish(
        self,
        name: str,
        words: str,
        *,
        keeps_result: bool = False,
        nodes: Iterable[str] | None = None,
    ) -> Edit | None:
        """The edit; None if nothing changed or the server would not take the result."""
        workflow = self.workflow()
        if workflow is None:
            return None
        named = tuple(self.touched() if nodes is None else nodes)
        return Edit(workflow, Change(name, words, named, keeps_result))

    def _sound(self, touched: list[str]) -> bool:
        if self._before_had_outputs() and not self.outputs():
            return False
        gone = self.before.graph.keys() - self.graph.keys()
        fed_by_none = gone and any(
            is_link(value) and value[0] in gone
            for given in self.graph.values()
            for value in given["inputs"].values()
        )
        return not fed_by_none and all(
            self._node_sound(node) for node in touched if node in self.graph
        )

    def _before_had_outputs(self) -> bool:
        return bool(Draft(self.before, self.catalog).outputs())

    def _node_sound(self, node: str) -> bool:
        inputs = self.inputs(node)
        if any(is_link(value) and value[0] not in self.graph for value in inputs.values()):
            return False
        known = self.catalog.get(self.kind(node))
        if known is None:
            return True
        before = self.before.graph.get(node, {"class_type": "", "inputs": {}})
        same_class = before["class_type"] == self.kind(node)
        for spec in known.inputs.values():
            if spec.name not in inputs:
                had = not same_class or spec.name in before["inputs"]
                if spec.required and had:
                    return False
            elif (
                not same_class or inputs[spec.name] != before["inputs"].get(spec.name)
            ) and not self._fits(spec, inputs[spec.name]):
                return False
        return True

    def _fits(self, spec: InputSpec, value: Any) -> bool:
        if is_link(value):
            produced = self.output_type(*value)
            return produced is None or spec.accepts(produced)
        if spec.type == COMBO:
            return spec.choices is None or value in spec.choices
        if spec.type in {"INT", "FLOAT"}:
            return (
                number(value) is not None
                and (spec.minimum is None or value >= spec.minimum)
                and (spec.maximum is None or value <= spec.maximum)
            )
        return True


def whole(value: Any) -> int | None:
    """A whole number from 0 to `MOST_NUMBER`, also when written as 64.0; None for all else."""
    plain = number(value)
    if plain is None or not 0 <= plain <= MOST_NUMBER or plain != int(plain):
        return None
    return int(plain)


def number(value: Any) -> float | None:
    """A plain, finite number; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def described(draft: Draft, node: str) -> str:
    """A node, for people: ``node 8 (VAEDecode)``."""
    return f"node {node} ({draft.kind(node)})"


def listed(draft: Draft, nodes: Iterable[str]) -> str:
    """Nodes, for people, the first five by name."""
    every = [described(draft, node) for node in nodes]
    more = f" and {len(every) - 5} more" if len(every) > 5 else ""
    return ", ".join(every[:5]) + more


def _short_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12
