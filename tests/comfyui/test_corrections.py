"""What has one right answer is corrected and told; everything else is left alone."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.corrections import correct
from holdfast.comfyui.preflight import preflight
from holdfast.comfyui.workflow import Workflow, is_link
from tests.comfyui.graphs import node, painting

KNOWN = Catalog.load("tests/data/object_info.json.gz")
MODELS = ["sd15.safetensors", "sub/xl.safetensors", "Case.safetensors", "case.safetensors"]
INFO = Catalog.parse(
    {name: each.raw for name, each in KNOWN.items()}
    | {
        "CheckpointLoaderSimple": {
            **KNOWN["CheckpointLoaderSimple"].raw,
            "input": {"required": {"ckpt_name": [MODELS, {}]}},
        }
    }
)


def changed(node_id, **inputs):
    graph = painting().to_api()
    graph[node_id]["inputs"] |= inputs
    return Workflow(graph, "mine")


@pytest.mark.parametrize(
    ("node_id", "inputs", "right", "name", "keeps"),
    [
        ("5", {"steps": "20"}, 20, "value_type", True),
        ("5", {"steps": 20.9}, 20, "value_type", True),
        ("5", {"steps": "20.0"}, 20, "value_type", True),
        ("5", {"steps": "20.9"}, 20, "value_type", False),
        ("5", {"steps": 0}, 1, "value_range", False),
        ("5", {"steps": 20_000}, 10_000, "value_range", False),
        ("5", {"cfg": -1}, 0.0, "value_range", False),
        ("5", {"scheduler": "Karras"}, "karras", "value_spelling", True),
        ("1", {"ckpt_name": "sub\\xl.safetensors"}, "sub/xl.safetensors", "value_spelling", True),
        ("1", {"ckpt_name": "SD15.safetensors"}, "sd15.safetensors", "value_spelling", True),
        ("4", {"width": 900}, 896, "size_on_grid", True),
    ],
)
def test_one_value_is_corrected_and_told(node_id, inputs, right, name, keeps):
    before = changed(node_id, **inputs)
    result = correct(before, INFO)
    (edit,) = result.edits
    ((key, wrong),) = inputs.items()
    value = result.workflow.graph[node_id]["inputs"][key]
    assert (value, type(value)) == (right, type(right))
    assert (edit.change.name, edit.change.keeps_result) == (name, keeps)
    assert edit.change.nodes == (node_id,)
    assert f"{key} is {right!r} instead of " in edit.change.words
    assert edit.workflow == result.workflow
    assert result.refused == ()
    assert result.report.problems == ()
    assert before.graph[node_id]["inputs"][key] == wrong  # the one given is as it was
    assert result.workflow.name == "mine"


def test_text_is_made_a_number_brought_into_range_and_onto_the_grid_each_told():
    result = correct(changed("4", width="99999", height="901"), INFO)
    inputs = result.workflow.graph["4"]["inputs"]
    assert (inputs["width"], inputs["height"]) == (16384, 896)
    assert [each.name for each in result.changes] == ["value_range", "value_type", "size_on_grid"]


@pytest.mark.parametrize(
    ("node_id", "inputs"),
    [
        ("5", {"steps": "many"}),
        ("5", {"steps": None}),
        ("5", {"scheduler": "karas"}),
        ("5", {"model": ["99", 0]}),
        ("5", {"model": ["1", 2]}),
        ("1", {"ckpt_name": "xl.safetensors"}),
        ("1", {"ckpt_name": "CASE.safetensors"}),
        ("5", {"latent_image": ["5", 0]}),
    ],
)
def test_what_only_its_author_can_know_is_refused_with_words(node_id, inputs):
    before = changed(node_id, **inputs)
    result = correct(before, INFO)
    assert result.workflow is before
    assert result.edits == ()
    assert len(result.refused) == 1
    assert result.refused[0].words.startswith(f"node {node_id} ")


def test_a_missing_input_is_not_made_up():
    graph = painting().to_api()
    del graph["5"]["inputs"]["steps"]
    result = correct(Workflow(graph), INFO)
    assert result.edits == ()
    assert [each.kind for each in result.refused] == ["required_input_missing"]


def test_a_good_workflow_is_returned_as_it_is():
    workflow = painting()
    assert correct(workflow, INFO).workflow is workflow


def test_a_range_that_no_number_is_in_is_given_up():
    spec = ["INT", {"min": 5.5, "max": 2}]
    info = Catalog.parse({"X": {"input": {"required": {"x": spec}}, "output_node": True}})
    result = correct(Workflow({"1": node("X", x=3)}), info)
    assert len(result.edits) <= 4
    assert result.refused


values = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(),
    st.booleans(),
    st.sampled_from(["64", "9.9", "1e5", "Euler", "sub\\xl.safetensors", "SD15.safetensors"]),
    st.sampled_from([["1", 0], ["9", 9], {"__value__": "77"}, {"__value__": 999_999}]),
)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from("124567"), st.integers(0, 9), values), max_size=5))
def test_correcting_twice_is_correcting_once_and_nothing_correctable_is_left(doings):
    graph = painting().to_api()
    for node_id, index, value in doings:
        names = list(graph[node_id]["inputs"])
        graph[node_id]["inputs"][names[index % len(names)]] = value
    before = Workflow(graph)
    once = correct(before, INFO)
    twice = correct(once.workflow, INFO)
    assert twice.workflow is once.workflow
    assert twice.edits == ()
    left = preflight(once.workflow, INFO).problems
    assert not [each for each in left if each.suggestion and each.suggestion.certain]
    for node_id, was in before.graph.items():
        now = once.workflow.graph[node_id]
        assert now["class_type"] == was["class_type"]
        for name, value in was["inputs"].items():
            if is_link(value):
                assert now["inputs"][name] == value
