"""Everything that speaks of pixels shrinks alike, or nothing does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.surgery import FAMILIES, lower_resolution
from holdfast.comfyui.workflow import Workflow
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import (
    catalog,
    flux,
    hires,
    inpainted,
    of,
    sd15,
    sdxl_refined,
    templates,
    wan,
    without,
)


def test_a_size_shrinks_in_shape_on_the_models_grid_and_the_words_say_by_how_much():
    edit = lower_resolution(wan(), catalog(), 0.5)
    inputs = edit.workflow.graph["lat"]["inputs"]
    assert (inputs["width"], inputs["height"]) == (592, 352)
    assert edit.change.words == "592 x 352 pixels instead of 832 x 480 (52% of the area)"
    assert not edit.change.keeps_result


def test_what_the_prompt_is_told_of_the_size_shrinks_too():
    edit = lower_resolution(sdxl_refined(), catalog(), 0.75)
    inputs = edit.workflow.graph["pos"]["inputs"]
    assert {inputs[name] for name in ("width", "height", "target_width", "target_height")} == {896}
    assert inputs["crop_w"] == 0


def test_a_linked_side_is_changed_where_it_stands_for_all_that_use_it():
    edit = lower_resolution(flux(), catalog(), 0.75)
    graph = edit.workflow.graph
    assert graph["w"]["inputs"]["value"] == 896
    assert graph["lat"]["inputs"]["width"] == graph["shift"]["inputs"]["width"] == ["w", 0]
    assert graph["lat"]["inputs"]["height"] == graph["shift"]["inputs"]["height"] == 672


def test_a_side_that_something_else_is_told_as_well_stays():
    graph = flux().to_api()
    graph["sig"]["inputs"]["steps"] = ["w", 0]
    assert lower_resolution(of(graph), catalog()) is None


def test_the_second_pass_shrinks_with_the_first():
    edit = lower_resolution(hires(), catalog(), 0.75)
    assert edit.workflow.graph["lat"]["inputs"]["width"] == 448
    assert edit.workflow.graph["up"]["inputs"]["width"] == 896


def test_areas_of_the_prompt_shrink_with_the_picture():
    workflow = next(each for each in templates() if each.name == "area_composition")
    edit = lower_resolution(workflow, catalog(), 0.5)
    before, after = workflow.graph, edit.workflow.graph
    latent = next(name for name, each in before.items() if each["class_type"] == "EmptyLatentImage")
    factor = after[latent]["inputs"]["height"] / before[latent]["inputs"]["height"]
    areas = [name for name, each in before.items() if each["class_type"] == "ConditioningSetArea"]
    assert areas
    for name in areas:
        for side in ("height", "y"):
            was, now = (graph[name]["inputs"][side] for graph in (before, after))
            assert now == pytest.approx(was * factor, abs=8)


@given(st.floats(0.05, 0.99), st.integers(1, 128), st.integers(1, 128))
def test_never_less_than_the_share_nor_below_the_models_floor(share, across, down):
    width, height = across * 16, down * 16
    edit = lower_resolution(sd15(1, width, height), catalog(), share)
    if edit is None:
        return
    inputs, family = edit.workflow.graph["lat"]["inputs"], FAMILIES["sd15"]
    now = inputs["width"] * inputs["height"]
    assert width * height * share - 1e-3 <= now < width * height
    assert min(inputs["width"], inputs["height"]) >= family.least_side
    assert now >= family.least_area


def test_a_given_image_is_scaled_first_and_its_mask_is_left():
    edit = lower_resolution(inpainted(), catalog(), 0.75)
    graph = edit.workflow.graph
    scaled = graph["lat"]["inputs"]["pixels"][0]
    assert graph[scaled] == {
        "class_type": "ImageScaleBy",
        "inputs": {"image": ["img", 0], "scale_by": 0.866, "upscale_method": "area"},
    }
    assert graph["lat"]["inputs"]["mask"] == ["img", 1]
    again = lower_resolution(edit.workflow, catalog(), 0.75)
    assert again.workflow.graph.keys() == graph.keys()
    assert again.workflow.graph[scaled]["inputs"]["scale_by"] == 0.75
    assert lower_resolution(inpainted(), without("ImageScaleBy")) is None


def test_an_image_that_is_scaled_to_a_number_of_pixels_is_scaled_to_fewer():
    graph = inpainted("VAEEncode").to_api()
    graph["to"] = node(
        "ImageScaleToTotalPixels", image=["img", 0], upscale_method="area", megapixels=1.0
    )
    graph["lat"]["inputs"]["pixels"] = ["to", 0]
    edit = lower_resolution(of(graph), catalog(), 0.75)
    assert edit.workflow.graph["to"]["inputs"]["megapixels"] == 0.75
    assert edit.workflow.graph.keys() == graph.keys()


def told(kind: str, **inputs: object) -> Workflow:
    graph = sd15().to_api()
    graph["save"]["inputs"]["images"] = ["x", 0]
    graph["x"] = node(kind, image=["dec", 0], **inputs)
    return of(graph)


def test_where_something_unknown_speaks_of_pixels_nothing_is_changed():
    assert lower_resolution(told("Some Crop", target_width=100), catalog()) is None
    assert lower_resolution(told("Some Crop", target_width=0), catalog()) is not None
    assert lower_resolution(told("ImageInvert"), catalog()) is not None


def test_a_size_that_is_computed_is_left():
    graph = sd15().to_api()
    graph["img"] = node("LoadImage", image="photo.png")
    graph["size"] = node("GetImageSize", image=["img", 0])
    graph["lat"]["inputs"]["width"] = ["size", 0]
    assert lower_resolution(of(graph), catalog()) is None


def test_a_size_that_is_handed_on_by_another_node_is_found():
    workflow = next(each for each in templates() if each.name == "video_wan2_2_14B_fun_camera")
    edit = lower_resolution(workflow, catalog(), 0.75)
    assert edit is not None
    changed = [edit.workflow.graph[name]["class_type"] for name in edit.change.nodes]
    assert changed == ["WanCameraEmbedding"]
