"""Subgraphs are unfolded where they are used, each use with its own values."""

from __future__ import annotations

import time

import pytest

from holdfast.comfyui.page import MissingNodesError, convert
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import (
    INNER,
    OUTER,
    catalog,
    checkpoint,
    latent,
    nested,
    node,
    out,
    page,
    port,
    sampler,
    sent,
    slot,
    subgraph,
    text,
    wire,
)


def test_nodes_inside_are_named_by_the_way_to_them():
    assert sent(nested()).keys() == {"1", "2:5:1", "3:5:1", "4"}


def test_each_use_has_its_own_values_down_to_the_innermost_node():
    graph = sent(nested())
    assert graph["2:5:1"] == ("CLIPTextEncode", {"text": "first", "clip": ["1", 1]})
    assert graph["3:5:1"] == ("CLIPTextEncode", {"text": "second", "clip": ["1", 1]})


def test_links_run_into_subgraphs_and_out_of_them():
    inputs = sent(nested())["4"][1]
    assert inputs["positive"] == ["2:5:1", 0]
    assert inputs["negative"] == ["3:5:1", 0]


def test_without_a_value_of_its_own_a_use_has_what_is_saved_inside():
    document = nested(widgets_values=[])
    assert sent(document)["2:5:1"][1]["text"] == "between"
    document["definitions"]["subgraphs"][0]["nodes"][0]["widgets_values"] = []
    assert sent(document)["2:5:1"][1]["text"] == "deepest"


def test_values_may_be_saved_by_name():
    assert sent(nested(widgets_values={"text": "named"}))["2:5:1"][1]["text"] == "named"


def test_a_link_from_outside_wins_over_the_value():
    document = nested(inputs=[slot("clip", "CLIP", 1), slot("text", "STRING", 9, widget=True)])
    document["nodes"].append(node(9, "PrimitiveString", [], [out("STRING", 9)], ["other"]))
    document["links"].append([9, 9, 0, 2, 1, "STRING"])
    assert sent(document)["2:5:1"][1]["text"] == ["9", 0]


def test_a_primitive_outside_writes_into_the_widget_inside():
    document = nested(inputs=[slot("clip", "CLIP", 1), slot("text", "STRING", 9, widget=True)])
    document["nodes"].append(node(9, "PrimitiveNode", [], [out("STRING", 9)], ["written"]))
    document["links"].append([9, 9, 0, 2, 1, "STRING"])
    graph = sent(document)
    assert graph["2:5:1"][1]["text"] == "written"
    assert graph["3:5:1"][1]["text"] == "second"


def test_a_muted_use_sends_nothing_and_gives_nothing():
    graph = sent(nested(mode=2))
    assert graph.keys() == {"1", "3:5:1", "4"}
    assert "positive" not in graph["4"][1]
    assert graph["4"][1]["negative"] == ["3:5:1", 0]


def test_a_bypassed_use_passes_on_what_fits():
    document = nested(mode=4)
    first = document["nodes"][1]
    first["inputs"].append(slot("also", "CONDITIONING", 5))
    outer = document["definitions"]["subgraphs"][0]
    outer["inputs"].append(port("also", "CONDITIONING"))
    document["nodes"].append(text(6, 6, "instead"))
    document["links"] += [[5, 6, 0, 2, 2, "CONDITIONING"], [6, 1, 1, 6, 0, "CLIP"]]
    graph = sent(document)
    assert graph["4"][1]["positive"] == ["6", 0]
    assert graph.keys() == {"1", "3:5:1", "4", "6"}


@pytest.mark.parametrize(("mode", "left"), [(2, {"1", "4"}), (4, {"1", "4"})])
def test_nodes_that_are_off_inside_are_off_in_every_use(mode, left):
    document = nested()
    document["definitions"]["subgraphs"][1]["nodes"][0]["mode"] = mode
    graph = sent(document)
    assert graph.keys() == left
    assert "positive" not in graph["4"][1]


def test_an_input_may_lead_straight_to_an_output():
    through = subgraph(
        INNER,
        [],
        [wire(1, -10, 0, -20, 0, "CLIP")],
        [port("clip", "CLIP", 1)],
        [port("clip", "CLIP", 1)],
    )
    document = page(
        [
            checkpoint(),
            node(2, INNER, [slot("clip", "CLIP", 1)], [out("CLIP", 2)]),
            text(3, 2),
        ],
        [[1, 1, 1, 2, 0, "CLIP"], [2, 2, 0, 3, 0, "CLIP"]],
        definitions={"subgraphs": [through]},
    )
    assert sent(document)["3"][1]["clip"] == ["1", 1]


def seeded(properties, values, inner_values=(5, "fixed", 20, 8, "euler", "normal", 1)):
    """A subgraph that shows seed and steps of a sampler."""
    inside = sampler(1) | {"widgets_values": list(inner_values)}
    inside["inputs"] += [
        slot("seed", "INT", 1, widget=True),
        slot("steps", "INT", 2, widget=True),
    ]
    definition = subgraph(
        OUTER,
        [inside],
        [wire(1, -10, 0, 1, 4, "INT"), wire(2, -10, 1, 1, 5, "INT")],
        [port("seed", "INT", 1), port("steps", "INT", 2)],
        [],
    )
    ins = [slot("seed", "INT", None, widget=True), slot("steps", "INT", None, widget=True)]
    use = node(7, OUTER, ins, [], values, properties=properties)
    return page([use], definitions={"subgraphs": [definition]})


@pytest.mark.parametrize("values", [[77, 30], [77, "randomize", 30]])
def test_the_control_of_a_seed_may_have_a_place_among_the_values(values):
    inputs = sent(seeded({}, values))["7:1"][1]
    assert (inputs["seed"], inputs["steps"], inputs["cfg"]) == (77, 30, 8)


def test_values_given_through_proxies_reach_the_widgets_they_name():
    proxies = [["-1", "steps"], ["1", "cfg"], ["1", "seed"], ["1", "nope"], ["9", "cfg"], 5]
    document = seeded({"proxyWidgets": proxies}, [33, 2.5, 99, 1, 2, 3])
    inputs = sent(document)["7:1"][1]
    assert (inputs["steps"], inputs["cfg"], inputs["seed"]) == (33, 2.5, 99)


def test_proxies_without_values_leave_what_is_inside():
    inputs = sent(seeded({"proxyWidgets": [["1", "steps"], ["1", "cfg"]]}, [None]))["7:1"][1]
    assert (inputs["seed"], inputs["steps"], inputs["cfg"]) == (5, 20, 8)


def test_a_class_missing_inside_is_named_with_the_way_to_each_use():
    document = nested()
    document["definitions"]["subgraphs"][1]["nodes"][0]["type"] = "Unheard"
    with pytest.raises(MissingNodesError, match=r"Unheard \(nodes 2:5:1, 3:5:1\)") as caught:
        convert(document, catalog())
    assert caught.value.missing[0].node_ids == ("2:5:1", "3:5:1")


def test_a_class_missing_in_a_use_that_is_off_is_not_missed():
    document = nested(mode=2)
    document["nodes"][2]["mode"] = 4
    document["definitions"]["subgraphs"][1]["nodes"][0]["type"] = "Unheard"
    assert sent(document).keys() == {"1", "4"}


# Files made to do harm -------------------------------------------------------------------


def chain(count: int, uses: int) -> dict:
    """Subgraphs of which each uses the next ``uses`` times."""
    definitions = []
    for level in range(count):
        below = [node(at, f"level-{level + 1}") for at in range(uses)]
        inside = below if level + 1 < count else [latent(1)]
        definitions.append(subgraph(f"level-{level}", inside, [], [], []))
    return page([node(1, "level-0")], definitions={"subgraphs": definitions})


def test_a_subgraph_that_holds_itself_is_refused():
    document = nested()
    document["definitions"]["subgraphs"][1]["nodes"].append(node(8, OUTER))
    with pytest.raises(BadInputError, match="subgraph '0001' contains itself"):
        convert(document, catalog())


def test_a_file_of_kilobytes_that_unfolds_to_millions_of_nodes_is_refused_at_once():
    started = time.perf_counter()
    with pytest.raises(BadInputError, match=r"unfolded the workflow has more than 20,000 nodes"):
        convert(chain(30, 2), catalog())
    assert time.perf_counter() - started < 5


def test_subgraphs_nested_without_end_are_refused():
    with pytest.raises(BadInputError, match="nested more than 32 deep"):
        convert(chain(500, 1), catalog())
    assert sent(chain(30, 1)).keys() == {"1:" + "0:" * 29 + "1"}


def test_a_long_text_given_to_thousands_of_nodes_is_refused():
    definition = subgraph(
        OUTER,
        [
            text(at, None) | {"inputs": [slot("text", "STRING", at, widget=True)]}
            for at in range(1, 1_001)
        ],
        [wire(at, -10, 0, at, 1, "STRING") for at in range(1, 1_001)],
        [port("text", "STRING", *range(1, 1_001))],
        [],
    )
    ins = [slot("text", "STRING", None, widget=True)]
    document = page(
        [node(1, OUTER, ins, [], ["x" * 100_000])], definitions={"subgraphs": [definition]}
    )
    with pytest.raises(BadInputError, match="is larger than 67,108,864 bytes"):
        convert(document, catalog())


def test_many_uses_of_a_subgraph_that_shows_much_are_refused_before_they_are_made():
    ports = [port(f"p{at}", "CLIP") for at in range(20_000)]
    document = page(
        [node(at, OUTER) for at in range(10_000)],
        definitions={"subgraphs": [subgraph(OUTER, [], [], ports, [])]},
    )
    started = time.perf_counter()
    with pytest.raises(BadInputError, match=r"more than 20,000 nodes"):
        convert(document, catalog())
    assert time.perf_counter() - started < 5
