"""Models are loaded elsewhere or with fewer bits where the server offers it."""

from __future__ import annotations

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.surgery import lower_precision, smaller_text_encoder, text_encoder_on_cpu
from tests.comfyui.surgery.graphs import catalog, flux, sd15, wan


def test_the_text_encoder_moves_to_the_cpu_and_the_picture_stays():
    edit = text_encoder_on_cpu(flux(), catalog())
    assert edit.workflow.graph["clip"]["inputs"]["device"] == "cpu"
    assert edit.change.keeps_result
    assert "CPU" in edit.change.words
    assert text_encoder_on_cpu(edit.workflow, catalog()) is None
    assert text_encoder_on_cpu(sd15(), catalog()) is None
    assert text_encoder_on_cpu(flux(), catalog(), "unet") is None


def test_a_server_that_does_not_offer_it_is_not_asked():
    plain = {"input": {"required": {"clip_name1": ["STRING"]}}, "output": ["CLIP"]}
    old = Catalog({**catalog(), "DualCLIPLoader": Catalog.parse({"x": plain})["x"]})
    assert text_encoder_on_cpu(flux(), old) is None


def test_an_encoder_in_8_bits_is_taken_where_the_server_has_it():
    edit = smaller_text_encoder(wan(), catalog())
    assert edit.workflow.graph["clip"]["inputs"]["clip_name"] == (
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    )
    assert edit.change.words == (
        "text encoder in 8 bits: umt5_xxl_fp8_e4m3fn_scaled.safetensors "
        "instead of umt5_xxl_fp16.safetensors"
    )
    assert smaller_text_encoder(edit.workflow, catalog()) is None
    elsewhere = wan().with_inputs({"clip_name": "other_fp16.safetensors"})
    assert smaller_text_encoder(elsewhere, catalog()) is None


def test_weights_are_loaded_in_8_bits_for_every_model_of_a_pair():
    edit = lower_precision(wan(), catalog())
    for name in ("high", "low"):
        assert edit.workflow.graph[name]["inputs"]["weight_dtype"] == "fp8_e4m3fn"
    assert edit.change.nodes == ("high", "low")
    assert not edit.change.keeps_result
    assert lower_precision(edit.workflow, catalog()) is None


def test_a_file_in_few_bits_already_gains_nothing():
    assert lower_precision(flux(unet="flux1-dev-fp8.safetensors"), catalog()) is None
    assert lower_precision(flux(unet="flux1-dev-Q4_K_S.gguf"), catalog()) is None
    assert lower_precision(sd15(), catalog()) is None
