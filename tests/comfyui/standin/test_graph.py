"""Order of execution, and which results are still good."""

import pytest

from holdfast.comfyui.standin.graph import Agenda, ResultCache, Shown, freeze, is_link, signatures
from holdfast.comfyui.standin.node import NodeClass


def noop(context):
    raise AssertionError("never run here")


CATALOG = {
    "Mid": NodeClass("Mid", noop),
    "Out": NodeClass("Out", noop, output_node=True),
    "Own": NodeClass("Own", noop, hidden={"me": "UNIQUE_ID"}),
    "File": NodeClass("File", noop, fingerprint=lambda files, inputs: files[inputs["name"]]),
}


def nodes(text):
    """``"a:Mid b:Out<a"`` as a graph."""
    prompt = {}
    for word in text.split():
        head, _, feeds = word.partition("<")
        node_id, _, cls = head.partition(":")
        links = {f"in{n}": [feed, 0] for n, feed in enumerate(feeds.split(","))} if feeds else {}
        prompt[node_id] = {"class_type": cls, "inputs": links}
    return prompt


def order(prompt, cached=()):
    agenda = Agenda(prompt, CATALOG, lambda node_id: node_id in cached)
    for node_id, node in prompt.items():
        if CATALOG[node["class_type"]].output_node:
            agenda.add(node_id)
    ran = []
    while agenda:
        ran.append(agenda.next())
        agenda.done(ran[-1])
    return ran


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:Mid b:Out<a", "a b"),
        # An output node that is ready goes before everything.
        ("a:Mid b:Mid<a c:Out<b d:Out<a", "a d b c"),
        # What feeds an output goes before what only feeds a feeder.
        ("a:Mid b:Mid c:Mid<a d:Out<c,b", "b a c d"),
        ("a:Mid x:Mid<a y:Mid<x o:Out<y p:Out<a", "a p x y o"),
        # What no output needs does not run.
        ("a:Mid z:Mid b:Out<a", "a b"),
    ],
)
def test_order(text, expected):
    assert order(nodes(text)) == expected.split()


def test_cached_needs_are_not_run_but_outputs_are_always_visited():
    prompt = nodes("a:Mid b:Mid<a c:Out<b")
    assert order(prompt, cached={"b"}) == ["c"]
    assert order(prompt, cached={"a", "b", "c"}) == ["c"]


def test_a_cycle_is_an_error():
    with pytest.raises(ValueError, match="cycle"):
        order(nodes("a:Mid<b b:Mid<a c:Out<a"))


@pytest.mark.parametrize(
    ("value", "link"),
    [
        (["1", 0], True),
        (["1", 0.0], True),
        (["1", -1], True),
        ([1, 0], False),
        (["1"], False),
        (("1", 0), False),
        ("1", False),
    ],
)
def test_links(value, link):
    assert is_link(value) is link


def keys(prompt, files=None):
    return signatures(prompt, CATALOG, files or {})


def test_ids_do_not_count_but_content_does():
    one, two = nodes("a:Mid b:Out<a"), nodes("x:Mid y:Out<x")
    assert keys(one)["b"] == keys(two)["y"]
    two["x"]["inputs"]["extra"] = 1
    assert keys(one)["b"] != keys(two)["y"]


def test_class_slot_and_ancestors_count():
    base = keys(nodes("a:Mid b:Mid<a c:Out<b"))["c"]
    other = nodes("a:Mid b:Mid<a c:Out<b")
    other["b"]["inputs"]["in0"][1] = 1
    assert keys(other)["c"] != base
    assert keys(nodes("a:Out b:Mid<a c:Out<b"))["c"] != base


def test_a_class_that_wants_its_id_is_known_by_it():
    assert keys(nodes("a:Own"))["a"] != keys(nodes("b:Own"))["b"]


def test_fingerprints_count_and_a_failing_one_never_matches():
    prompt = {"f": {"class_type": "File", "inputs": {"name": "n"}}}
    assert keys(prompt, {"n": "1"}) == keys(prompt, {"n": "1"})
    assert keys(prompt, {"n": "1"}) != keys(prompt, {"n": "2"})
    assert keys(prompt, {}) != keys(prompt, {})


def test_an_absent_ancestor_never_matches():
    prompt = nodes("b:Out<nowhere")
    assert keys(prompt)["b"] != keys(prompt)["b"]


def test_freeze_makes_json_hashable():
    value = {"b": [1, {"c": None}], "a": "x"}
    assert hash(freeze(value)) == hash(freeze({"a": "x", "b": [1, {"c": None}]}))
    assert freeze([1]) != freeze({"0": 1})


def test_only_the_last_graph_is_remembered():
    cache = ResultCache()
    first, second = nodes("a:Mid b:Out<a"), nodes("c:Own")
    cache.turn_to(keys(first))
    cache.keep("a", (1,))
    cache.keep_shown("b", Shown({"images": []}, {}))
    cache.turn_to(keys(nodes("x:Mid y:Out<x")))
    assert "x" in cache
    assert cache.values("x") == (1,)
    assert cache.shown("y") == Shown({"images": []}, {})
    cache.turn_to(keys(second))
    cache.turn_to(keys(first))
    assert "a" not in cache
    assert cache.values("a") is None
    assert cache.shown("b") is None
