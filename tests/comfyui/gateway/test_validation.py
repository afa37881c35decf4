"""Prompts are judged as a ComfyUI 0.3.64 judged them, word for word, and by the best of servers."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.gateway.guard import Refusal, judge_prompt
from holdfast.comfyui.gateway.validation import judge
from tests.comfyui.graphs import node

WIDTH = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]
EMPTY = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
SHOW = node("PreviewImage", images=["1", 0])
FAILED = "prompt_outputs_failed_validation"


@cache
def catalog():
    return Catalog.load(Path(__file__).parents[2] / "data" / "object_info.json.gz")


def without(name):
    return Catalog({each: cls for each, cls in catalog().items() if each != name})


def empty(**changed):
    return node("EmptyImage", **{**EMPTY["inputs"], **changed})


def refusal_of(graph, catalogs=None, **more):
    with pytest.raises(Refusal) as caught:
        judge(graph, catalogs or [catalog()], **more)
    assert caught.value.status == 400
    return caught.value


def error(kind, message, details, **extra):
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


EXCEPTION = "Exception when validating node"
MISMATCH = "images, received_type(LATENT) mismatch input_type(IMAGE)"


@pytest.mark.parametrize(
    ("graph", "at", "expected", "details"),
    [
        (
            {"1": node("EmptyImage", width=64, height=64, batch_size=1), "2": SHOW},
            "1",
            error(
                "required_input_missing", "Required input is missing", "color", input_name="color"
            ),
            "",
        ),
        (
            {"1": empty(width=0), "2": SHOW},
            "1",
            error(
                "value_smaller_than_min", "Value 0 smaller than min of 1", "width",
                input_name="width", input_config=WIDTH, received_value=0,
            ),
            "",
        ),
        (
            {"1": empty(width=1000000), "2": SHOW},
            "1",
            error(
                "value_bigger_than_max", "Value 1000000 bigger than max of 16384", "width",
                input_name="width", input_config=WIDTH, received_value=1000000,
            ),
            "",
        ),
        (
            {"1": empty(width="abc"), "2": SHOW},
            "1",
            error(
                "invalid_input_type", "Failed to convert an input value to a INT value",
                "width, abc, invalid literal for int() with base 10: 'abc'",
                input_name="width", input_config=WIDTH, received_value="abc",
                exception_message="invalid literal for int() with base 10: 'abc'",
            ),
            "",
        ),
        (
            {"1": node("EmptyImage"), "2": SHOW},
            None,
            None,
            "",
        ),
        (
            {"2": node("PreviewImage", images=["99", 0])},
            "2",
            error(
                "exception_during_validation", EXCEPTION, "'99'",
                exception_type="KeyError", traceback=[],
            ),
            "Exception when validating node: '99'",
        ),
        (
            {"1": EMPTY, "2": node("PreviewImage", images=["1", 5])},
            "2",
            error(
                "exception_during_validation", EXCEPTION, "tuple index out of range",
                exception_type="IndexError", traceback=[],
            ),
            "Exception when validating node: tuple index out of range",
        ),
        (
            {"2": node("PreviewImage", images=["1"])},
            "2",
            error(
                "bad_linked_input",
                "Bad linked input, must be a length-2 list of [node_id, slot_index]", "images",
                input_name="images", input_config=["IMAGE", {}], received_value=["1"],
            ),
            "Bad linked input, must be a length-2 list of [node_id, slot_index]: images",
        ),
        (
            {"1": node("EmptyLatentImage", width=64, height=64, batch_size=1), "2": SHOW},
            "2",
            error(
                "return_type_mismatch", "Return type mismatch between linked nodes",
                MISMATCH,
                input_name="images", input_config=["IMAGE", {}], received_type="LATENT",
                linked_node=["1", 0],
            ),
            f"Return type mismatch between linked nodes: {MISMATCH}",
        ),
        (
            {"1": node("LoadImage", image="does_not_exist.png"), "2": SHOW},
            "1",
            error(
                "custom_validation_failed", "Custom validation failed for node",
                "image - Invalid image file: does_not_exist.png", input_name="image",
            ),
            "",
        ),
        (
            {"1": {"class_type": "EmptyImage"}, "2": SHOW},
            "1",
            error(
                "exception_during_inner_validation", "Exception when validating inner node",
                "'inputs'", input_name="images", input_config=["IMAGE", {}],
                exception_message="'inputs'", exception_type="KeyError", traceback=[],
                linked_node=["1", 0],
            ),
            "",
        ),
    ],
)  # fmt: skip
def test_a_refusal_has_the_servers_own_words(graph, at, expected, details):
    refusal = refusal_of(graph)
    assert (refusal.kind, refusal.details) == (FAILED, details)
    if at is None:
        assert len(refusal.node_errors["1"]["errors"]) == 4
        return
    assert refusal.node_errors == {
        at: {
            "errors": [expected],
            "dependent_outputs": ["2"],
            "class_type": graph[at]["class_type"],
        }
    }


@pytest.mark.parametrize(
    ("graph", "kind", "message", "details"),
    [
        ({"1": EMPTY}, "prompt_no_outputs", "Prompt has no outputs", ""),
        (
            {"1": EMPTY, "2": SHOW, "9": node("NoSuchNode")},
            "invalid_prompt",
            "Cannot execute because node NoSuchNode does not exist.",
            "Node ID '#9'",
        ),
    ],
)
def test_a_whole_prompt_is_refused_in_the_servers_words(graph, kind, message, details):
    refusal = refusal_of(graph)
    told = (refusal.kind, refusal.message, refusal.details, refusal.node_errors)
    assert told == (kind, message, details, {})


@pytest.mark.parametrize(
    "graph",
    [
        {"1": empty(width="64"), "2": SHOW},
        {"1": empty(width=64.9), "2": SHOW},
        {"1": empty(bogus=1), "2": SHOW},
        {"1": EMPTY, "2": node("PreviewImage", images=["1", -1])},
        {"1": EMPTY, "2": SHOW, "9": node("EmptyImage", width=0)},
    ],
)
def test_what_the_server_takes_is_taken(graph):
    accepted = judge(graph, [catalog()])
    assert (accepted.targets, accepted.node_errors) == (("2",), {})


def test_a_circle_is_refused_as_the_server_does_but_told():
    graph = {
        "1": node("ImageInvert", image=["2", 0]),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
    }
    refusal = refusal_of(graph)
    assert (refusal.kind, refusal.node_errors) == (FAILED, {})
    assert "circle" in refusal.details


def test_good_outputs_run_and_bad_ones_are_told():
    graph = {"1": EMPTY, "2": SHOW, "3": empty(width=0), "4": node("PreviewImage", images=["3", 0])}
    accepted = judge(graph, [catalog()])
    assert accepted.targets == ("2",)
    assert accepted.node_errors["3"]["dependent_outputs"] == ["4"]


def test_only_the_outputs_that_are_wanted_count():
    graph = {"1": EMPTY, "2": SHOW, "3": empty(width=0), "4": node("PreviewImage", images=["3", 0])}
    accepted = judge(graph, [catalog()], targets=["2"])
    assert (accepted.targets, accepted.node_errors) == (("2",), {})
    assert refusal_of(graph, targets=["77"]).kind == "prompt_no_outputs"


def test_one_server_that_takes_it_is_enough_and_one_nobody_knows_may():
    graph = {"1": EMPTY, "2": SHOW}
    lacking = without("EmptyImage")
    assert judge(graph, [lacking, catalog()]).targets == ("2",)
    assert judge(graph, [lacking, None]).targets == ()
    assert judge(graph, []).graph == graph
    assert "does not exist" in refusal_of(graph, [lacking]).message
    # Of two that refuse, the one that comes nearer says why.
    wrong = {"1": empty(width=0), "2": SHOW}
    assert refusal_of(wrong, [lacking, catalog()]).kind == FAILED


def test_a_file_the_gateway_has_is_there_and_one_in_a_folder_may_be():
    graph = {"1": node("LoadImage", image="mine.png"), "2": SHOW}
    assert judge(graph, [catalog()], known_files={("1", "image")}).targets == ("2",)
    for name in ("sub/mine.png", "made_00001_.png [output]"):
        graph["1"]["inputs"]["image"] = name
        assert judge(graph, [catalog()]).targets == ("2",)


def test_a_missing_model_is_no_refusal_where_models_are_fetched():
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="new.safetensors"),
        "2": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "3": node("VAEDecode", samples=["2", 0], vae=["1", 2]),
        "4": node("PreviewImage", images=["3", 0]),
    }
    refusal = refusal_of(graph)
    (found,) = refusal.node_errors["1"]["errors"]
    assert found["type"] == "value_not_in_list"
    assert found["extra_info"]["received_value"] == "new.safetensors"
    assert judge(graph, [catalog()], fetches_models=True).targets == ("4",)


def test_a_link_that_would_kill_a_worker_is_refused():
    graph = {"1": empty(unknown=["99", 0]), "2": SHOW}
    assert refusal_of(graph).kind == FAILED
    assert refusal_of(graph, [None]).kind == "invalid_prompt"


def test_what_no_output_needs_and_cannot_be_sent_is_left_out():
    graph = {
        "1": EMPTY, "2": SHOW,
        "8": {"class_type": "EmptyImage"},
        "9": node("ImageInvert", image=["99", 0]),
    }  # fmt: skip
    accepted = judge(graph, [catalog()])
    assert list(accepted.graph) == ["1", "2"]


VALUE = st.one_of(
    st.integers(-5, 20_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.lists(st.sampled_from(["1", "2", "3", "9", 0, 1, -1, None, True]), max_size=3),
    st.dictionaries(st.just("__value__"), st.integers() | st.text(max_size=3), max_size=1),
)
NODE = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(
            [
                "EmptyImage",
                "PreviewImage",
                "ImageInvert",
                "LoadImage",
                "ImageScale",
                "SaveImage",
                "X",
            ]
        )
    },
    optional={
        "inputs": st.dictionaries(
            st.sampled_from(
                [
                    "width",
                    "height",
                    "batch_size",
                    "color",
                    "images",
                    "image",
                    "crop",
                    "odd",
                    "upscale_method",
                    "filename_prefix",
                ]
            ),
            VALUE,
        )
        | VALUE
    },
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(["1", "2", "3", "4"]), NODE, min_size=1))
def test_any_graph_is_taken_or_refused_and_what_is_taken_can_be_sent(graph):
    read = judge_prompt(json.dumps({"prompt": graph}).encode())
    before = copy.deepcopy(read.graph)
    try:
        accepted = judge(read.graph, [catalog(), None] if len(graph) == 4 else [catalog()])
    except Refusal as refusal:
        json.dumps(refusal.body())
    else:
        json.dumps(accepted.node_errors)
        for each in accepted.graph.values():
            assert isinstance(each["inputs"], dict)
    assert read.graph == before
