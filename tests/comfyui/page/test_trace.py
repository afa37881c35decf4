"""Values are followed back through everything that only passes them on."""

from __future__ import annotations

import pytest

from holdfast.comfyui.page import convert
from holdfast.comfyui.page import trace as module
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import (
    INNER,
    catalog,
    checkpoint,
    node,
    out,
    page,
    sampler,
    sent,
    slot,
    subgraph,
    text,
)


def reroute(node_id, link, *, mode=0):
    return node(node_id, "Reroute", [slot("", "*", link)], [out("*")], mode=mode)


def test_reroutes_are_seen_through_and_not_sent():
    nodes = [checkpoint(), reroute(2, 1), reroute(3, 2), text(4, 3)]
    links = [[1, 1, 1, 2, 0, "CLIP"], [2, 2, 0, 3, 0, "*"], [3, 3, 0, 4, 0, "CLIP"]]
    graph = sent(page(nodes, links))
    assert graph.keys() == {"1", "4"}
    assert graph["4"][1]["clip"] == ["1", 1]


def test_a_reroute_that_is_not_linked_gives_nothing():
    graph = sent(page([reroute(2, None), text(4, 3)], [[3, 2, 0, 4, 0, "CLIP"]]))
    assert graph["4"][1] == {"text": "p"}


def wires(kind_set, kind_get):
    return [
        checkpoint(),
        node(2, kind_set, [slot("CLIP", "CLIP", 1)], [out("*")], ["the clip"]),
        node(3, kind_get, [], [out("CLIP", 2)], ["the clip"]),
        text(4, 2),
    ]


WIRES = [[1, 1, 1, 2, 0, "CLIP"], [2, 3, 0, 4, 0, "CLIP"]]


@pytest.mark.parametrize("kinds", [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
def test_named_wires_are_seen_through_and_not_sent(kinds):
    graph = sent(page(wires(*kinds), WIRES))
    assert graph.keys() == {"1", "4"}
    assert graph["4"][1]["clip"] == ["1", 1]


@pytest.mark.parametrize("name", ["another", None, 5, ["the clip"]])
def test_a_named_wire_that_nobody_set_gives_nothing(name):
    nodes = wires("SetNode", "GetNode")
    nodes[2]["widgets_values"] = [name]
    assert "clip" not in sent(page(nodes, WIRES))["4"][1]


def test_a_wire_set_outside_reaches_into_a_subgraph():
    nodes = wires("SetNode", "GetNode")
    definition = subgraph(INNER, nodes[2:], [], [], [])
    definition["links"] = [WIRES[1]]
    document = page(
        [*nodes[:2], node(9, INNER)], WIRES[:1], definitions={"subgraphs": [definition]}
    )
    assert sent(document)["9:4"][1]["clip"] == ["1", 1]


def test_notes_and_switches_of_the_page_are_not_sent():
    kinds = ["Note", "MarkdownNote", "Fast Groups Bypasser (rgthree)", "Label (rgthree)"]
    nodes = [node(at, kind) for at, kind in enumerate(kinds)]
    assert sent(page([*nodes, text(9, None)])).keys() == {"9"}


def lora(node_id, model, clip, mode):
    ins = [slot("model", "MODEL", model), slot("clip", "CLIP", clip)]
    outs = [out("MODEL"), out("CLIP")]
    return node(node_id, "LoraLoader", ins, outs, ["l", 1, 1], mode=mode)


LORA = [[1, 1, 0, 2, 0, "MODEL"], [2, 1, 1, 2, 1, "CLIP"], [3, 2, 1, 3, 0, "CLIP"]]


def test_a_bypassed_node_hands_on_the_input_of_the_same_type():
    graph = sent(page([checkpoint(), lora(2, 1, 2, 4), text(3, 3)], LORA))
    assert graph.keys() == {"1", "3"}
    assert graph["3"][1]["clip"] == ["1", 1]


def test_a_bypassed_node_without_a_fitting_input_gives_nothing():
    encode = node(2, "VAEEncode", [slot("pixels", "IMAGE", 1)], [out("LATENT")], mode=4)
    image = node(1, "EmptyImage", [], [out("IMAGE")], [8, 8, 1, 0])
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 3, "LATENT"]]
    assert "latent_image" not in sent(page([image, encode, sampler(3, latents=2)], links))["3"][1]


def test_a_bypassed_node_of_an_unknown_class_is_no_hindrance():
    unknown = lora(2, 1, 2, 4) | {"type": "Unheard"}
    graph = sent(page([checkpoint(), unknown, text(3, 3)], LORA))
    assert graph["3"][1]["clip"] == ["1", 1]


def test_the_same_place_is_preferred_to_an_earlier_input_of_the_same_type():
    combine = node(
        3,
        "ConditioningSetAreaStrength",
        [slot("conditioning", "CONDITIONING", 1)],
        [out("CONDITIONING")],
        [1],
        mode=4,
    )
    nodes = [text(1, None), combine, sampler(4, positive=2)]
    links = [[1, 1, 0, 3, 0, "CONDITIONING"], [2, 3, 0, 4, 1, "CONDITIONING"]]
    assert sent(page(nodes, links))["4"][1]["positive"] == ["1", 0]


def test_a_muted_node_gives_nothing_and_the_widget_it_was_linked_to_counts():
    number = node(1, "PrimitiveInt", [], [out("INT", 1)], [33, "fixed"], mode=2)
    taking = sampler(2)
    taking["inputs"].append(slot("steps", "INT", 1, widget=True))
    graph = sent(page([number, taking], [[1, 1, 0, 2, 4, "INT"]]))
    assert graph.keys() == {"2"}
    assert graph["2"][1]["steps"] == 20


# Files made to do harm -------------------------------------------------------------------


def test_reroutes_in_a_circle_are_refused_and_the_input_named():
    nodes = [reroute(1, 2), reroute(2, 1), text(3, 3)]
    links = [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 1, 0, "*"], [3, 2, 0, 3, 0, "CLIP"]]
    with pytest.raises(BadInputError, match="links into input 'clip' of node 3 go in a circle"):
        convert(page(nodes, links), catalog())


@pytest.mark.parametrize("mode", [0, 4])
def test_a_node_linked_to_itself_ends(mode):
    looped = lora(1, 1, 2, mode)
    links = [[1, 1, 0, 1, 0, "MODEL"], [2, 1, 1, 1, 1, "CLIP"], [3, 1, 1, 2, 0, "CLIP"]]
    document = page([looped, text(2, 3)], links)
    if mode == 0:
        assert sent(document)["1"][1]["model"] == ["1", 0]
    else:
        with pytest.raises(BadInputError, match="in a circle"):
            convert(document, catalog())


def test_a_wire_that_sets_itself_is_refused():
    setter = node(1, "SetNode", [slot("x", "*", 1)], [out("*")], ["a"])
    getter = node(2, "GetNode", [], [out("*", 1, 2)], ["a"])
    links = [[1, 2, 0, 1, 0, "*"], [2, 2, 0, 3, 0, "CLIP"]]
    with pytest.raises(BadInputError, match="in a circle"):
        convert(page([setter, getter, text(3, 2)], links), catalog())


def test_long_ways_from_many_inputs_are_given_up(monkeypatch):
    count = 100
    nodes = [checkpoint(0), *(reroute(at, at) for at in range(1, count + 1))]
    links = [[at, at - 1, 1 if at == 1 else 0, at, 0, "*"] for at in range(1, count + 1)]
    nodes += [text(f"t{at}", f"t{at}") for at in range(count)]
    links += [[f"t{at}", count, 0, f"t{at}", 0, "CLIP"] for at in range(count)]
    monkeypatch.setattr(module, "MAX_STEPS", 2 * count * count)
    with pytest.raises(BadInputError, match="links run through too many nodes"):
        convert(page(nodes, links), catalog())
    monkeypatch.setattr(module, "MAX_STEPS", 3 * count * count)
    assert sent(page(nodes, links))["t99"][1]["clip"] == ["0", 1]
