"""Files are read in both versions, and what cannot be read is named."""

from __future__ import annotations

import pytest

from holdfast.comfyui.page import convert, is_page
from holdfast.comfyui.page.document import MAX_ID, MAX_NODES, Link, read
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import (
    catalog,
    checkpoint,
    latent,
    nested,
    node,
    out,
    page,
    sampler,
    sent,
    slot,
    text,
    wire,
)

PROMPT = [[1, 1, 1, 2, 0, "CLIP"], [2, 2, 0, 3, 1, "CONDITIONING"]]


def prompted(links=PROMPT, **more):
    return page([checkpoint(), text(2, 1), sampler(3, positive=2)], links, **more)


def test_links_are_read_as_lists_and_as_objects():
    as_lists = prompted()
    as_objects = prompted([wire(*link) for link in PROMPT], version=1)
    assert sent(as_objects) == sent(as_lists)
    assert sent(as_lists)["3"][1]["positive"] == ["2", 0]


def test_links_may_stand_in_an_object_by_their_ids():
    by_id = prompted({str(link[0]): wire(*link) for link in PROMPT})
    assert sent(by_id) == sent(prompted())


def test_ids_are_numbers_or_text():
    nodes = [checkpoint("a"), text("b:1", "x")]
    graph = sent(page(nodes, [["x", "a", 1, "b:1", 0, "CLIP"]]))
    assert graph["b:1"][1]["clip"] == ["a", 1]


@pytest.mark.parametrize(
    "link", [None, 5, [], [1, 2], [1, None, 0, 2, 0, "X"], [1, 1, -1, 2, 0, "X"], {"id": 1}, "x"]
)
def test_a_link_that_is_none_is_left_out(link):
    graph = sent(page([checkpoint(), text(2, 1)], [link]))
    assert graph["2"][1] == {"text": "p"}


def test_a_link_to_a_node_that_is_not_there_is_left_out():
    graph = sent(page([text(2, 1)], [[1, 99, 1, 2, 0, "CLIP"]]))
    assert graph["2"][1] == {"text": "p"}


def test_slots_of_links_may_be_text_as_old_pages_wrote_them():
    document = read(page([checkpoint()], [[7, 1, "2", 3, "0", "VAE"]]))
    assert document.root.links == {"7": Link("1", 2, "3")}


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([5], "a node is 5; a node is an object"),
        ([{}], "a node has the id None; an id is a number or a text"),
        ([{"id": True, "type": "A"}], "has the id True"),
        ([{"id": "x" * (MAX_ID + 1), "type": "A"}], f"a text of at most {MAX_ID} letters"),
        ([{"id": 2**200, "type": "A"}], "an id is a number"),
        ([{"id": 4}], "node 4 has no type"),
        ([{"id": 4, "type": ""}], "node 4 has no type"),
        ([{"id": 4, "type": ["A"]}], "node 4 has no type"),
        ([{"id": 4, "type": "A"}, {"id": "4", "type": "B"}], "two nodes with the id 4"),
    ],
)
def test_what_is_no_node_is_refused_and_named(nodes, words):
    with pytest.raises(BadInputError, match=rf"^mine: .*{words}"):
        convert(page(nodes), catalog(), source="mine")


def test_too_many_nodes_are_refused():
    nodes = [{"id": at, "type": "Note"} for at in range(MAX_NODES + 1)]
    with pytest.raises(BadInputError, match=r"there are 20,001 nodes; at most 20,000"):
        convert(page(nodes), catalog())


def test_what_is_wrong_in_a_subgraph_is_said_with_its_name():
    document = nested()
    document["definitions"]["subgraphs"][1]["nodes"][0]["type"] = None
    with pytest.raises(BadInputError, match=r"node 1 in subgraph '0002' has no type"):
        convert(document, catalog())


def test_a_subgraph_may_be_defined_within_another():
    document = nested()
    outer, inner = document["definitions"]["subgraphs"]
    outer["definitions"] = {"subgraphs": [inner]}
    document["definitions"]["subgraphs"] = [outer]
    assert sent(document) == sent(nested())


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, [5], {"subgraphs": 5}, {"subgraphs": [5]}])
@pytest.mark.parametrize("where", ["definitions", "extra", "groups", "links", "models"])
def test_the_rest_of_a_file_may_be_anything(where, odd):
    document = page([latent(1)]) | {where: odd}
    assert sent(document)["1"][1] == {"width": 512, "height": 512, "batch_size": 1}


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, [5], [{}], [{"name": 5, "link": []}]])
@pytest.mark.parametrize("where", ["inputs", "outputs", "title", "mode", "properties", "flags"])
def test_the_rest_of_a_node_may_be_anything(where, odd):
    document = page([latent(1) | {where: odd}])
    if (where, odd) != ("mode", 4):
        assert sent(document)["1"][1]["width"] == 512


def test_classes_that_were_renamed_long_ago_go_by_their_new_names():
    nodes = [node(1, "T2IAdapterLoader", [], [out("CONTROL_NET")], ["a"])]
    assert sent(page(nodes))["1"] == ("ControlNetLoader", {"control_net_name": "a"})


def test_only_a_list_of_nodes_makes_it_the_pages_format():
    assert is_page(page([]))
    assert not is_page({"nodes": {"class_type": "A", "inputs": {}}})
    assert not is_page([page([])])


def test_an_input_that_a_node_got_while_it_was_edited_is_kept():
    extra = slot("more", "LATENT", 1)
    document = page([latent(1), latent(2) | {"inputs": [extra]}], [[1, 1, 0, 2, 0, "LATENT"]])
    assert sent(document)["2"][1]["more"] == ["1", 0]


def test_an_input_whose_widget_the_class_no_longer_has_is_dropped():
    gone = slot("gone", "LATENT", 1, widget=True)
    document = page([latent(1), latent(2) | {"inputs": [gone]}], [[1, 1, 0, 2, 0, "LATENT"]])
    assert "gone" not in sent(document)["2"][1]
