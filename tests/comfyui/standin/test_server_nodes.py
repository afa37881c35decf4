"""The worker with Holdfast's own node classes: what they say, show and are given."""

import contextlib
import json

import aiohttp
import pytest
from PIL import Image

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig, wire
from tests.comfyui.standin.tiny import Client


@contextlib.asynccontextmanager
async def serving(*faults):
    with StandIn(StandInConfig(faults=faults)) as server:
        async with aiohttp.ClientSession() as session:
            yield Client(server, session)


def empty(width=8):
    inputs = {"width": width, "height": 8, "batch_size": 1, "color": 0}
    return {"class_type": "EmptyImage", "inputs": inputs}


@pytest.mark.parametrize("client_id", ["me", None])
async def test_a_nodes_words_go_to_everybody(client_id):
    async with serving() as client, client.ear() as ear, client.ear("other") as other:
        size = {"class_type": "GetImageSize", "inputs": {"image": ["1", 0], "unique_id": "mine"}}
        scaled = {"width": ["size", 0], "height": ["size", 1], "batch_size": 1, "color": 1}
        prompt = {
            "1": empty(40),
            "size": size,
            "3": {"class_type": "EmptyImage", "inputs": scaled},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        }
        await client.finished(await client.submit(prompt, client_id))
        for one in (ear, other):
            while not await one.silence():
                pass
            (frame,) = one.data("frame 3")
            assert frame == wire.text("size", "width: 40, height: 8\n batch size: 1")
        names = ear.names(progress=True)
        place = names.index("frame 3")
        assert names[place + 1] == "progress_state"
        assert names[place - 1] == ("progress_state" if client_id is None else "executing")


@pytest.mark.parametrize("kind", ["SaveImage", "SaveAnimatedPNG"])
async def test_the_servers_own_values_replace_a_clients(kind):
    async with serving() as client:
        given = {"prompt": "mine", "extra_pnginfo": ["1", 0], "filename_prefix": "a"}
        inputs = {"images": ["1", 0], "fps": 6.0, "compress_level": 4, **given}
        prompt = {"1": empty(), "2": {"class_type": kind, "inputs": inputs}}
        data = {"extra_pnginfo": {"workflow": {"a": 1}}}
        entry = await client.finished(await client.submit(prompt, extra_data=data))
        assert entry["status"]["status_str"] == "success"
        if kind == "SaveImage":
            with Image.open(client.server.folder / "output" / "a_00001_.png") as saved:
                assert json.loads(saved.text["prompt"])["1"] == prompt["1"]
                assert json.loads(saved.text["workflow"]) == {"a": 1}


async def current_inputs(client, prompt):
    entry = await client.finished(await client.submit(prompt, extra_data={"extra_pnginfo": {}}))
    name, error = entry["status"]["messages"][-1]
    assert name == "execution_error"
    return error["current_inputs"]


async def test_an_error_shows_the_hidden_inputs_of_older_classes_only():
    faults = (Fault("raise", node="PreviewImage", times=0), Fault("raise", node="SaveVideo"))
    async with serving(*faults) as client:
        prompt = {"1": empty(), "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        shown = await current_inputs(client, prompt)
        assert list(shown) == ["images", "prompt", "extra_pnginfo"]
        assert shown["images"][0].startswith("tensor([[[[0., 0., 0.],\n")
        assert shown["prompt"] == [str(prompt)]
        assert shown["extra_pnginfo"] == ["{}"]
        prompt["2"] = {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 6.0}}
        video = {"video": ["2", 0], "filename_prefix": "v", "format": "auto", "codec": "auto"}
        prompt["3"] = {"class_type": "SaveVideo", "inputs": {**video, "prompt": "mine"}}
        assert list(await current_inputs(client, prompt)) == list(video)
        # The fault has struck; now it works, and its file says how it was made.
        entry = await client.finished(await client.submit(prompt))
        assert entry["outputs"]["3"]["images"][0]["filename"] == "v_00001_.mp4"


async def test_newer_classes_are_described_in_the_newer_way():
    async with serving() as client:
        blur = (await client.get("/object_info/ImageBlur"))["ImageBlur"]
        assert blur["input"]["required"]["image"] == ["IMAGE", {}]
        assert blur["display_name"] is None
        assert list(blur)[-5:] == [
            "category", "output_node", "deprecated", "experimental", "api_node",
        ]  # fmt: skip
        assert (blur["deprecated"], blur["experimental"], blur["api_node"]) == (False,) * 3
        assert blur["output_tooltips"] == [None]
        video = (await client.get("/object_info/SaveVideo"))["SaveVideo"]
        assert video["display_name"] == "Save Video"
        assert video["input"]["hidden"] == {
            "prompt": ["PROMPT"],
            "extra_pnginfo": ["EXTRA_PNGINFO"],
        }
        old = (await client.get("/object_info/ImageInvert"))["ImageInvert"]
        assert old["input"]["required"]["image"] == ["IMAGE"]
        assert "deprecated" not in old
        noted = (await client.get("/object_info/SaveImage"))["SaveImage"]
        assert noted["input"]["required"]["images"] == ["IMAGE", {}]
