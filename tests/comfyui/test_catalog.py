"""What a server says of its node classes is read as far as it is shaped as ComfyUI shapes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.errors import BadInputError

REAL = Catalog.load("tests/data/object_info.json.gz")


def described(**changes):
    return {
        "input": {
            "required": {"b": ["INT", {"default": 3, "min": 1, "max": 9, "step": 2}], "a": ["*"]},
            "optional": {"c": [["x", "y"], {}]},
            "hidden": {"id": "UNIQUE_ID"},
        },
        "output": ["IMAGE", "MASK"],
        "output_name": ["picture"],
        "output_is_list": [True],
        "name": "N",
        "display_name": "A node",
        "category": "things",
        "python_module": "nodes",
        "output_node": True,
        **changes,
    }


def one(**changes):
    return Catalog.parse({"N": described(**changes)})["N"]


def test_a_class_is_read():
    node = one()
    assert (node.name, node.display_name, node.category, node.module) == (
        *("N", "A node"),
        *("things", "nodes"),
    )
    assert list(node.inputs) == ["b", "a", "c"]
    assert [each.name for each in node.required] == ["b", "a"]
    assert node.hidden == {"id"}
    assert node.outputs == ("IMAGE", "MASK")
    assert node.output_names == ("picture", "MASK")
    assert node.output_is_list == (True, False)
    assert (node.output_node, node.api_node) == (True, False)
    number = node.inputs["b"]
    assert (number.default, number.minimum, number.maximum, number.step) == (3, 1, 9, 2)


def test_the_servers_order_counts_and_what_it_does_not_order_follows():
    node = one(input_order={"required": ["a", "nowhere", "a", 5]})
    assert list(node.inputs) == ["a", "b", "c"]


@pytest.mark.parametrize("order", [None, 5, [], {"required": "ba"}, {"required": {"a": 1}}])
def test_an_order_that_is_none_is_left_out(order):
    assert list(one(input_order=order).inputs) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "spec",
    [
        [["x", "y"]],
        [["x", "y"], {}],
        ["COMBO", {"options": ["x", "y"]}],
        ["COMBO", {"options": ["x", "y"], "multiselect": False}],
    ],
)
def test_both_spellings_of_a_list_of_values(spec):
    found = one(input={"required": {"c": spec}}).inputs["c"]
    assert (found.type, found.choices, found.default) == ("COMBO", ("x", "y"), "x")
    assert found.is_plain


def test_a_list_that_is_asked_for_elsewhere_has_no_choices():
    found = one(input={"required": {"c": ["COMBO", {"remote": {"route": "/x"}}]}}).inputs["c"]
    assert (found.type, found.choices, found.default) == ("COMBO", None, None)


def test_an_empty_list_of_values_is_one():
    assert one(input={"required": {"c": [[], {}]}}).inputs["c"].choices == ()


def test_a_type_may_stand_alone():
    assert one(input={"required": {"c": "INT"}}).inputs["c"].type == "INT"


@pytest.mark.parametrize("spec", [5, None, {}, [], [5], [None, {}], [{"a": 1}]])
def test_an_input_of_an_odd_shape_is_left_out(spec):
    assert list(one(input={"required": {"odd": spec, "b": ["INT"]}}).inputs) == ["b"]


@pytest.mark.parametrize("options", [5, None, [], "min"])
def test_options_of_an_odd_shape_are_none(options):
    found = one(input={"required": {"b": ["INT", options]}}).inputs["b"]
    assert (dict(found.options), found.minimum) == ({}, None)


@pytest.mark.parametrize("value", [True, "1", None, [1]])
def test_a_limit_that_is_no_number_is_none(value):
    assert one(input={"required": {"b": ["INT", {"min": value}]}}).inputs["b"].minimum is None


@pytest.mark.parametrize("node", [5, None, [], "x", {}, {"input": None}, {"input": []}])
def test_a_class_of_an_odd_shape_is_left_out(node):
    assert list(Catalog.parse({"N": described(), "odd": node})) == ["N"]


def test_groups_outputs_and_words_of_an_odd_shape_are_empty():
    node = one(input={"required": 5, "optional": [], "hidden": 7}, output="IMAGE", display_name=5)
    assert (dict(node.inputs), node.hidden, node.outputs) == ({}, frozenset(), ())
    assert node.display_name == "N"
    node = one(output=["IMAGE", ["a", "b"]], output_name=[1, "x", "y"], output_is_list="yes")
    assert (node.outputs, node.output_names) == (("IMAGE", "COMBO"), ("", "x"))
    assert node.output_is_list == (False, False)
    assert one(output_node="true").output_node is False


def test_an_input_that_must_be_linked_is_not_plain():
    assert not one(input={"required": {"b": ["INT", {"forceInput": True}]}}).inputs["b"].is_plain
    assert one().inputs["b"].is_plain
    assert not one().inputs["a"].is_plain


@pytest.mark.parametrize(
    ("wanted", "produced", "fits"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "MASK", False),
        ("IMAGE,MASK", "MASK", True),
        ("IMAGE, MASK", "MASK,LATENT", True),
        ("*", "MASK", True),
        ("IMAGE", "*", True),
    ],
)
def test_what_may_be_linked(wanted, produced, fits):
    assert one(input={"required": {"a": [wanted]}}).inputs["a"].accepts(produced) is fits


@pytest.mark.parametrize("loaded", [None, 5, [], "x", {}, {"a": 1}, {5: described()}])
def test_what_holds_no_class_is_refused(loaded):
    with pytest.raises(BadInputError, match="object_info"):
        Catalog.parse(loaded)


def test_a_catalog_is_taken_however_it_is_given(tmp_path):
    path = tmp_path / "info.json"
    path.write_text(json.dumps({"N": described()}))
    catalog = Catalog.of(path)
    assert Catalog.of(catalog) is catalog
    assert list(Catalog.of(str(path))) == list(Catalog.of({"N": described()})) == ["N"]
    assert len(catalog) == 1
    assert "N" in catalog
    with pytest.raises(KeyError):
        catalog["M"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(BadInputError, match=r"no\.json: cannot read the object_info file"):
        Catalog.load(tmp_path / "no.json")
    for content in ("{", "[" * 100_000):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(BadInputError, match=r"bad\.json: not JSON"):
            Catalog.load(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("meant", "found"),
    [
        ("KSamplr", "KSampler"),
        ("ksampler", "KSampler"),
        ("CheckpointLoader Simple", "CheckpointLoaderSimple"),
        ("SaveImagee", "SaveImage"),
    ],
)
def test_the_nearest_class_comes_first(meant, found):
    assert REAL.nearest(meant)[0] == found


def test_nothing_is_near_what_is_nothing_like_it():
    assert REAL.nearest("zzzzzzzzzz") == []
    assert len(REAL.nearest("KSampler", count=2)) == 2


def test_a_real_servers_answer_is_read_whole():
    assert len(REAL) > 380
    assert REAL["KSampler"].inputs["seed"].maximum == 2**64 - 1
    assert list(REAL["KSampler"].inputs)[:4] == ["model", "seed", "steps", "cfg"]
    for name, node in REAL.items():
        given = node.raw["input"]
        count = sum(len(given.get(group) or {}) for group in ("required", "optional"))
        assert len(node.inputs) == count, name
        assert len(node.outputs) == len(node.raw["output"])


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
any_class = st.fixed_dictionaries(
    {},
    optional={
        "input": any_json
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("required", "optional", "hidden"), any_json)
        ),
        **{key: any_json for key in described() if key != "input"},
        "input_order": any_json,
        "api_node": any_json,
    },
)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.text(max_size=4), any_class | any_json, max_size=4))
def test_any_answer_is_read_or_refused(loaded):
    try:
        catalog = Catalog.parse(loaded)
    except BadInputError:
        return
    for name, node in catalog.items():
        assert catalog.nearest(name)
        assert len(node.outputs) == len(node.output_names) == len(node.output_is_list)
        for spec in node.inputs.values():
            assert isinstance(spec.type, str)
            assert spec.choices is None or isinstance(spec.choices, tuple)
            _ = (spec.default, spec.minimum, spec.maximum, spec.step, spec.is_plain)
            assert spec.accepts(spec.type) or spec.type.strip() == ""
