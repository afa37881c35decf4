"""Would a server take this prompt, and what would it answer? Pure.

The project's `preflight` judges the prompt against what each server knows. One
server that takes it is enough; one whose classes nobody knows yet may take it.
If all refuse, the answer is that of the server that comes nearest, in
ComfyUI's own shape, and a prompt of which only some outputs can run is taken
with ``node_errors``, as ComfyUI does.

Two things differ on purpose. Links that lead nowhere in inputs which no class
knows are refused, because a server's worker dies of them. And of the nodes
that no output needs, those that cannot even be sent safely are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.gateway import node_errors
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.preflight import Problem, Report, Severity, preflight
from holdfast.comfyui.preflight.wiring import checked_feeds, needed, runs_as_link
from holdfast.comfyui.workflow import Workflow

Graph = Mapping[str, Mapping[str, Any]]

_LINK_TROUBLE = frozenset(
    {
        "bad_linked_input",
        "return_type_mismatch",
        "exception_during_validation",
        "exception_during_inner_validation",
    }
)
"""Where a server finds one of these, it does not look at what is behind the link."""

_DEADLY = frozenset({"dangling_link"})
"""What no server refuses, and every server's worker dies of."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The prompt is taken."""

    graph: dict[str, dict[str, Any]]
    """What is to run."""
    targets: tuple[str, ...]
    """The output nodes that run, in the order of the prompt; empty if nobody knows them."""
    node_errors: dict[str, Any] = field(default_factory=dict)
    """Why the other outputs do not run."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    accepted: Accepted | None
    refusal: Refusal | None
    errors: int


def judge(
    graph: Mapping[str, Any],
    catalogs: Sequence[Catalog | None],
    *,
    targets: Collection[str] | None = None,
    known_files: Collection[tuple[str, str]] = (),
    fetches_models: bool = False,
) -> Accepted:
    """Judge a prompt.

    Args:
        graph: the prompt, as `guard.judge_prompt` lets it through.
        catalogs: what each server knows; None for a server that nobody has heard of yet.
        targets: the output nodes the client wants; None for all.
        known_files: inputs, as (node id, input name), whose file the gateway has.
        fetches_models: whether a model that no server has may still be fetched.

    Raises:
        Refusal: no server would take it.
    """
    best: _Verdict | None = None
    for catalog in catalogs:
        verdict = (
            _unknown(graph, targets)
            if catalog is None
            else _judge_one(graph, catalog, targets, known_files, fetches_models=fetches_models)
        )
        if verdict.accepted is not None and not verdict.accepted.node_errors:
            return verdict.accepted
        if best is None or _rank(verdict) < _rank(best):
            best = verdict
    if best is None:
        best = _unknown(graph, targets)
    if best.accepted is not None:
        return best.accepted
    assert best.refusal is not None  # noqa: S101 - a verdict has one of the two
    raise best.refusal


def _rank(verdict: _Verdict) -> tuple[bool, int]:
    return verdict.accepted is None, verdict.errors


def _unknown(graph: Mapping[str, Any], targets: Collection[str] | None) -> _Verdict:
    """What is found without knowing any class: the server will say the rest."""
    sound = _sound(graph)
    lost = [each for each in graph if each not in sound]
    if lost:
        where = f"Node ID '#{lost[0][:200]}'"
        words = "Cannot execute because a node has no inputs, or a link that leads nowhere."
        return _Verdict(None, Refusal("invalid_prompt", words, where), len(lost))
    wanted = tuple(each for each in graph if each in targets) if targets is not None else ()
    if targets is not None and not wanted:
        return _Verdict(None, Refusal("prompt_no_outputs", "Prompt has no outputs"), 1)
    return _Verdict(Accepted(dict(graph), wanted), None, 0)


def _judge_one(
    graph: Mapping[str, Any],
    catalog: Catalog,
    targets: Collection[str] | None,
    known_files: Collection[tuple[str, str]],
    *,
    fetches_models: bool,
) -> _Verdict:
    for node_id, node in graph.items():
        if node["class_type"] not in catalog:
            words = f"Cannot execute because node {node['class_type'][:200]} does not exist."
            refusal = Refusal("invalid_prompt", words, f"Node ID '#{node_id[:200]}'")
            return _Verdict(None, refusal, len(graph) + 1)
    whole = {
        node_id: node if isinstance(node.get("inputs"), dict) else {**node, "inputs": {}}
        for node_id, node in graph.items()
    }
    bare = {each for each, node in graph.items() if not isinstance(node.get("inputs"), dict)}
    outputs = [
        each
        for each, node in graph.items()
        if catalog[node["class_type"]].output_node and (targets is None or each in targets)
    ]
    if not outputs:
        return _Verdict(None, Refusal("prompt_no_outputs", "Prompt has no outputs"), len(graph))
    report = preflight(Workflow(whole), catalog)
    look = _Look(whole, catalog, _counted(report, known_files, fetches_models), bare)
    return look.verdict(outputs)


def _counted(
    report: Report,
    known_files: Collection[tuple[str, str]],
    fetches_models: bool,  # noqa: FBT001
) -> dict[str, list[Problem]]:
    """The problems a server refuses for, by node."""
    found: dict[str, list[Problem]] = {}
    for problem in report.problems:
        if problem.node_id is None or problem.kind in ("invalid_prompt", "dependency_cycle"):
            continue
        if problem.kind == "image_not_there":
            counts = _surely_absent(problem, known_files)
        elif problem.kind in _DEADLY:
            counts = True
        else:
            counts = problem.severity is Severity.ERROR and problem.at_submission
        if fetches_models and problem.is_missing_model:
            counts = False
        if counts:
            found.setdefault(problem.node_id, []).append(problem)
    return found


def _surely_absent(problem: Problem, known_files: Collection[tuple[str, str]]) -> bool:
    value = problem.value
    if isinstance(value, dict):
        value = value.get("__value__")
    if (problem.node_id, problem.input) in known_files or not isinstance(value, str):
        return False
    # Lists name neither what lies in folders nor what was made: only the server can tell.
    return "/" not in value and not value.endswith("]")


class _Look:
    """One look at one prompt, in the order in which a server looks."""

    def __init__(
        self,
        graph: dict[str, dict[str, Any]],
        catalog: Catalog,
        problems: dict[str, list[Problem]],
        bare: set[str],
    ) -> None:
        self._graph = graph
        self._catalog = catalog
        self._problems = problems
        self._bare = bare
        self._feeds = checked_feeds(_cut(graph, problems), catalog)

    def verdict(self, outputs: list[str]) -> _Verdict:
        good: list[str] = []
        errors: dict[str, Any] = {}
        reasons: list[dict[str, Any]] = []
        reached: dict[str, None] = {}
        for output in outputs:
            behind = needed(self._feeds, [output])
            ordered = [each for each in self._graph if each in behind and each != output]
            reached |= dict.fromkeys([*ordered, output])
            wrong = [each for each in behind if each in self._problems or each in self._bare]
            circle = self._circle(output)
            if not wrong and not circle:
                good.append(output)
                continue
            own = self._told(output)
            reasons += own or ([_circle_words()] if circle else [])
            for node_id in reached:
                told = self._told(node_id)
                if told:
                    entry = errors.setdefault(
                        node_id,
                        {
                            "errors": told,
                            "dependent_outputs": [],
                            "class_type": self._graph[node_id]["class_type"],
                        },
                    )
                    entry["dependent_outputs"].append(output)
        if good:
            kept = self._kept(good)
            count = sum(len(entry["errors"]) for entry in errors.values())
            return _Verdict(Accepted(kept, tuple(good), errors), None, count)
        details = "\n".join(f"{each['message']}: {each['details']}" for each in reasons)
        refusal = Refusal(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            details,
            node_errors=errors,
        )
        return _Verdict(None, refusal, sum(len(each["errors"]) for each in errors.values()) + 1)

    def _told(self, node_id: str) -> list[dict[str, Any]]:
        if node_id in self._bare:
            return [node_errors.without_inputs(node_id, self._graph, self._catalog)]
        found = self._problems.get(node_id, [])
        # An exception ends the look at a node, and what was found before it is forgotten.
        raised = [each for each in found if each.kind.startswith("exception_during_")]
        return [
            node_errors.said(each, self._graph, self._catalog) for each in (raised[:1] or found)
        ]

    def _circle(self, output: str) -> bool:
        """Whether what an output needs goes in a circle."""
        state: dict[str, int] = {}
        stack = [(output, iter(self._feeds[output]))]
        state[output] = 1
        while stack:
            node_id, sources = stack[-1]
            for source in sources:
                if state.get(source) == 1:
                    return True
                if source not in state:
                    state[source] = 1
                    stack.append((source, iter(self._feeds[source])))
                    break
            else:
                state[node_id] = 2
                stack.pop()
        return False

    def _kept(self, good: list[str]) -> dict[str, dict[str, Any]]:
        sound = _sound(self._graph)
        needs = needed(self._feeds, good)
        return {
            each: node
            for each, node in self._graph.items()
            if each in needs or (each in sound and each not in self._bare)
        }


def _circle_words() -> dict[str, Any]:
    return {"message": "Dependency cycle", "details": "the nodes feed one another in a circle"}


def _cut(graph: Graph, problems: Mapping[str, list[Problem]]) -> dict[str, dict[str, Any]]:
    """The graph without the links that a server does not follow."""
    cut = {
        (each.node_id, each.input)
        for found in problems.values()
        for each in found
        if each.kind in _LINK_TROUBLE
    }
    return {
        node_id: {
            "class_type": node["class_type"],
            "inputs": {
                name: value for name, value in node["inputs"].items() if (node_id, name) not in cut
            },
        }
        for node_id, node in graph.items()
    }


def _sound(graph: Mapping[str, Any]) -> set[str]:
    """The nodes that can be sent: with inputs, and without links that lead out of the graph."""
    return {
        node_id
        for node_id, node in graph.items()
        if isinstance(node.get("inputs"), dict)
        and all(value[0] in graph for value in node["inputs"].values() if runs_as_link(value))
    }
