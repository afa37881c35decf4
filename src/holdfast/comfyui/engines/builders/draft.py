"""A graph being written down: nodes in order, each linked to those before it."""

from __future__ import annotations

from typing import Any

from holdfast.comfyui.workflow import Workflow

Link = list[Any]
"""``[node id, output number]``, as in the API format."""


class Node:
    """A node that was written down; ``node[0]`` is a link to its first output."""

    __slots__ = ("id",)

    def __init__(self, node_id: str) -> None:
        self.id = node_id

    def __getitem__(self, output: int) -> Link:
        """A link to an output."""
        return [self.id, output]


class Draft:
    """Nodes so far. They are numbered from 1 in the order they are added."""

    def __init__(self) -> None:
        self._graph: dict[str, dict[str, Any]] = {}

    def add(self, class_type: str, **inputs: Any) -> Node:
        """Write a node down."""
        node_id = str(len(self._graph) + 1)
        self._graph[node_id] = {"class_type": class_type, "inputs": inputs}
        return Node(node_id)

    def workflow(self, name: str) -> Workflow:
        """What was written, checked as a workflow of strangers would be."""
        return Workflow.from_api(self._graph, name=name)
