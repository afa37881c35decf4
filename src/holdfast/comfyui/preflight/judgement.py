"""Every error the server would raise on a workflow, all at once, with what would be right.

The server's rules, gaps included: a class it does not know refuses the whole
workflow wherever it stands; nodes that no output needs are not looked at;
one good output is enough, and the bad branches are silently left out; links
in inputs that a class does not know are not looked at, and kill the server's
worker when they lead nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.comfyui.catalog import ANY, COMBO, PLAIN_TYPES, Catalog, InputSpec, NodeClass
from holdfast.comfyui.failures import clip
from holdfast.comfyui.preflight import cautions
from holdfast.comfyui.preflight.guesses import Guesses
from holdfast.comfyui.preflight.links import exception_kind, judge_link, nowhere, type_words
from holdfast.comfyui.preflight.packs import pack_of
from holdfast.comfyui.preflight.report import Problem, Report, Severity, Suggestion, called, shown
from holdfast.comfyui.preflight.values import Place, judge_value
from holdfast.comfyui.preflight.wiring import (
    checked_feeds,
    cycles,
    is_dynamic,
    knows,
    needed,
    running_feeds,
    runs_as_link,
    spoilt,
)
from holdfast.comfyui.workflow import Workflow

LONGEST_CIRCLE = 12
"""Nodes of a circle that are named."""


def preflight(workflow: Workflow, object_info: Catalog | Mapping[str, Any]) -> Report:
    """Hold a workflow against what a server knows.

    Args:
        workflow: what is to be run.
        object_info: the server's `Catalog`, or its parsed answer to `/object_info`.

    Raises:
        BadInputError: ``object_info`` is none.
    """
    return _Judgement(workflow, Catalog.of(object_info)).report()


class _Judgement:
    """One look at one workflow."""

    def __init__(self, workflow: Workflow, catalog: Catalog) -> None:
        self._graph = workflow.graph
        self._catalog = catalog
        self._checked = checked_feeds(self._graph, catalog)
        self._running = running_feeds(self._graph)
        self._place = {node_id: place for place, node_id in enumerate(self._graph)}
        self._problems: list[Problem] = []
        self._guesses = Guesses()
        self._urls = {each.name: each.url for each in workflow.models_hinted if each.url}
        self._linked_types = catalog.produced

    def report(self) -> Report:
        graph, catalog = self._graph, self._catalog
        outputs = [
            node_id
            for node_id, node in graph.items()
            if (cls := catalog.get(node["class_type"])) is not None and cls.output_node
        ]
        reached = needed(self._checked, outputs)
        run = needed(self._running, outputs)
        for node_id, node in graph.items():
            cls = catalog.get(node["class_type"])
            if cls is None:
                self._problems.append(self._unknown_class(node_id, node["class_type"]))
            elif node_id in reached:
                self._problems += self._judge_node(node_id, cls, node["inputs"])
            elif node_id in run:
                for problem in self._judge_node(node_id, cls, node["inputs"]):
                    self._problems.append(_later(problem))
        self._look_for_circles(reached, run)
        refused = [each for each in self._problems if each.kind == "invalid_prompt"]
        if not outputs and not refused:
            self._problems.append(_no_outputs())
        runs, dropped = self._branches(outputs, whole=bool(refused))
        self._problems += cautions.dropped_branches(graph, runs, dropped)
        self._problems += cautions.idle_nodes(graph, catalog, run)
        self._problems += cautions.costs_and_ages(graph, catalog, run)
        self._problems += cautions.off_grid(graph, catalog, run, self._guesses)
        ordered = sorted(self._problems, key=lambda each: each.severity is Severity.WARNING)
        return Report(tuple(ordered), runs, dropped)

    def _branches(
        self, outputs: list[str], *, whole: bool
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        bad = {
            each.node_id
            for each in self._problems
            if each.severity is Severity.ERROR and each.at_submission and each.node_id is not None
        }
        down = set(outputs) if whole else spoilt(self._checked, bad)
        return (
            tuple(each for each in outputs if each not in down),
            tuple(each for each in outputs if each in down),
        )

    def _unknown_class(self, node_id: str, name: str) -> Problem:
        near = self._guesses.classes(name, self._catalog)
        hint = f"; near it: {', '.join(near)}" if near else ""
        pack = pack_of(name)
        hint += "" if pack is None else f"; it is known from the pack {pack}"
        words = f"{called(node_id, name)}: this server does not have the node class{hint}"
        return Problem("invalid_prompt", Severity.ERROR, words, node_id, name, near=near, url=pack)

    def _judge_node(self, node_id: str, cls: NodeClass, inputs: Mapping[str, Any]) -> list[Problem]:
        found: list[Problem] = []
        for name, spec in cls.inputs.items():
            place = Place(node_id, cls, spec, self._guesses)
            if name not in inputs:
                if spec.required and not is_dynamic(spec.type):
                    found.append(_missing(place))
            elif isinstance(inputs[name], list):
                found += judge_link(place, inputs[name], self._graph, self._catalog)
            else:
                found += map(self._with_source, judge_value(place, inputs[name]))
                found += self._judge_kind(place, inputs[name])
        found += self._judge_unknown_inputs(node_id, cls, inputs)
        return found

    def _with_source(self, problem: Problem) -> Problem:
        if not problem.is_missing_model or not isinstance(problem.value, str):
            return problem
        url = self._urls.get(problem.value.replace("\\", "/").rsplit("/", 1)[-1])
        if url is None:
            return problem
        words = f"{problem.words}; its author names {clip(url, 200)}"
        return replace(problem, words=words, url=url)

    def _judge_kind(self, place: Place, value: Any) -> list[Problem]:
        # A number where a model belongs is taken by the server, and no node can use it. Types
        # that no node makes are widgets of their own, such as a webcam's.
        kind = place.spec.type
        if kind in PLAIN_TYPES or kind == COMBO or kind not in self._linked_types:
            return []
        words = f"takes a link to {type_words(kind)}, not {shown(value)}"
        return [place.problem("value_for_link", words, value, severity=Severity.WARNING)]

    def _judge_unknown_inputs(
        self, node_id: str, cls: NodeClass, inputs: Mapping[str, Any]
    ) -> list[Problem]:
        found = []
        for name, value in inputs.items():
            if name in cls.inputs or not runs_as_link(value) or value[0] in self._graph:
                continue
            known = knows(cls, name)
            words = nowhere(value[0], self._graph)
            if not known:
                words += "; the class has no such input, and the server's worker dies of it: "
                words += "take the input out"
            place = Place(node_id, cls, InputSpec(name, ANY, False, {}), self._guesses)
            kind = exception_kind(cls) if known else "dangling_link"
            found.append(place.problem(kind, words, value, at_submission=known))
        return found

    def _look_for_circles(self, reached: set[str], run: set[str]) -> None:
        told: set[str] = set()
        for feeds, among, early in ((self._checked, reached, True), (self._running, run, False)):
            for circle in cycles(feeds, among):
                if told.isdisjoint(circle):
                    self._problems.append(self._circle(circle, early=early))
                told.update(circle)

    def _circle(self, circle: list[str], *, early: bool) -> Problem:
        # From the node that comes first in the workflow, so the same circle is told the same way.
        first = min(range(len(circle)), key=lambda index: self._place[circle[index]])
        turned = circle[first:] + circle[:first]
        named = [clip(each, 40) for each in turned[:LONGEST_CIRCLE]]
        more = [f"... ({len(turned) - LONGEST_CIRCLE} more)"] * (len(turned) > LONGEST_CIRCLE)
        path = " -> ".join([*named, *more, named[0]])
        name = self._graph[turned[0]]["class_type"]
        words = f"{called(turned[0], name)}: goes in a circle, {path}; take one of the links out"
        return Problem(
            "dependency_cycle", Severity.ERROR, words, turned[0], name, at_submission=early
        )


def _missing(place: Place) -> Problem:
    spec = place.spec
    if not spec.is_plain:
        words = f"is missing; link it to {type_words(spec.type)}"
        return place.problem("required_input_missing", words, None)
    default = spec.default
    hint = "" if default is None else f"; the page would fill in {shown(default)}"
    suggestion = None if default is None else Suggestion(spec.name, default, certain=False)
    words = f"is missing{hint}"
    return place.problem("required_input_missing", words, None, suggestion=suggestion)


def _later(problem: Problem) -> Problem:
    return replace(problem, at_submission=False)


def _no_outputs() -> Problem:
    words = "no node of the workflow saves or shows anything; add one such as SaveImage"
    return Problem("prompt_no_outputs", Severity.ERROR, words)
