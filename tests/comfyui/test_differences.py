"""Two workflows are compared by what they make, not by how their nodes are numbered."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.differences import DifferenceKind, differences, matched
from holdfast.comfyui.workflow import Workflow, is_link
from tests.comfyui.graphs import node, painting


def renumbered(workflow, names):
    graph = {
        names[node_id]: {
            "class_type": each["class_type"],
            "inputs": {
                key: [names.get(value[0], value[0]), value[1]] if is_link(value) else value
                for key, value in each["inputs"].items()
            },
        }
        for node_id, each in workflow.graph.items()
    }
    return Workflow(graph, workflow.name)


def shuffled(workflow, seed):
    ids = list(workflow.graph)
    others = ids.copy()
    random.Random(seed).shuffle(others)
    return renumbered(workflow, dict(zip(ids, others, strict=True)))


def words(one, other):
    return [each.words for each in differences(one, other)]


def with_changes(workflow, **changes):
    graph = workflow.to_api()
    for node_id, inputs in changes.items():
        graph[node_id.removeprefix("n")]["inputs"] |= inputs
    return Workflow(graph)


def test_the_same_is_the_same_whatever_order_and_titles():
    graph = dict(reversed(painting().to_api().items()))
    graph["2"]["_meta"] = {"title": "My prompt"}
    assert differences(painting(), Workflow(graph)) == ()


def test_a_value_is_told_with_both():
    (found,) = differences(painting(seed=1), painting(seed=2))
    assert found.kind is DifferenceKind.VALUE
    assert (found.before_id, found.after_id, found.input) == ("5", "5", "seed")
    assert (found.before, found.after) == (1, 2)
    assert found.words == "node 5 (KSampler): seed: 1 -> 2"


def test_true_is_not_one_and_1_0_is():
    one = Workflow({"1": node("X", a=1, b=1)})
    assert words(one, Workflow({"1": node("X", a=True, b=1.0)})) == ["node 1 (X): a: 1 -> True"]


def test_renumbering_alone_is_no_difference():
    for seed in range(20):
        assert differences(painting(), shuffled(painting(), seed)) == ()


def test_a_change_is_found_behind_new_numbers():
    names = {node_id: f"{100 + int(node_id)}" for node_id in painting().graph}
    other = renumbered(painting(seed=9), names)
    assert words(painting(seed=1), other) == ["node 5 (KSampler), now 105: seed: 1 -> 9"]


def test_links_are_told_where_they_lead():
    other = with_changes(painting(), n5={"positive": ["3", 0], "denoise": ["4", 0]})
    assert words(painting(), other) == [
        "node 5 (KSampler): positive: output 0 of node 2 -> output 0 of node 3",
        "node 5 (KSampler): denoise: 1.0 -> output 0 of node 4",
    ]


def test_nodes_and_inputs_that_come_and_go():
    graph = painting().to_api()
    del graph["5"]["inputs"]["cfg"]
    graph["5"]["inputs"]["more"] = "x"
    del graph["3"]
    graph["8"] = node("ImageInvert", image=["6", 0])
    graph["7"]["inputs"]["images"] = ["8", 0]
    graph["5"]["inputs"]["negative"] = ["2", 0]
    found = differences(painting(), Workflow(graph))
    assert {(each.kind.value, each.before_id, each.after_id, each.input) for each in found} == {
        ("node_removed", "3", None, None),
        ("node_added", None, "8", None),
        ("input_removed", "5", "5", "cfg"),
        ("input_added", "5", "5", "more"),
        ("link", "5", "5", "negative"),
        ("link", "7", "7", "images"),
    }


def test_another_class_under_the_same_number_is_another_node():
    graph = painting().to_api()
    graph["6"]["class_type"] = "VAEDecodeTiled"
    told = words(painting(), Workflow(graph))
    assert "node 6 (VAEDecode) is gone" in told
    assert "node 6 (VAEDecodeTiled) is new" in told


def test_a_link_that_leads_nowhere_compares_with_itself():
    one, other = (Workflow({"1": node("X", a=[where, 0])}) for where in ("9", "8"))
    assert differences(one, one) == ()
    assert len(differences(one, other)) == 1


def test_circles_and_thousands_of_nodes_are_compared():
    circle = Workflow({"1": node("X", a=["2", 0]), "2": node("X", a=["1", 0])})
    assert differences(circle, shuffled(circle, 1)) == ()
    chain = {"0": node("X", a=1)} | {str(n): node("X", a=[str(n - 1), 0]) for n in range(1, 5_000)}
    assert differences(Workflow(chain), Workflow(chain)) == ()


def test_escapes_do_not_reach_the_words():
    evil = Workflow({"\x1b": node("\x9b", **{"\x1b": "\x1b]0;"})})
    told = words(painting(), evil) + words(evil, painting())
    assert not {"\x1b", "\x9b"} & set("".join(told))


some_values = st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=2)
some_graphs = st.dictionaries(
    st.sampled_from("123456"),
    st.builds(
        lambda name, inputs: node(name, **inputs),
        st.sampled_from("AB"),
        st.dictionaries(
            st.sampled_from("xyz"),
            some_values | st.tuples(st.sampled_from("1234569"), st.integers(0, 2)).map(list),
            max_size=3,
        ),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(some_graphs, some_graphs)
def test_every_node_is_matched_at_most_once_and_only_with_its_class(one, other):
    pairs = matched(one, other)
    assert len(set(pairs.values())) == len(pairs)
    assert all(one[a]["class_type"] == other[b]["class_type"] for a, b in pairs.items())
    assert differences(Workflow(one), Workflow(one)) == ()
    there = {each.kind for each in differences(Workflow(one), Workflow(other))}
    assert (DifferenceKind.NODE_REMOVED in there) == (len(pairs) < len(one))
    assert (DifferenceKind.NODE_ADDED in there) == (len(pairs) < len(other))


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(some_graphs, st.integers(0, 99))
def test_no_difference_means_that_one_is_the_other_renumbered(graph, seed):
    one, other = Workflow(graph), shuffled(Workflow(graph), seed)
    if differences(one, other):
        return  # twins whose sources differ only far away may be told as changed
    pairs = matched(one.graph, other.graph)
    assert renumbered(one, pairs).graph == other.graph
