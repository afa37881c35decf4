"""A picture of one colour is suspect where it was sampled, and nowhere else."""

from __future__ import annotations

from holdfast.comfyui import Workflow
from holdfast.comfyui.suspicion import suspect
from tests.comfyui.graphs import node, painting, picture


def test_a_black_picture_from_a_sampler_is_suspect():
    assert "black" in suspect(painting(), "7", "black")
    assert suspect(painting(), "7", "") == ""


def test_a_picture_nobody_sampled_may_be_of_one_colour():
    assert suspect(picture(), "3", "black") == ""


def test_a_mask_made_of_a_painting_may_be_black():
    graph = painting().to_api()
    graph["8"] = node("ImageToMask", image=["6", 0], channel="red")
    graph["9"] = node("MaskToImage", mask=["8", 0])
    graph["10"] = node("SaveImage", images=["9", 0], filename_prefix="mask")
    workflow = Workflow.from_api(graph)
    assert suspect(workflow, "10", "black") == ""
    assert suspect(workflow, "7", "black")


def test_what_steers_the_sampler_is_not_what_is_seen():
    graph = painting().to_api()
    graph["8"] = node("LoadImage", image="edges.png")
    graph["9"] = node("Canny", image=["8", 0], low_threshold=0.4, high_threshold=0.8)
    graph["5"]["inputs"]["positive"] = ["10", 0]
    graph["10"] = node("ControlNetApply", conditioning=["2", 0], image=["9", 0], strength=1.0)
    assert suspect(Workflow.from_api(graph), "7", "black")


def test_graphs_in_circles_and_unknown_nodes_are_survived():
    graph = {"1": node("A", x=["2", 0]), "2": node("B", x=["1", 0])}
    assert suspect(Workflow.from_api(graph), "1", "black") == ""
    assert suspect(Workflow.from_api(graph), "99", "black") == ""
