"""A workflow's needs by a server's own lists, and its model names made to fit them."""

from __future__ import annotations

import pytest

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.models.fitting import FALLBACK, MENDED, Fallbacks, fit
from holdfast.comfyui.models.needs import needs_of, unknown_nodes
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from tests.comfyui.graphs import node


def catalog(**lists):
    """Loaders that take these names."""
    names = {"checkpoints": [], "loras": [], "vae": ["pixel_space"], "upscale": []} | lists
    return Catalog.parse(
        {
            "CheckpointLoaderSimple": loader("ckpt_name", names["checkpoints"]),
            "LoraLoaderModelOnly": loader("lora_name", names["loras"]),
            "VAELoader": loader("vae_name", names["vae"]),
            "UpscaleModelLoader": {
                "input": {"required": {"model_name": ["COMBO", {"options": names["upscale"]}]}},
                "output": ["UPSCALE_MODEL"],
            },
            "KSampler": loader("sampler_name", ["euler"]),
            "MyLoader": loader("weights", ["mine.pth"]),
            "Remote": {
                "input": {"required": {"ckpt_name": ["COMBO", {"remote": {"route": "/x"}}]}},
                "output": [],
            },
        }
    )


def loader(name, choices):
    return {"input": {"required": {name: [choices]}}, "output": ["MODEL"]}


def workflow(**nodes):
    return Workflow.from_api(nodes)


def test_needs_are_what_loaders_name_and_nothing_else():
    graph = workflow(
        a=node("CheckpointLoaderSimple", ckpt_name="x.safetensors"),
        b=node("KSampler", sampler_name="dpm_9000"),
        c=node("VAELoader", vae_name="pixel_space"),
        d=node("VAELoader", vae_name="taesd"),
        e=node("UpscaleModelLoader", model_name="4x.pth"),
        f=node("MyLoader", weights="other.pth"),
        g=node("Remote", ckpt_name="remote.safetensors"),
        h=node("Nobody", ckpt_name="y.safetensors"),
        i=node("CheckpointLoaderSimple", ckpt_name=["a", 0]),
    )
    needs = needs_of(graph, catalog(checkpoints=["x.safetensors"]))
    assert [(n.node_id, n.name, n.folder, n.present) for n in needs] == [
        ("a", "x.safetensors", "checkpoints", True),
        ("d", "taesd", "vae", False),
        ("e", "4x.pth", "upscale_models", False),
        ("f", "other.pth", None, False),
    ]
    assert unknown_nodes(graph, catalog()) == ("Nobody",)


def test_slashes_are_mended_for_this_server_and_the_picture_stays():
    graph = workflow(a=node("CheckpointLoaderSimple", ckpt_name="SDXL/base.safetensors"))
    fitted = fit(graph, catalog(checkpoints=["SDXL\\base.safetensors"]))
    (edit,) = fitted.edits
    assert fitted.workflow.graph["a"]["inputs"]["ckpt_name"] == "SDXL\\base.safetensors"
    assert edit.workflow == fitted.workflow
    assert (edit.change.name, edit.change.nodes, edit.change.keeps_result) == (MENDED, ("a",), True)
    assert edit.change.words == (
        "node a (CheckpointLoaderSimple) loads SDXL\\base.safetensors, which is how this server "
        "writes SDXL/base.safetensors"
    )
    assert graph.graph["a"]["inputs"]["ckpt_name"] == "SDXL/base.safetensors"
    assert not fitted.missing


def test_another_subfolder_is_said_to_be_no_proof():
    graph = workflow(a=node("LoraLoaderModelOnly", lora_name="old/style.safetensors"))
    (edit,) = fit(graph, catalog(loras=["new/style.safetensors"])).edits
    assert not edit.change.keeps_result


def test_every_name_is_mended_each_on_top_of_the_last():
    graph = workflow(
        a=node("CheckpointLoaderSimple", ckpt_name="A.safetensors"),
        b=node("LoraLoaderModelOnly", lora_name="B.safetensors"),
        c=node("VAELoader", vae_name="C.safetensors"),
    )
    fitted = fit(graph, catalog(checkpoints=["a.safetensors"], loras=["b.safetensors"]))
    assert [len(edit.change.nodes) for edit in fitted.edits] == [1, 1]
    last = fitted.edits[-1].workflow.graph
    assert last["a"]["inputs"]["ckpt_name"] == "a.safetensors"
    assert last["b"]["inputs"]["lora_name"] == "b.safetensors"
    assert [need.name for need in fitted.missing] == ["C.safetensors"]
    assert fitted.changes == tuple(edit.change for edit in fitted.edits)


def test_a_fitting_workflow_is_left_alone():
    graph = workflow(a=node("CheckpointLoaderSimple", ckpt_name="x.safetensors"))
    fitted = fit(graph, catalog(checkpoints=["x.safetensors"]))
    assert fitted.workflow is graph
    assert fitted.edits == fitted.missing == ()


def test_another_model_takes_the_place_only_if_declared():
    graph = workflow(a=node("CheckpointLoaderSimple", ckpt_name="flux1-dev.safetensors"))
    there = catalog(checkpoints=["flux1-dev-fp8.safetensors", "fp4/Flux1-dev-fp4.safetensors"])
    assert [need.nearest[0] for need in fit(graph, there).missing] == ["flux1-dev-fp8.safetensors"]

    declared = Fallbacks.of({"flux1-dev.safetensors": ["none.pth", "flux1-dev-fp8.safetensors"]})
    (edit,) = fit(graph, there, declared).edits
    assert edit.change.name == FALLBACK
    assert not edit.change.keeps_result
    assert "in place of flux1-dev.safetensors, as you declared" in edit.change.words
    # What takes the place may be written otherwise here, too.
    declared = Fallbacks.of({"flux1-*.safetensors": ["flux1-dev-fp4.safetensors"]})
    assert fit(graph, there, declared).workflow.graph["a"]["inputs"]["ckpt_name"] == (
        "fp4/Flux1-dev-fp4.safetensors"
    )


def test_a_full_name_counts_before_a_pattern_and_patterns_fit_paths():
    fallbacks = Fallbacks.of(
        {"*.safetensors": ["c.pt"], "X/a.safetensors": ["b.pt"], "sub/*": ["d.pt"]}
    )
    assert fallbacks.for_name("x\\A.safetensors") == ("b.pt", "c.pt")
    assert fallbacks.for_name("sub/a.safetensors") == ("c.pt", "d.pt")
    assert fallbacks.for_name("a.pth") == ()


@pytest.mark.parametrize("others", ["a.pt", ["a*.pt"], ["a"], [7]])
def test_a_fallback_is_a_list_of_full_names(others):
    with pytest.raises(BadInputError, match=r"fallbacks\['x.pt'\]"):
        Fallbacks.of({"x.pt": others})
