"""Graphs: which node runs next, and which result is still good.

Pure functions and records over the API form of a graph. Nothing here runs a
node.

- Order: a node is ready when nothing it needs is left. Among the ready ones an
  output node goes first, then what feeds one, then what feeds such a feeder,
  then whatever was reached first.
- A result is known by content: class, fingerprint, all inputs (also those the
  class does not know) and the same of every ancestor; node ids do not count.
- Results of the last graph are kept, and of no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.standin.node import NodeClass, ServerFiles

Prompt = Mapping[str, Any]
Signature = tuple[Any, ...]


def is_link(value: object) -> bool:
    """Say whether an input's value points at another node's output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def links(prompt: Prompt, node_id: str) -> Iterator[str]:
    """Ids of the nodes that feed ``node_id``, in the order of its inputs."""
    for value in prompt[node_id]["inputs"].values():
        if is_link(value):
            yield value[0]


class Agenda:
    """What is left to run of one graph."""

    def __init__(
        self,
        prompt: Prompt,
        catalog: Mapping[str, NodeClass],
        is_cached: Callable[[str], bool],
    ) -> None:
        self._prompt = prompt
        self._catalog = catalog
        self._is_cached = is_cached
        # Insertion order matters: it decides between nodes that are equally urgent.
        self._feeds: dict[str, list[str]] = {}
        self._waits_for: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def add(self, node_id: str) -> None:
        """Put a node and all it needs on the agenda; cached needs count as met."""
        reached = [node_id]
        found: list[tuple[str, str]] = []
        while reached:
            current = reached.pop()
            if current in self._feeds:
                continue
            self._feeds[current] = []
            self._waits_for[current] = 0
            for source in links(self._prompt, current):
                if not self._is_cached(source):
                    reached.append(source)
                    found.append((source, current))
        for source, target in found:
            if target not in self._feeds[source]:
                self._feeds[source].append(target)
                self._waits_for[target] += 1

    def next(self) -> str:
        """Return the node to run now.

        Raises:
            ValueError: nodes are left and each waits for another.
        """
        ready = [node_id for node_id in self._feeds if self._waits_for[node_id] == 0]
        if not ready:
            raise ValueError("Dependency cycle detected")
        tiers = (
            lambda node_id: [node_id],
            lambda node_id: self._feeds[node_id],
            lambda node_id: [far for near in self._feeds[node_id] for far in self._feeds[near]],
        )
        for reach in tiers:
            for node_id in ready:
                if any(self._shows(target) for target in reach(node_id)):
                    return node_id
        return ready[0]

    def done(self, node_id: str) -> None:
        """Take a node off the agenda; what waited for it waits no longer."""
        for target in self._feeds.pop(node_id):
            self._waits_for[target] -= 1
        del self._waits_for[node_id]

    def _shows(self, node_id: str) -> bool:
        return self._catalog[self._prompt[node_id]["class_type"]].output_node


def signatures(
    prompt: Prompt, catalog: Mapping[str, NodeClass], files: ServerFiles
) -> dict[str, Signature]:
    """What each node's result depends on, by node id."""
    fingerprints: dict[str, object] = {}

    def fingerprint(node_id: str) -> object:
        if node_id not in fingerprints:
            fingerprints[node_id] = _fingerprint(prompt[node_id], catalog, files)
        return fingerprints[node_id]

    def own(node_id: str, place: Mapping[str, int]) -> Signature:
        if node_id not in prompt:
            return (float("nan"),)  # equal to nothing, so never found again
        node = prompt[node_id]
        cls = catalog[node["class_type"]]
        name = node_id if "UNIQUE_ID" in cls.hidden.values() else None
        inputs = tuple(
            (key, "ANCESTOR", place[value[0]], value[1]) if is_link(value) else (key, freeze(value))
            for key, value in sorted(node["inputs"].items())
        )
        return (node["class_type"], fingerprint(node_id), name, inputs)

    result = {}
    for node_id in prompt:
        ancestry = _ancestry(prompt, node_id)
        place = {ancestor: index for index, ancestor in enumerate(ancestry)}
        result[node_id] = tuple(own(one, place) for one in (node_id, *ancestry))
    return result


def _ancestry(prompt: Prompt, node_id: str) -> list[str]:
    """Everything upstream of a node, in an order that only its links decide."""
    found: dict[str, None] = {}

    def visit(current: str) -> None:
        if current not in prompt:
            return
        for _, value in sorted(prompt[current]["inputs"].items()):
            if is_link(value) and value[0] not in found:
                found[value[0]] = None
                visit(value[0])

    visit(node_id)
    return list(found)


def _fingerprint(
    node: Mapping[str, Any], catalog: Mapping[str, NodeClass], files: ServerFiles
) -> object:
    cls = catalog[node["class_type"]]
    if cls.fingerprint is None:
        return False
    constants = {key: value for key, value in node["inputs"].items() if not is_link(value)}
    try:
        return cls.fingerprint(files, constants)
    except Exception:  # noqa: BLE001 - whatever a node raises here, it only runs again
        return float("nan")


def freeze(value: object) -> object:
    """A hashable stand-in for a JSON value: equal values, equal stand-ins."""
    if isinstance(value, dict):
        return ("{}", tuple((key, freeze(inner)) for key, inner in sorted(value.items())))
    if isinstance(value, list | tuple):
        return ("[]", tuple(freeze(inner) for inner in value))
    return value


@dataclass(frozen=True, slots=True)
class Shown:
    """What a node showed to people, and under which id it did so."""

    output: dict[str, Any]
    meta: dict[str, Any]


class ResultCache:
    """Results of the nodes of the last graph."""

    def __init__(self) -> None:
        self._keys: dict[str, Signature] = {}
        self._values: dict[Signature, tuple[Any, ...]] = {}
        self._shown: dict[Signature, Shown] = {}

    def turn_to(self, keys: Mapping[str, Signature]) -> None:
        """Begin a new graph: forget every result that it does not need."""
        self._keys = dict(keys)
        used = set(self._keys.values())
        self._values = {key: value for key, value in self._values.items() if key in used}
        self._shown = {key: shown for key, shown in self._shown.items() if key in used}

    def __contains__(self, node_id: str) -> bool:
        return self._keys.get(node_id) in self._values

    def values(self, node_id: str) -> tuple[Any, ...] | None:
        """Outputs of a node by slot, or None if it has not run."""
        key = self._keys.get(node_id)
        return None if key is None else self._values.get(key)

    def shown(self, node_id: str) -> Shown | None:
        """What a node showed to people, or None if nothing."""
        key = self._keys.get(node_id)
        return None if key is None else self._shown.get(key)

    def keep(self, node_id: str, values: Iterable[Any]) -> None:
        """Remember the outputs of a node."""
        self._values[self._keys[node_id]] = tuple(values)

    def keep_shown(self, node_id: str, shown: Shown) -> None:
        """Remember what a node showed."""
        self._shown[self._keys[node_id]] = shown
