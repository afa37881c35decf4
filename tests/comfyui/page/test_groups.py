"""Group nodes, which the page no longer makes, are still read.

What the page makes of them is in ``measured/group_*.json``; here is the rest.
"""

from __future__ import annotations

import copy
import json

import pytest

from holdfast.comfyui.page import MissingNodesError, convert
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import HERE, catalog, sent, slot


def measured(name="group_plain"):
    return json.loads((HERE / "measured" / f"{name}.json").read_bytes())["document"]


def group_of(document):
    return document["extra"]["groupNodes"]["two"]


def test_the_nodes_of_a_group_are_numbered_within_it():
    assert {"3:0", "3:1", "3:2", "3:3"} < sent(measured()).keys()


def test_the_values_of_the_group_win_over_those_inside():
    graph = sent(measured())
    assert graph["3:0"][1]["text"] == "P"
    assert graph["3:1"][1]["text"] == "NG"
    assert graph["3:2"][1]["steps"] == 30


def test_a_group_without_values_has_those_inside():
    document = measured()
    del document["nodes"][2]["widgets_values"]
    graph = sent(document)
    assert graph["3:0"][1]["text"] == "inner pos"
    assert graph["3:2"][1]["steps"] == 20


def test_a_primitive_inside_writes_the_groups_value():
    document = measured()
    group = group_of(document)
    primitive = {"type": "PrimitiveNode", "title": "Luck", "outputs": [], "widgets_values": [5]}
    group["nodes"] = [primitive, *group["nodes"]]
    group["nodes"][3]["inputs"].append(slot("seed", "INT", None, widget=True))
    group["links"] = [
        [0, 0, 3, 4, 13, "INT"],
        *([a + 1, b, c + 1, d, *rest] for a, b, c, d, *rest in group["links"]),
    ]
    group["external"] = [[4, 0, "IMAGE"]]
    values = [123, "fixed", "P", "NG", 30, 5, "dpmpp_2m", "karras", 0.5]
    document["nodes"][2]["widgets_values"] = values
    graph = sent(document)
    assert graph["3:3"][1]["seed"] == 123
    assert graph["3:3"][1]["steps"] == 30
    assert graph["3:1"][1]["text"] == "P"
    assert "3:0" not in graph


def test_an_input_hidden_from_the_group_takes_no_link():
    document = measured()
    group_of(document)["config"] = {"3": {"input": {"vae": {"visible": False}}}}
    assert "vae" not in sent(document)["3:3"][1]


def test_an_output_hidden_from_the_group_leaves_its_place_to_the_next():
    document = measured()
    group = group_of(document)
    group["external"] = [[2, 0, "LATENT"], [3, 0, "IMAGE"]]
    group["config"] = {"2": {"output": {"0": {"visible": False}}}}
    assert sent(document)["4"][1]["images"] == ["3:3", 0]
    del group["config"]
    assert sent(document)["4"][1]["images"] == ["3:2", 0]


def test_a_bypassed_group_is_not_sent():
    document = measured()
    document["nodes"][2]["mode"] = 4
    assert sent(document).keys() == {"1", "2", "4"}


def test_a_group_that_is_not_in_the_file_is_missed():
    document = measured()
    document["extra"] = {}
    with pytest.raises(MissingNodesError, match="workflow>two"):
        convert(document, catalog())


def test_a_class_missing_inside_a_group_is_named():
    document = measured()
    group_of(document)["nodes"][1]["type"] = "Unheard"
    with pytest.raises(MissingNodesError, match=r"Unheard \(node 3:1\)"):
        convert(document, catalog())


def test_a_group_that_holds_itself_is_refused():
    document = measured()
    group_of(document)["nodes"][1]["type"] = "workflow>two"
    with pytest.raises(BadInputError, match="subgraph 'two' contains itself"):
        convert(document, catalog())


@pytest.mark.parametrize("odd", [None, 5, {}, "x"])
def test_a_group_without_nodes_is_refused(odd):
    document = measured()
    group_of(document)["nodes"] = odd
    with pytest.raises(BadInputError, match="no list of at most 20,000 nodes in group node 'two'"):
        convert(document, catalog())


@pytest.mark.parametrize(
    "odd", [None, 5, [], {}, "x", [5], [[]], [[1, 2]], [[9, 0, 9, 0]], {"0": 5}]
)
@pytest.mark.parametrize("where", ["links", "external", "config"])
def test_the_rest_of_a_group_may_be_anything(where, odd):
    document = copy.deepcopy(measured())
    group_of(document)[where] = odd
    assert sent(document)["1"][0] == "CheckpointLoaderSimple"
