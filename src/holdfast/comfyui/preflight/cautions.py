"""What a server takes without a word, and users suffer from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.comfyui.catalog import Catalog, InputSpec, NodeClass
from holdfast.comfyui.preflight.guesses import Guesses
from holdfast.comfyui.preflight.report import Problem, Severity, Suggestion, called
from holdfast.comfyui.preflight.values import Place

Graph = Mapping[str, Mapping[str, Any]]

SIDES = ("width", "height")
LENGTHS = ("length", "num_frames")

_FLOORED_GRIDS = (8, 32)
"""Grids of latent sizes that the code divides by, rounding down; of others, some pad."""


def dropped_branches(
    graph: Graph, runs: tuple[str, ...], dropped: tuple[str, ...]
) -> Iterator[Problem]:
    """Outputs that are left out while others run, and the whole still counts as a success."""
    for node_id in dropped if runs else ():
        name = graph[node_id]["class_type"]
        words = (
            f"{called(node_id, name)}: will not run because of the errors before it, while other "
            "outputs do, and the server calls that a success"
        )
        yield Problem("branch_dropped", Severity.WARNING, words, node_id, name)


def idle_nodes(graph: Graph, catalog: Catalog, run: set[str]) -> Iterator[Problem]:
    """Nodes that no output needs: they never run, and nobody looks at them."""
    for node_id, node in graph.items():
        if node_id in run or node["class_type"] not in catalog:
            continue
        words = f"{called(node_id, node['class_type'])}: no output needs it, so it will not run"
        yield Problem("not_needed", Severity.WARNING, words, node_id, node["class_type"])


def costs_and_ages(graph: Graph, catalog: Catalog, run: set[str]) -> Iterator[Problem]:
    """Nodes that cost money each time they run, and nodes that are on their way out."""
    for node_id, cls in _running(graph, catalog, run):
        where = called(node_id, cls.name)
        if cls.api_node:
            words = f"{where}: calls a paid service; each run costs money"
            yield Problem("paid", Severity.WARNING, words, node_id, cls.name)
        if cls.raw.get("deprecated") is True:
            words = f"{where}: is deprecated; a newer server may not have it any more"
            yield Problem("deprecated", Severity.WARNING, words, node_id, cls.name)


def off_grid(graph: Graph, catalog: Catalog, run: set[str], guesses: Guesses) -> Iterator[Problem]:
    """Sizes and lengths that the model cannot make: what comes out has another size."""
    for node_id, cls in _running(graph, catalog, run):
        for name in (*SIDES, *LENGTHS):
            spec = cls.inputs.get(name)
            value = graph[node_id]["inputs"].get(name)
            if spec is None or not isinstance(value, int) or isinstance(value, bool):
                continue
            right = on_grid(cls, spec, value)
            if right is None or right == value:
                continue
            yield _off_grid(Place(node_id, cls, spec, guesses), value, right)


def on_grid(cls: NodeClass, spec: InputSpec, value: int) -> int | None:
    """The largest size or length, up to ``value``, that the node's model can make.

    Returns:
        None if the input has no such grid, or ``value`` is out of its range.
    """
    step = spec.step
    if step is None or step < 2 or step != int(step) or not _makes_latents(cls):
        return None
    low, high = spec.minimum or 0, spec.maximum
    if value < low or (high is not None and value > high):
        return None
    grid = int(step)
    # Frames come as one and then so many at a time; the minimum says where the count begins.
    base = int(low) % grid if spec.name in LENGTHS else 0
    right = (value - base) // grid * grid + base
    return right if right >= low else None


def _off_grid(place: Place, value: int, right: int) -> Problem:
    grid = int(place.spec.step or 1)
    floored = place.spec.name in LENGTHS or grid in _FLOORED_GRIDS
    end = f"{right} comes out" if floored else "another size may come out, or a worse picture"
    if place.spec.name in SIDES:
        rule = f"a multiple of {grid}"
    else:
        rule = f"{int(place.spec.minimum or 0) % grid} more than a multiple of {grid}"
    suggestion = Suggestion(place.spec.name, right, certain=True, keeps_result=floored)
    words = f"is {value}, which is not {rule}: the server takes it, and {end}; write {right}"
    return place.problem("off_grid", words, value, severity=Severity.WARNING, suggestion=suggestion)


def _makes_latents(cls: NodeClass) -> bool:
    return any(kind == "LATENT" or "EMBEDS" in kind for kind in cls.outputs)


def _running(graph: Graph, catalog: Catalog, run: set[str]) -> Iterator[tuple[str, NodeClass]]:
    for node_id, node in graph.items():
        cls = catalog.get(node["class_type"])
        if cls is not None and node_id in run:
            yield node_id, cls
