"""Preflight and the stand-in's `/prompt`, which a real server has confirmed, judge alike."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.preflight import preflight
from holdfast.comfyui.standin.node import Folders
from holdfast.comfyui.standin.nodes import CATALOG
from holdfast.comfyui.standin.objectinfo import object_info
from holdfast.comfyui.standin.validate import validate_prompt
from holdfast.comfyui.workflow import Workflow
from tests.comfyui.graphs import node, painting, picture

HERE = Path(__file__)
THERE = HERE.name
"""A file that is certainly in the server's input folder: nobody opens it."""


class Files:
    """A disk with a few models and no pictures."""

    folders = Folders(HERE.parent, HERE.parent, HERE.parent)

    def models(self, folder):
        return ["sd15.safetensors", "sub/other.safetensors"] if folder == "checkpoints" else []

    def input_images(self):
        return [THERE]


FILES = Files()
INFO = Catalog.parse(json.loads(json.dumps(object_info(CATALOG, FILES))))


def branches() -> dict[str, Any]:
    graph = painting().to_api()
    graph |= {
        "10": node("LoadImage", image=THERE),
        "11": node("ImageScaleBy", image=["6", 0], upscale_method="area", scale_by=2.0),
        "12": node("SaveImage", images=["11", 0], filename_prefix="big"),
        "13": node("PreviewImage", images=["10", 0]),
        "14": node("VAEEncode", pixels=["10", 0], vae=["1", 2]),
        "15": node("FluxGuidance", conditioning=["2", 0], guidance=3.5),
    }
    return graph


SEEDS = [branches(), painting().to_api(), picture().to_api()]

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(-3, 20_000),
    st.floats(),
    st.sampled_from(["64", "64.9", " 7 ", "abc", "", "euler", "normal", "sd15.safetensors"]),
    st.sampled_from(["sub\\other.safetensors", "SD15.safetensors", THERE, "false"]),
    st.text(max_size=5),
    st.sampled_from([{"__value__": 64}, {"__value__": "x"}, {"a": 1}, {}, [], ["1"], [1, 2, 3]]),
)


def edges(class_type: str, name: str) -> list[Any]:
    """Values at, just inside and just outside of what the input takes."""
    cls = INFO.get(class_type)
    spec = None if cls is None else cls.inputs.get(name)
    if spec is None:
        return [0]
    ends = [each for each in (spec.minimum, spec.maximum) if each is not None]
    words = [each for each in spec.choices or () if isinstance(each, str)]
    found = [end + by for end in ends for by in (-1, -0.5, 0, 0.5, 1)]
    return [*found, *map(str, ends), *words, *map(str.upper, words), spec.default]


@st.composite
def mutations(draw) -> dict[str, Any]:
    """A graph with up to four things done to it."""
    graph = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    ids = list(graph)
    for _ in range(draw(st.integers(0, 4))):
        ids = list(graph)
        if not ids:
            break
        node_id = draw(st.sampled_from(ids))
        inputs = graph[node_id]["inputs"]
        name = draw(st.sampled_from([*inputs, "unknown_input"]))
        match draw(st.sampled_from(["value", "link", "odd link", "drop", "class", "cut", "new"])):
            case "value":
                near = st.sampled_from(edges(graph[node_id]["class_type"], name))
                inputs[name] = draw(values | near)
            case "link":
                inputs[name] = [draw(st.sampled_from(ids)), draw(st.integers(-2, 3))]
            case "odd link":
                source = draw(st.sampled_from(["99", 1, None, node_id]))
                inputs[name] = [source, draw(st.sampled_from([0, 0.5, "0", None, True]))]
            case "drop":
                inputs.pop(name, None)
            case "class":
                graph[node_id]["class_type"] = draw(st.sampled_from([*INFO, "NoSuchNode"]))
            case "cut":
                del graph[node_id]
            case "new":
                graph[f"n{len(graph)}"] = node(draw(st.sampled_from(list(INFO))))
    return graph


def unjust(verdict: Any) -> bool:
    """Whether a file is missed: that is no error before it could be uploaded."""
    kinds = {
        (error["type"], entry["class_type"])
        for entry in verdict.node_errors.values()
        for error in entry["errors"]
    }
    return ("custom_validation_failed", "LoadImage") in kinds


@settings(deadline=None, max_examples=600, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_an_error_is_found_exactly_where_the_server_refuses_or_leaves_out(graph):
    verdict = validate_prompt(copy.deepcopy(graph), CATALOG, FILES)
    report = preflight(Workflow(graph), INFO)
    if unjust(verdict):
        event("a picture is missing")
        return
    refuses = verdict.error is not None or bool(verdict.node_errors)
    event(f"refused: {refuses}")
    runs_all = verdict.error is None and set(verdict.outputs) == {
        node_id for node_id in graph if INFO[graph[node_id]["class_type"]].output_node
    }
    assert report.refused is (refuses or not runs_all), report.problems
    assert set(report.runs) == (set() if verdict.error else set(verdict.outputs))


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(mutations())
def test_every_error_the_server_names_is_named_at_the_same_node(graph):
    verdict = validate_prompt(copy.deepcopy(graph), CATALOG, FILES)
    report = preflight(Workflow(graph), INFO)
    ours = {(each.node_id, each.kind) for each in report.errors}
    for node_id, entry in verdict.node_errors.items():
        for error in entry["errors"]:
            kind = error["type"]
            if kind.startswith("exception_during"):
                # Where one surfaces depends on which output was looked at first.
                assert any(each == node_id for each, _ in ours), report.problems
            elif kind != "custom_validation_failed":
                assert (node_id, kind) in ours


ODD = [None, True, False, -1, 0, 1.5, 64.0, "64", "64.9", " 7 ", "abc", "", "1e400", float("nan")]
ODD += [float("inf"), {"__value__": 64}, {"__value__": "x"}, {}, [], ["1"], ["1", 0], ["9", 0]]
ODD += ["9" * 5_000, 10**400]


@pytest.mark.parametrize("name", sorted(set(CATALOG) - {"LoadImage"}))
def test_each_value_of_each_input_is_judged_as_the_server_does(name):
    for each, spec in INFO[name].inputs.items():
        group = "required" if spec.required else "optional"
        declared = {each: getattr(CATALOG[name], group)[each]}
        alone = replace(CATALOG[name], required={}, optional={}, output_node=True)
        classes = {name: replace(alone, **{group: declared})}
        info = Catalog.parse(json.loads(json.dumps(object_info(classes, FILES))))
        for value in [*edges(name, each), *ODD]:
            graph = {"1": node(name, **{each: value})}
            verdict = validate_prompt(copy.deepcopy(graph), classes, FILES)
            found = preflight(Workflow(graph), info).errors
            kinds = [problem.kind for problem in found if problem.at_submission]
            theirs = [error["type"] for error in verdict.node_errors.get("1", {}).get("errors", [])]
            if verdict.error is not None and not theirs:
                assert kinds == ["dependency_cycle"], (each, value)
                continue
            # We name a circle also where the server stops at something else first.
            assert [kind for kind in kinds if kind != "dependency_cycle"] == theirs, (each, value)


@pytest.mark.parametrize("graph", SEEDS)
def test_the_graphs_that_are_mutated_are_fine(graph):
    assert preflight(Workflow(graph), INFO).fine
    assert validate_prompt(copy.deepcopy(graph), CATALOG, FILES).node_errors == {}
