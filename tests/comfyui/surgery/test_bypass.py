"""Nodes are left out as the page does it, and what only they needed goes as well."""

from __future__ import annotations

from holdfast.comfyui.surgery import bypass, without_class
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import catalog, complaints, of, sd15, upscaled, without


def test_each_output_is_linked_to_the_input_in_its_place():
    edit = bypass(upscaled(), catalog(), ["ctl"])
    inputs = edit.workflow.graph["ks"]["inputs"]
    assert (inputs["positive"], inputs["negative"]) == (["pos", 0], ["neg", 0])
    assert "net" not in edit.workflow.graph, "nothing needs the loader now"
    assert "img" in edit.workflow.graph, "the preview does"
    assert edit.change.words == "left out: node ctl (ControlNetApplyAdvanced)"


def test_outputs_of_two_types_are_linked_each_to_its_own():
    edit = bypass(upscaled(), catalog(), ["lora"])
    assert edit.workflow.graph["ks"]["inputs"]["model"] == ["ckpt", 0]
    assert edit.workflow.graph["pos"]["inputs"]["clip"] == ["ckpt", 1]


def test_a_chain_is_left_out_whole_in_any_order():
    for order in (["up", "face"], ["face", "up"]):
        edit = bypass(upscaled(), catalog(), order)
        assert edit.workflow.graph["save"]["inputs"]["images"] == ["dec", 0]
        assert "model" not in edit.workflow.graph


def test_a_node_without_a_matching_input_cannot_be_left_out():
    for name in ("ckpt", "dec", "pos", "lat", "no such node"):
        assert bypass(sd15(), catalog(), [name]) is None
    assert bypass(upscaled(), catalog(), ["face", "dec"]) is None, "all or nothing"


def test_the_only_output_cannot_be_left_out():
    assert bypass(sd15(), catalog(), ["save"]) is None


def test_a_node_that_feeds_itself_cannot_be_left_out():
    graph = sd15().to_api()
    graph["loop"] = node("ImageInvert", image=["loop", 0])
    assert bypass(of(graph), catalog(), ["loop"]) is None


def test_what_never_ran_stays_as_it_was():
    graph = upscaled().to_api()
    graph["idle"] = node("ImageInvert", image=["img", 0])
    edit = bypass(of(graph), catalog(), ["up"])
    assert edit.workflow.graph["idle"] == graph["idle"]


def test_what_never_ran_keeps_what_it_is_linked_from():
    graph = upscaled().to_api()
    graph["idle"] = node("ImageUpscaleWithModel", upscale_model=["model", 0], image=["img", 0])
    edit = bypass(of(graph), catalog(), ["up"])
    assert "model" in edit.workflow.graph
    assert complaints(edit.workflow, catalog()) == set()


def test_a_class_the_server_lacks_is_left_out_by_the_types_of_its_neighbours():
    known = without("FaceDetailer", "LoraLoader")
    edit = without_class(upscaled(), known, "FaceDetailer")
    assert edit.workflow.graph["save"]["inputs"]["images"] == ["up", 0]
    assert edit.change.words == (
        "left out, as the server has no FaceDetailer: node face (FaceDetailer)"
    )
    edit = without_class(edit.workflow, known, "LoraLoader")
    assert edit.workflow.graph["neg"]["inputs"]["clip"] == ["ckpt", 1]
    assert complaints(edit.workflow, known) == set()


def test_a_class_that_is_there_or_cannot_be_done_without_stays():
    assert without_class(upscaled(), catalog(), "FaceDetailer") is None
    assert without_class(sd15(), without("VAEDecode"), "VAEDecode") is None
    assert without_class(sd15(), without("SaveImage"), "SaveImage") is None
    assert without_class(sd15(), without("SaveImage"), "never heard of") is None


def test_of_classes_nobody_knows_only_those_that_show_something_are_left_out_at_the_end():
    graph = sd15().to_api()
    graph["x"] = node("Image Comparer (rgthree)", image=["dec", 0])
    edit = without_class(of(graph), catalog(), "Image Comparer (rgthree)")
    assert edit.workflow.graph == sd15().graph
    graph["x"]["class_type"] = "Cloud Uploader"
    assert without_class(of(graph), catalog(), "Cloud Uploader") is None
