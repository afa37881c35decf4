"""What differs between two workflows, node by node and input by input.

The page numbers nodes as it likes, so numbers are not what makes two nodes the
same. Where most nodes have kept number and class, these count; where not,
nodes that make the same thing belong together first. What is left belongs
together if it feeds, or is fed by, the same input of nodes that do, or if it
is the only one of its class.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from holdfast.comfyui.failures import clip, node_name
from holdfast.comfyui.workflow import Workflow, is_link

Graph = Mapping[str, Mapping[str, Any]]

DEPTH = 32
"""How far upstream two nodes are compared to see whether they make the same."""


class DifferenceKind(StrEnum):
    """What differs."""

    NODE_ADDED = "node_added"
    NODE_REMOVED = "node_removed"
    INPUT_ADDED = "input_added"
    INPUT_REMOVED = "input_removed"
    VALUE = "value"
    LINK = "link"
    """An input is linked elsewhere, or is linked where it was a value, or the other way round."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs."""

    kind: DifferenceKind
    words: str
    before_id: str | None = None
    """The node's id in the first workflow, None if it is not there."""
    after_id: str | None = None
    input: str | None = None
    before: Any = None
    after: Any = None


def differences(before: Workflow, after: Workflow) -> tuple[Difference, ...]:
    """What differs; empty if both make the same, whatever their nodes' ids and titles."""
    pairs = matched(before.graph, after.graph)
    return tuple(_differences(before.graph, after.graph, pairs))


def matched(before: Graph, after: Graph) -> dict[str, str]:
    """Which node of the second workflow each node of the first has become."""
    return _Match(before, after).pairs


class _Match:
    """Finds out which nodes belong together."""

    def __init__(self, before: Graph, after: Graph) -> None:
        self._before = before
        self._after = after
        self.pairs: dict[str, str] = {}
        self._taken: set[str] = set()
        kept = [each for each in before if each in after and _same_class(before, after, each)]
        if len(kept) * 2 < len(before):
            ours, theirs = _makings(before), _makings(after)
            self._group(ours.__getitem__, theirs.__getitem__, alone=False)
        for node_id in kept:
            self._pair(node_id, node_id)
        self._spread()
        self._group(lambda each: _name(before, each), lambda each: _name(after, each), alone=True)
        self._spread()

    def _group(
        self,
        ours: Callable[[str], Hashable],
        theirs: Callable[[str], Hashable],
        *,
        alone: bool,
    ) -> None:
        """Pair nodes of the same key; with ``alone``, only where each is the only one left."""
        waiting: dict[Hashable, list[str]] = defaultdict(list)
        left: dict[Hashable, list[str]] = defaultdict(list)
        for node_id in self._after:
            if node_id not in self._taken:
                waiting[theirs(node_id)].append(node_id)
        for node_id in self._before:
            if node_id not in self.pairs:
                left[ours(node_id)].append(node_id)
        for key, mine in left.items():
            there = waiting.get(key, [])
            if alone and (len(mine) != 1 or len(there) != 1):
                continue
            same = set(mine) & set(there)
            for node_id in same:
                self._pair(node_id, node_id)
            rest = ([each for each in group if each not in same] for group in (mine, there))
            for one, other in zip(*rest, strict=False):
                self._pair(one, other)

    def _pair(self, one: str, other: str) -> bool:
        if one in self.pairs or other in self._taken:
            return False
        if _name(self._before, one) != _name(self._after, other):
            return False
        self.pairs[one] = other
        self._taken.add(other)
        return True

    def _spread(self) -> None:
        """Pair what feeds, or is fed by, the same input of nodes that are paired."""
        ours, theirs = _consumers(self._before), _consumers(self._after)
        left = list(self.pairs.items())
        while left:
            one, other = left.pop()
            inputs, their_inputs = self._before[one]["inputs"], self._after[other]["inputs"]
            found = [
                (value[0], their_inputs[name][0])
                for name, value in inputs.items()
                if is_link(value) and is_link(their_inputs.get(name))
            ]
            found += [
                (mine[0], yours[0])
                for port, mine in ours.get(one, {}).items()
                if len(mine) == len(yours := theirs.get(other, {}).get(port, [])) == 1
            ]
            for mine_id, their_id in found:
                known = mine_id in self._before and their_id in self._after
                if known and self._pair(mine_id, their_id):
                    left.append((mine_id, their_id))


def _same_class(before: Graph, after: Graph, node_id: str) -> bool:
    return _name(before, node_id) == _name(after, node_id)


def _name(graph: Graph, node_id: str) -> str:
    name: str = graph[node_id]["class_type"]
    return name


def _consumers(graph: Graph) -> dict[str, dict[tuple[int, str, str], list[str]]]:
    """Who takes what from each node: by slot, class and input."""
    found: dict[str, dict[tuple[int, str, str], list[str]]] = defaultdict(dict)
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if is_link(value):
                port = (value[1], node["class_type"], name)
                found[value[0]].setdefault(port, []).append(node_id)
    return found


def _makings(graph: Graph) -> dict[str, int]:
    """A number for what each node makes: equal for nodes of equal inputs and equal sources."""
    plain = {
        node_id: hash(
            (
                node["class_type"],
                tuple(
                    (name, _frozen(value))
                    for name, value in sorted(node["inputs"].items())
                    if not is_link(value)
                ),
            )
        )
        for node_id, node in graph.items()
    }
    made = plain
    for _ in range(min(DEPTH, len(graph))):
        made = {
            node_id: hash(
                (
                    plain[node_id],
                    tuple(
                        (name, value[1], made.get(value[0]))
                        for name, value in sorted(node["inputs"].items())
                        if is_link(value)
                    ),
                )
            )
            for node_id, node in graph.items()
        }
    return made


def _frozen(value: Any) -> str:
    return f"{type(value) is bool}{value!r}" if isinstance(value, bool | int | str) else repr(value)


def _differences(before: Graph, after: Graph, pairs: dict[str, str]) -> Iterator[Difference]:
    for node_id in before:
        if node_id in pairs:
            yield from _node_differences(before, after, node_id, pairs)
        else:
            words = f"{_called(before, node_id)} is gone"
            yield Difference(DifferenceKind.NODE_REMOVED, words, node_id)
    taken = set(pairs.values())
    for node_id in after:
        if node_id not in taken:
            words = f"{_called(after, node_id)} is new"
            yield Difference(DifferenceKind.NODE_ADDED, words, after_id=node_id)


def _node_differences(
    before: Graph, after: Graph, node_id: str, pairs: dict[str, str]
) -> Iterator[Difference]:
    other_id = pairs[node_id]
    ours, theirs = before[node_id]["inputs"], after[other_id]["inputs"]
    where = _called(before, node_id)
    if other_id != node_id:
        where += f", now {clip(other_id, 80)}"
    for name in dict.fromkeys([*ours, *theirs]):
        old, new = ours.get(name), theirs.get(name)
        label = f"{where}: {clip(name, 80)}"
        if name not in theirs:
            kind, words = DifferenceKind.INPUT_REMOVED, f"{label} is gone; it was {_said(old)}"
        elif name not in ours:
            kind, words = DifferenceKind.INPUT_ADDED, f"{label} is new: {_said(new)}"
        elif is_link(old) or is_link(new):
            if _same_link(old, new, pairs):
                continue
            was = _said(old)
            if is_link(old) and pairs.get(old[0], old[0]) != old[0]:
                was += f" (now {clip(pairs[old[0]], 80)})"
            kind, words = DifferenceKind.LINK, f"{label}: {was} -> {_said(new)}"
        else:
            if _same_value(old, new):
                continue
            kind, words = DifferenceKind.VALUE, f"{label}: {_said(old)} -> {_said(new)}"
        yield Difference(kind, words, node_id, other_id, name, old, new)


def _same_link(old: Any, new: Any, pairs: dict[str, str]) -> bool:
    if not (is_link(old) and is_link(new)) or old[1] != new[1]:
        return False
    # A link that leads nowhere belongs to nothing but itself.
    return bool(pairs.get(old[0], old[0]) == new[0])


def _same_value(old: Any, new: Any) -> bool:
    return bool(old == new) and isinstance(old, bool) == isinstance(new, bool)


def _called(graph: Graph, node_id: str) -> str:
    return node_name(clip(node_id, 80), clip(_name(graph, node_id), 80))


def _said(value: Any) -> str:
    if is_link(value):
        return f"output {value[1]} of node {clip(value[0], 80)}"
    return f"'{clip(value, 120)}'" if isinstance(value, str) else clip(repr(value), 120)
