"""What the server lacks is named, all of it, with where it can be had."""

from __future__ import annotations

import pytest

from holdfast.comfyui.page import MissingNode, MissingNodesError, convert
from holdfast.errors import BadInputError
from tests.comfyui.page.pages import catalog, node, page


def refused(*nodes):
    with pytest.raises(MissingNodesError) as caught:
        convert(page(list(nodes)), catalog(), source="mine.json")
    return caught.value


def unknown(node_id, kind, **properties):
    return node(node_id, kind, properties=properties)


def test_all_missing_classes_are_named_each_once():
    error = refused(unknown(1, "One"), unknown(2, "Two"), unknown(3, "One"))
    assert error.missing == (MissingNode("One", ("1", "3")), MissingNode("Two", ("2",)))
    assert str(error) == (
        "mine.json: the server does not have 2 node classes of this workflow: "
        "One (nodes 1, 3); Two (node 2)"
    )


def test_it_is_bad_input_for_those_who_do_not_care_which():
    assert isinstance(refused(unknown(1, "One")), BadInputError)


@pytest.mark.parametrize(
    ("properties", "hint"),
    [
        ({"cnr_id": "kjnodes", "ver": "1.1.2"}, "in the pack kjnodes 1.1.2"),
        ({"cnr_id": "kjnodes"}, "in the pack kjnodes"),
        ({"cnr_id": "comfy-core", "ver": "0.9.1"}, "in ComfyUI 0.9.1 or newer"),
        ({"cnr_id": "comfy-core"}, "in a newer ComfyUI"),
        ({"aux_id": "kijai/nodes", "ver": "5dbcbe"}, "in the pack https://github.com/kijai/nodes"),
        ({"cnr_id": "x" * 500}, "in the pack " + "x" * 80),
        ({"cnr_id": 5, "aux_id": ["x"], "ver": {}}, ""),
        ({"cnr_id": "a\x1b[31m"}, ""),
        ({}, ""),
    ],
)
def test_a_node_that_says_where_it_is_from_gives_a_hint(properties, hint):
    (missing,) = refused(unknown(1, "One", **properties)).missing
    assert missing.hint == hint


def test_the_first_node_that_says_it_counts():
    (missing,) = refused(unknown(1, "One"), unknown(2, "One", cnr_id="pack")).missing
    assert missing.hint == "in the pack pack"
    assert str(missing) == "One (nodes 1, 2; in the pack pack)"


def test_many_nodes_are_counted_in_the_words_and_all_there_in_the_value():
    error = refused(*(unknown(at, "One") for at in range(1, 9)))
    assert "One (nodes 1, 2, 3, 4, 5 and 3 more)" in str(error)
    assert len(error.missing[0].node_ids) == 8


def test_very_many_classes_are_counted_too():
    error = refused(*(unknown(at, f"Class {at}") for at in range(130)))
    assert str(error).endswith("Class 99 (node 99); and 30 more")
    assert len(error.missing) == 130


@pytest.mark.parametrize("mode", [2, 4])
def test_a_node_that_is_off_is_not_missed(mode):
    graph = convert(page([node(1, "One", mode=mode), node(2, "EmptyLatentImage")]), catalog()).graph
    assert graph.keys() == {"2"}


def test_a_subgraph_whose_definition_is_not_in_the_file_is_missed():
    (missing,) = refused(unknown(1, "aaaaaaaa-0000-4000-8000-000000000001")).missing
    assert missing.node_ids == ("1",)
