"""An edit that would leave a graph the server refuses is no edit."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.comfyui.surgery.draft import MOST_NODES, Draft, Place, whole
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import catalog, flux, of, sd15, templates


def drafted() -> Draft:
    return Draft(sd15(), catalog())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", float("nan")),
        ("steps", "many"),
        ("sampler_name", "unheard of"),
        ("model", ["gone", 0]),
        ("model", ["pos", 0]),
    ],
)
def test_a_value_the_server_refuses_makes_no_edit(name, value):
    draft = drafted()
    draft.inputs("ks")[name] = value
    assert draft.finish("x", "x") is None


def test_a_lost_input_or_output_or_nothing_at_all_makes_no_edit():
    assert drafted().finish("x", "x") is None
    draft = drafted()
    del draft.inputs("ks")["latent_image"]
    assert draft.finish("x", "x") is None
    draft = drafted()
    del draft.graph["save"]
    assert draft.finish("x", "x") is None


def test_a_node_that_is_still_needed_cannot_go():
    draft = drafted()
    del draft.graph["pos"]
    assert draft.finish("x", "x") is None


def test_what_was_wrong_before_is_not_held_against_an_edit():
    draft = Draft(sd15().with_inputs({"ks.steps": 0}), catalog())
    draft.inputs("ks")["cfg"] = 5.0
    edit = draft.finish("x", "words", keeps_result=True)
    assert edit.change.nodes == ("ks",)
    assert edit.change.keeps_result
    assert edit.workflow.graph["ks"]["inputs"]["steps"] == 0


def test_what_else_a_workflow_carries_is_kept():
    hinted = next(each for each in templates() if each.models_hinted)
    draft = Draft(hinted, catalog())
    draft.prune(set(draft.graph))
    for name in draft.of(["KSampler", "KSamplerAdvanced"]):
        draft.inputs(name)["cfg"] = 1.25
    edit = draft.finish("x", "x")
    assert edit is None or edit.workflow.models_hinted == hinted.models_hinted


def test_a_new_node_has_what_the_server_takes_by_default_and_an_id_of_its_own():
    draft = Draft(of({"7": node("LoadImage", image="photo.png")}), catalog())
    added = draft.add("ImageScaleBy", image=["7", 0])
    assert added == "8"
    assert draft.inputs("8")["scale_by"] == 1.0
    assert draft.add("KSampler") is None, "a model must be given"
    assert draft.add("Unheard Of") is None


def test_a_value_is_followed_to_where_it_stands_and_no_further():
    draft = Draft(flux(), catalog())
    assert draft.place("lat", "width") == Place("w", "value")
    assert draft.place("lat", "height") == Place("lat", "height")
    assert draft.place("lat", "nothing") is None
    assert draft.place("ks", "latent_image") is None
    draft.inputs("w")["value"] = ["w", 0]
    assert draft.place("lat", "width") is None, "it goes round in circles"


def test_a_workflow_that_is_too_large_is_left_alone():
    graph = {str(number): node("Int", value=number) for number in range(MOST_NODES + 1)}
    draft = Draft(of(graph), catalog())
    assert draft.graph == {}
    assert draft.finish("x", "x") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(64, 64), (64.0, 64), (0, 0), (64.5, None), (-1, None), (True, None), ("64", None),
     (None, None), (10**400, None), (1e308, None), (float("nan"), None), (float("inf"), None)],
)  # fmt: skip
def test_whole_numbers(value: Any, expected):
    assert whole(value) == expected
