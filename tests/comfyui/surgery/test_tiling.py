"""Pictures are decoded in tiles, in place, down to a floor."""

from __future__ import annotations

import pytest

from holdfast.comfyui.surgery import tile
from tests.comfyui.surgery.graphs import catalog, hires, inpainted, of, sd15, wan, without


def test_a_decoder_becomes_its_twin_under_the_same_id_with_every_input_it_needs():
    edit = tile(sd15(), catalog())
    assert edit.workflow.graph["dec"] == {
        "class_type": "VAEDecodeTiled",
        "inputs": {
            "samples": ["ks", 0],
            "vae": ["ckpt", 2],
            "tile_size": 512,
            "overlap": 64,
            "temporal_size": 64,
            "temporal_overlap": 8,
        },
    }
    assert edit.change.name == "tiled_vae"
    assert edit.change.nodes == ("dec",)
    assert edit.change.keeps_result
    assert edit.change.words == "node dec (VAEDecodeTiled) decodes in tiles of 512 pixels"


def test_tiles_get_smaller_and_end_at_128_and_then_seams_are_admitted():
    workflow, seen = sd15(), []
    while (edit := tile(workflow, catalog())) is not None:
        workflow = edit.workflow
        inputs = workflow.graph["dec"]["inputs"]
        seen.append((edit.change.name, inputs["tile_size"], inputs["overlap"]))
    assert seen == [("tiled_vae", 512, 64), ("tiled_vae_256", 256, 64), ("tiled_vae_128", 128, 32)]
    assert not tile(tile(sd15(), catalog()).workflow, catalog()).change.keeps_result


def test_a_clip_longer_than_a_tile_of_frames_is_not_the_same_clip():
    assert not tile(wan(81), catalog()).change.keeps_result
    assert tile(wan(33), catalog()).change.keeps_result


def test_only_the_node_that_failed_is_changed_if_it_is_named():
    edit = tile(hires(2, "image"), catalog(), "dec1")
    assert edit.change.nodes == ("dec1",)
    assert edit.workflow.graph["dec"]["class_type"] == "VAEDecode"
    assert tile(hires(2, "image"), catalog(), "ks") is None


def test_encoding_is_tiled_too_but_not_where_it_has_no_twin():
    edit = tile(inpainted("VAEEncode"), catalog(), "lat")
    assert edit.workflow.graph["lat"]["class_type"] == "VAEEncodeTiled"
    assert tile(inpainted(), catalog(), "lat") is None


def test_a_server_without_the_twin_is_not_asked_for_it():
    assert tile(sd15(), without("VAEDecodeTiled")) is None


def test_a_pack_with_a_switch_of_its_own_has_it_switched_on():
    graph = sd15().to_api()
    graph["dec"] = {
        "class_type": "WanVideoDecode",
        "inputs": {"samples": ["ks", 0], "enable_vae_tiling": False},
    }
    edit = tile(of(graph), catalog(), "dec")
    assert edit.workflow.graph["dec"]["inputs"]["enable_vae_tiling"] is True
    assert tile(edit.workflow, catalog(), "dec") is None


@pytest.mark.parametrize("size", [300, 200])
def test_odd_tiles_of_somebody_elses_go_to_the_next_size_down(size):
    workflow = tile(sd15(), catalog()).workflow.with_inputs({"dec.tile_size": size})
    expected = 256 if size > 256 else 128
    edit = tile(workflow, catalog())
    assert edit.workflow.graph["dec"]["inputs"]["tile_size"] == expected
