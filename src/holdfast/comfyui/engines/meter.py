"""How far a job has got, from what servers tell of it: a share that never goes back, and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui import events
from holdfast.comfyui.workflow import Workflow, is_link

_WEIGHTS = {
    "KSampler": 40.0,
    "KSamplerAdvanced": 40.0,
    "SamplerCustom": 40.0,
    "SamplerCustomAdvanced": 40.0,
    "VAEDecode": 6.0,
    "VAEDecodeTiled": 6.0,
    "UNETLoader": 4.0,
    "CheckpointLoaderSimple": 4.0,
}
"""How long node classes take, compared with one another; all others count 1."""

_BEFORE_FILES = 0.99
"""The share when the last node has run: the files are still to be fetched."""


class Meter:
    """The progress of one job over all its attempts and rungs. Deterministic; no clock."""

    def __init__(self) -> None:
        self.share = 0.0
        """From 0 to 1; it never falls, even when a job begins again elsewhere."""
        self._weights: Mapping[str, float] = {}
        self._before: Mapping[str, frozenset[str]] = {}
        self._done: set[str] = set()
        self._now: str | None = None

    def begin(self, workflow: Workflow) -> None:
        """A workflow is tried, the first or another."""
        self._weights = {
            node_id: _WEIGHTS.get(node["class_type"], 1.0)
            for node_id, node in workflow.graph.items()
        }
        self._before = _ancestors(workflow.graph)
        self._restart()

    def hear(self, event: events.Event) -> str | None:
        """Take an event in.

        Returns:
            What it says, in words; None if it says nothing of progress.
        """
        match event:
            case events.AttemptStarted(server=server, number=number):
                self._restart()
                return f"sent to {server}" if number == 1 else f"attempt {number}, on {server}"
            case events.NodeStarted(node_id=node_id, node_type=kind, server=server):
                self._move_to(node_id)
                return f"{kind or 'a node'} on {server}"
            case events.NodeStepped(node_id=node_id, value=value, maximum=most, server=server):
                if node_id != self._now:
                    self._move_to(node_id)
                part = min(1.0, value / most) if most > 0 else 0.0
                self._raise_to(part * self._weights.get(node_id, 0.0))
                return f"step {value:g} of {most:g} on {server}"
            case events.AttemptFailed(failure=failure, recovery=recovery):
                return f"{failure.message}: {recovery}"
            case events.JobDelivered():
                self.share = 1.0
                return "delivered"
        return None

    def _restart(self) -> None:
        self._done, self._now = set(), None

    def _move_to(self, node_id: str) -> None:
        # What runs before it is done, or was in the server's cache and never began.
        if self._now is not None and self._now != node_id:
            self._done.add(self._now)
        self._done |= self._before.get(node_id, frozenset())
        self._now = node_id
        self._raise_to(0.0)

    def _raise_to(self, begun: float) -> None:
        total = sum(self._weights.values())
        if total <= 0:
            return
        done = sum(self._weights.get(each, 0.0) for each in self._done - {self._now})
        share = min(1.0, (done + begun) / total) * _BEFORE_FILES
        self.share = max(self.share, share)


def _ancestors(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """What each node needs, directly or through others; builders write sources first."""
    found: dict[str, frozenset[str]] = {}
    for node_id, node in graph.items():
        sources = {value[0] for value in node["inputs"].values() if is_link(value)}
        found[node_id] = frozenset(sources).union(
            *(found.get(each, frozenset()) for each in sources)
        )
    return found
