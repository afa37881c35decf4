"""Models are told from other words, and found under the name another system gives them."""

from __future__ import annotations

import pytest

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.model_inputs import model_folder, near_choices, same_choice

KNOWN = Catalog.load("tests/data/object_info.json.gz")


@pytest.mark.parametrize(
    ("class_type", "name", "value", "choices", "folder"),
    [
        ("CheckpointLoaderSimple", "ckpt_name", "a.safetensors", [], "checkpoints"),
        ("CheckpointLoaderSimple", "ckpt_name", None, [], "checkpoints"),
        ("CLIPVisionLoader", "clip_name", "a.safetensors", [], "clip_vision"),
        ("CLIPLoader", "clip_name", "a.safetensors", [], "text_encoders"),
        ("UpscaleModelLoader", "model_name", "x.pth", [], "upscale_models"),
        ("CreateHookLora", "lora_name", "x", [], "loras"),
        ("SomePack", "which", "x.gguf", [], ""),
        ("SomePack", "which", "x", ["a.pt", "b.pt", "none"], ""),
        ("KSampler", "scheduler", "karras", ["karras", "normal"], None),
        ("KSampler", "steps", 4, None, None),
        ("VAELoader", "vae_name", "pixel_space", ["pixel_space"], "vae"),
    ],
)
def test_the_folder_of_a_model(class_type, name, value, choices, folder):
    assert model_folder(class_type, name, value, choices) == folder


def test_what_an_ordinary_class_takes_is_no_model():
    for class_type in ("KSampler", "SaveImage", "CLIPTextEncode", "EmptyLatentImage"):
        for name, spec in KNOWN[class_type].inputs.items():
            assert model_folder(class_type, name, spec.default, spec.choices) is None


@pytest.mark.parametrize(
    ("value", "choices", "same"),
    [
        ("a\\b.pt", ["a/b.pt"], "a/b.pt"),
        ("a/b.pt", ["a\\b.pt"], "a\\b.pt"),
        ("A/B.PT", ["a\\b.pt"], "a\\b.pt"),
        ("b.pt", ["a/b.pt"], None),
        ("X.pt", ["x.pt", "x.PT"], None),
        ("d\\x.pt", ["d/x.pt", "d/X.pt"], "d/x.pt"),
        ("a.pt", [], None),
        (5, ["5"], None),
        ("5", [5, None, ["5"]], None),
    ],
)
def test_the_same_name_written_otherwise(value, choices, same):
    assert same_choice(value, choices) == same


def test_near_names_the_same_file_elsewhere_first():
    names = ["flux1-dev.safetensors", "sub/flux1-schnell.safetensors", "vae.safetensors"]
    assert near_choices("flux1-schnell.safetensors", names)[0] == names[1]
    assert near_choices("flux1_dev.safetensors", names)[0] == names[0]
    assert near_choices("zzzz.safetensors", names) == []
    assert near_choices(None, names) == []


def test_endless_names_and_lists_are_compared_in_bounded_time():
    names = [f"model-{number}.safetensors" for number in range(50_000)]
    assert near_choices("model-7" * 100_000, names) == []
