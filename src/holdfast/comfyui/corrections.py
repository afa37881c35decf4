"""What can be corrected in a workflow without changing what it means, when somebody asks for it.

A number written as text, a number beyond its range, a size the model cannot
make, a model whose name this server writes with the other slash or in other
letters: there is one right answer, and it is told. Everything else is left
to people; `refused` has it, with words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Change, Edit
from holdfast.comfyui.preflight import Problem, Report, preflight
from holdfast.comfyui.preflight.report import called, shown
from holdfast.comfyui.workflow import Workflow

ROUNDS = 4
"""How often a corrected workflow is looked at again: text becomes a number, the number is brought
into its range, and then onto the grid."""

_NAMES = {
    "invalid_input_type": "value_type",
    "value_converted": "value_type",
    "value_smaller_than_min": "value_range",
    "value_bigger_than_max": "value_range",
    "value_not_in_list": "value_spelling",
    "off_grid": "size_on_grid",
}
_WHY = {
    "value_type": "the type this input has",
    "value_range": "the nearest value the server takes",
    "value_spelling": "as this server writes it",
    "size_on_grid": "what the model can make",
}


@dataclass(frozen=True, slots=True)
class Correction:
    """A corrected workflow, and what it took."""

    workflow: Workflow
    """With every edit made; the same object if there was nothing to correct."""
    edits: tuple[Edit, ...]
    """One for each value that was changed, in order; each stands on the one before."""
    report: Report
    """What is still to be said about the workflow."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed."""
        return tuple(each.change for each in self.edits)

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Errors that are left, because nobody but its author knows what was meant."""
        return self.report.errors


def correct(workflow: Workflow, object_info: Catalog | Mapping[str, Any]) -> Correction:
    """Correct what has one right answer.

    Args:
        workflow: what is to be run.
        object_info: the server's `Catalog`, or its parsed answer to `/object_info`.

    Raises:
        BadInputError: ``object_info`` is none.
    """
    catalog = Catalog.of(object_info)
    edits: list[Edit] = []
    report = preflight(workflow, catalog)
    for _ in range(ROUNDS):
        sure = [each for each in report.problems if _is_sure(each)]
        if not sure:
            break
        for problem in sure:
            edit = _apply(workflow, problem)
            workflow = edit.workflow
            edits.append(edit)
        report = preflight(workflow, catalog)
    return Correction(workflow, tuple(edits), report)


def _is_sure(problem: Problem) -> bool:
    suggestion = problem.suggestion
    return suggestion is not None and suggestion.certain and problem.kind in _NAMES


def _apply(workflow: Workflow, problem: Problem) -> Edit:
    suggestion, node_id = problem.suggestion, problem.node_id
    assert suggestion is not None  # noqa: S101 - `_is_sure` has looked
    assert node_id is not None  # noqa: S101 - a value stands at a node
    graph = dict(workflow.graph)
    node = graph[node_id]
    graph[node_id] = {**node, "inputs": {**node["inputs"], suggestion.input: suggestion.value}}
    name = _NAMES[problem.kind]
    words = (
        f"{called(node_id, node['class_type'])}: {suggestion.input} is {shown(suggestion.value)} "
        f"instead of {shown(problem.value)}: {_WHY[name]}"
    )
    # What the server refuses is not made at all, so there a correction has nothing to keep.
    change = Change(name, words, (node_id,), keeps_result=suggestion.keeps_result)
    return Edit(replace(workflow, graph=graph), change)
