"""All official templates convert, or name what the server lacks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from holdfast.comfyui.page import Converted, MissingNodesError, convert
from tests.comfyui.page.pages import NEW_TEMPLATES, OLD_TEMPLATES, catalog, templates

IN_PAGE = {"Note", "MarkdownNote", "PrimitiveNode", "Reroute"}


def needed(document: dict[str, Any]) -> set[str]:
    """The classes of all nodes that are on, found without unfolding anything."""
    definitions = document.get("definitions", {}).get("subgraphs", [])
    graphs = {each["id"]: each for each in definitions}
    classes: set[str] = set()
    waiting = [document]
    while waiting:
        for node in waiting.pop()["nodes"]:
            if node.get("mode", 0) in (2, 4):
                continue
            if node["type"] in graphs:
                waiting.append(graphs[node["type"]])
            else:
                classes.add(node["type"])
    return classes - IN_PAGE


def ill_fitting(graph: Any) -> list[str]:
    """Links that lead nowhere, or to an output of the wrong type."""
    wrong = []
    known = catalog()
    for key, node in graph.items():
        declared = known[node["class_type"]].inputs
        for name, value in node["inputs"].items():
            if not isinstance(value, list):
                continue
            origin, output = value
            kinds = known[graph[origin]["class_type"]].outputs if origin in graph else ()
            if output >= len(kinds):
                wrong.append(f"{key}.{name}: {value} leads nowhere")
            elif name in declared and not declared[name].accepts(kinds[output]):
                wrong.append(f"{key}.{name}: {kinds[output]} for {declared[name].type}")
    return wrong


@dataclass(frozen=True)
class Outcome:
    package: str
    name: str
    lacking: set[str]
    converted: Converted | None
    error: MissingNodesError | None


@cache
def outcomes() -> list[Outcome]:
    """What became of each template."""
    found = []
    for package, name, document in templates():
        lacking = needed(document) - catalog().keys()
        converted, error = None, None
        try:
            converted = convert(document, catalog(), source=name)
        except MissingNodesError as raised:
            error = raised
        found.append(Outcome(package, name, lacking, converted, error))
    return found


def test_every_template_converts_or_names_the_classes_the_server_lacks():
    counts: Counter[tuple[str, bool]] = Counter()
    for each in outcomes():
        counts[each.package, each.converted is not None] += 1
        if each.error is not None:
            named = {missing.class_type for missing in each.error.missing}
            assert named == each.lacking, each.name
            assert all(kind[:120] in str(each.error) for kind in named), each.name
        else:
            assert not each.lacking, each.name
    assert counts[OLD_TEMPLATES, True] == 101
    assert counts[OLD_TEMPLATES, False] == 71
    # The other package grows with its releases.
    assert counts[NEW_TEMPLATES, True] >= 80
    assert counts[NEW_TEMPLATES, False] >= 500


def test_every_link_of_a_converted_template_leads_to_an_output_of_a_fitting_type():
    graphs = {each.name: each.converted.graph for each in outcomes() if each.converted}
    assert sum(len(graph) for graph in graphs.values()) > 1_000
    assert {name: ill_fitting(graph) for name, graph in graphs.items() if ill_fitting(graph)} == {}


def test_many_missing_nodes_say_where_to_get_them():
    missing = [one for each in outcomes() if each.error for one in each.error.missing]
    told = [each.hint for each in missing if each.hint]
    assert len(told) > 500
    assert any(hint.startswith("in ComfyUI 0.") for hint in told)


def test_the_models_of_the_templates_are_told():
    models = [model for each in outcomes() if each.converted for model in each.converted.models]
    assert len(models) > 100
    assert all(each.url.startswith("https://") for each in models)
    assert {"checkpoints", "vae", "loras"} <= {each.directory for each in models}
