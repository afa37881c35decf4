"""What a server tells about itself."""

from __future__ import annotations

import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import WIDTH_CONFIG

pytestmark = pytest.mark.conformance

PREFIXES = pytest.mark.parametrize("prefix", ["", "/api"])
CLASSES = (
    "EmptyImage",
    "SolidMask",
    "MaskToImage",
    "ImageScale",
    "ImageScaleBy",
    "ImageInvert",
    "ImageBlur",
    "ImageSharpen",
    "LoadImage",
    "SaveImage",
    "PreviewImage",
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyLatentImage",
    "KSampler",
    "VAEDecode",
)


@PREFIXES
async def test_features_are_previews_with_metadata_and_the_upload_limit(client: Client, prefix):
    features = (await client.get(f"{prefix}/features")).json

    assert features["supports_preview_metadata"] is True
    assert isinstance(features["max_upload_size"], int)


@PREFIXES
async def test_system_stats_describe_the_machine(client: Client, prefix):
    stats = (await client.get(f"{prefix}/system_stats")).json

    assert set(stats) == {"system", "devices"}
    system = stats["system"]
    texts = {"os", "comfyui_version", "python_version", "pytorch_version"}
    assert {name: type(system[name]) for name in texts} == dict.fromkeys(texts, str)
    assert 0 < system["ram_free"] <= system["ram_total"]
    assert all(isinstance(word, str) for word in system["argv"])
    assert isinstance(system["embedded_python"], bool)


async def test_system_stats_describe_the_devices(client: Client):
    devices = (await client.get("/system_stats")).json["devices"]

    assert devices
    for device in devices:
        assert set(device) == {
            "name",
            "type",
            "index",
            "vram_total",
            "vram_free",
            "torch_vram_total",
            "torch_vram_free",
        }
        assert isinstance(device["name"], str)
        assert device["type"] in {"cpu", "cuda", "mps", "xpu", "npu", "mlu", "privateuseone"}
        assert device["index"] is None or isinstance(device["index"], int)
        assert 0 < device["vram_free"] <= device["vram_total"]
        assert 0 <= device["torch_vram_free"] <= device["torch_vram_total"]


@PREFIXES
async def test_one_class_is_described_as_among_all(client: Client, prefix):
    everything = (await client.get(f"{prefix}/object_info")).json

    assert set(CLASSES) <= set(everything)
    for name in CLASSES:
        one = (await client.get(f"{prefix}/object_info/{name}")).json
        assert one == {name: everything[name]}


async def test_a_class_says_what_it_takes_and_gives(client: Client):
    for name, entry in (await client.get("/object_info")).json.items():
        assert {
            "input",
            "input_order",
            "output",
            "output_is_list",
            "output_name",
            "name",
            "display_name",
            "description",
            "python_module",
            "category",
            "output_node",
        } <= set(entry), name
        assert entry["name"] == name
        assert isinstance(entry["output_node"], bool)
        assert len(entry["output"]) == len(entry["output_is_list"]), name
        for group, names in entry["input_order"].items():
            assert names == list(entry["input"][group]), name


async def test_empty_image_is_described_like_this(client: Client):
    (entry,) = (await client.get("/object_info/EmptyImage")).json.values()

    color = {"default": 0, "min": 0, "max": 16777215, "step": 1, "display": "color"}
    assert entry["input"] == {
        "required": {
            "width": WIDTH_CONFIG,
            "height": WIDTH_CONFIG,
            "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            "color": ["INT", color],
        }
    }
    assert entry["input_order"] == {"required": ["width", "height", "batch_size", "color"]}
    assert (entry["output"], entry["output_is_list"]) == (["IMAGE"], [False])
    assert entry["output_node"] is False
    assert entry["category"] == "image"


async def test_hidden_inputs_of_outputs_are_told(client: Client):
    for name in ("SaveImage", "PreviewImage"):
        (entry,) = (await client.get(f"/object_info/{name}")).json.values()
        assert entry["input"]["hidden"] == {
            "prompt": "PROMPT",
            "extra_pnginfo": "EXTRA_PNGINFO",
        }
        assert entry["output_node"] is True
        assert entry["output"] == []


@PREFIXES
async def test_an_unknown_class_is_an_empty_answer(client: Client, prefix):
    reply = await client.get(f"{prefix}/object_info/NoSuchNodeXYZ")

    assert (reply.status, reply.json) == (200, {})


@PREFIXES
async def test_model_folders_are_listed(client: Client, prefix):
    folders = (await client.get(f"{prefix}/models")).json

    assert {"checkpoints", "loras", "vae", "text_encoders", "diffusion_models"} <= set(folders)
    for folder in folders:
        names = (await client.get(f"{prefix}/models/{folder}")).json
        assert all(isinstance(name, str) for name in names)


async def test_models_are_those_that_loaders_offer(client: Client, checkpoints: list[str]):
    assert (await client.get("/models/checkpoints")).json == checkpoints


@PREFIXES
@pytest.mark.parametrize("folder", ["no_such_folder", "unet", "clip"])
async def test_an_unknown_or_former_model_folder_is_not_found(client: Client, prefix, folder):
    reply = await client.get(f"{prefix}/models/{folder}")

    assert (reply.status, reply.body) == (404, b"")


@PREFIXES
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/embeddings", list), ("/extensions", list), ("/settings", dict), ("/users", dict)],
)
async def test_what_the_web_page_asks_for_is_answered(client: Client, prefix, path, kind):
    reply = await client.get(prefix + path)

    assert reply.status == 200
    assert isinstance(reply.json, kind)


async def test_the_log_is_one_text(client: Client):
    reply = await client.get("/internal/logs")

    assert reply.status == 200
    assert isinstance(reply.json, str)


async def test_internal_paths_are_not_under_api(client: Client):
    assert (await client.get("/api/internal/logs")).status == 404


@PREFIXES
@pytest.mark.parametrize("path", ["/hf_conf_nothing", "/queue/1", "/jobs", "/prompt/1"])
async def test_an_unknown_path_is_not_found(client: Client, prefix, path):
    reply = await client.get(prefix + path)

    assert (reply.status, reply.body) == (404, b"")


@pytest.mark.parametrize("path", ["/features", "/object_info", "/system_stats", "/hf_conf_nothing"])
async def test_posting_to_what_is_only_read_is_not_allowed(client: Client, path):
    reply = await client.post(path, json={})

    assert (reply.status, reply.text) == (405, "405: Method Not Allowed")


@PREFIXES
@pytest.mark.parametrize("path", ["/queue", "/history", "/prompt"])
async def test_what_is_read_often_is_there(client: Client, prefix, path):
    reply = await client.get(prefix + path)

    assert reply.status == 200
    assert isinstance(reply.json, dict)
