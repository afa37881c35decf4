"""Files in and out: /upload/image, /view, and what output nodes write."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests.conformance.client import Client
from tests.conformance.graphs import empty_image, load_image, node, prefix, save
from tests.conformance.pictures import opened, png

pytestmark = pytest.mark.conformance


async def viewed(client: Client, name: str, **params: str) -> bytes:
    reply = await client.get("/view", filename=name, **({"type": "input"} | params))
    assert reply.status == 200
    return reply.body


async def test_an_uploaded_file_is_named_and_can_be_viewed(client: Client):
    name, content = f"{prefix()}.png", png()
    reply = await client.upload(name, content)

    assert reply.status == 200
    assert reply.json == {"name": name, "subfolder": "", "type": "input"}
    assert await viewed(client, name) == content


async def test_upload_is_there_under_api(client: Client):
    form = aiohttp.FormData()
    name = f"{prefix()}.png"
    form.add_field("image", png(), filename=name)

    reply = await client.post("/api/upload/image", data=form)
    assert (reply.status, reply.json["name"]) == (200, name)


async def test_the_same_bytes_keep_their_name(client: Client):
    name, content = f"{prefix()}.png", png()

    names = [(await client.upload(name, content)).json["name"] for _ in range(3)]
    assert names == [name, name, name]


async def test_other_bytes_are_numbered(client: Client):
    stem = prefix()
    contents = [png() for _ in range(3)]

    names = [
        (await client.upload(f"{stem}.png", content)).json["name"]
        for content in (*contents, contents[1])
    ]
    assert names == [f"{stem}.png", f"{stem} (1).png", f"{stem} (2).png", f"{stem} (1).png"]
    assert await viewed(client, names[2]) == contents[2]


@pytest.mark.parametrize("word", ["true", "1"])
async def test_overwriting_keeps_the_name_and_replaces_the_file(client: Client, word):
    name, second = f"{prefix()}.png", png()
    await client.upload(name, png())

    assert (await client.upload(name, second, overwrite=word)).json["name"] == name
    assert await viewed(client, name) == second


@pytest.mark.parametrize("word", ["false", "0", "True", "yes", ""])
async def test_other_words_do_not_overwrite(client: Client, word):
    stem, first = prefix(), png()
    await client.upload(f"{stem}.png", first)

    reply = await client.upload(f"{stem}.png", png(), overwrite=word)
    assert reply.json["name"] == f"{stem} (1).png"
    assert await viewed(client, f"{stem}.png") == first


async def test_a_subfolder_is_made(client: Client):
    folder, content = prefix(), png()
    reply = await client.upload("pic.png", content, subfolder=f"{folder}/deep")

    assert reply.json == {"name": "pic.png", "subfolder": f"{folder}/deep", "type": "input"}
    assert await viewed(client, "pic.png", subfolder=f"{folder}/deep") == content


@pytest.mark.parametrize("kind", ["input", "temp", "output"])
async def test_the_type_chooses_the_folder(client: Client, kind):
    name, content = f"{prefix()}.png", png()

    assert (await client.upload(name, content, type=kind)).json["type"] == kind
    assert await viewed(client, name, type=kind) == content
    for other in {"input", "temp", "output"} - {kind}:
        reply = await client.get("/view", filename=name, type=other)
        assert reply.status == 404


async def test_a_file_need_not_be_a_picture(client: Client):
    name = f"{prefix()}.txt"

    assert (await client.upload(name, b"words")).json["name"] == name
    assert await viewed(client, name) == b"words"


async def test_an_upload_without_an_image_is_a_bad_request(client: Client):
    form = aiohttp.FormData({"overwrite": "true"})
    form.add_field("picture", png(), filename="x.png")

    reply = await client.post("/upload/image", data=form)
    assert (reply.status, reply.body) == (400, b"")


@pytest.mark.parametrize("folder", ["../..", "..", "/etc"])
async def test_an_upload_out_of_its_folder_is_a_bad_request(client: Client, folder):
    reply = await client.upload(f"{prefix()}.png", png(), subfolder=folder)

    assert (reply.status, reply.body) == (400, b"")


async def test_an_upload_of_an_unknown_type_is_an_internal_error(client: Client):
    reply = await client.upload(f"{prefix()}.png", png(), type="bogus")

    assert (reply.status, reply.content_type) == (500, "text/plain")


async def test_an_uploaded_picture_is_offered_and_can_be_loaded(client: Client):
    name = f"{prefix()}.png"
    await client.upload(name, png(width=20, height=10))

    info = (await client.get("/object_info/LoadImage")).json
    assert name in info["LoadImage"]["input"]["required"]["image"][0]
    run = await client.run(load_image(name))
    (picture,) = run.outputs()["2"]["images"]
    reply = await client.get("/view", **picture)
    assert opened(reply.body).size == (20, 10)


async def test_a_picture_can_be_loaded_from_a_subfolder(client: Client):
    folder = prefix()
    await client.upload("pic.png", png(), subfolder=folder)

    run = await client.run(load_image(f"{folder}/pic.png"))
    assert "execution_success" in run.kinds


async def test_a_picture_can_be_loaded_from_another_folder_by_annotation(client: Client):
    run = await client.run(save())
    (picture,) = run.outputs()["3"]["images"]

    again = await client.run(load_image(f"{picture['filename']} [output]"))
    assert "execution_success" in again.kinds


async def test_a_saved_picture_can_be_viewed_as_it_was_told(client: Client):
    run = await client.run(save(width=40, height=30))

    (picture,) = run.outputs()["3"]["images"]
    for path in ("/view", "/api/view"):
        reply = await client.get(path, **picture)
        assert (reply.status, reply.content_type) == (200, "image/png")
        assert opened(reply.body).size == (40, 30)
        disposition = reply.headers["Content-Disposition"]
        assert disposition == f'filename="{picture["filename"]}"'


async def test_a_saved_picture_carries_its_graph(client: Client):
    graph, workflow = save(), {"nodes": [1, 2]}
    run = await client.run(graph, extra_data={"extra_pnginfo": {"workflow": workflow}})

    (picture,) = run.outputs()["3"]["images"]
    text = opened((await client.get("/view", **picture)).body).info
    assert json.loads(text["prompt"]) == graph
    assert json.loads(text["workflow"]) == workflow


async def test_a_saved_picture_has_the_colour_asked_for(client: Client):
    run = await client.run(save(color=0x00FF10))

    (picture,) = run.outputs()["3"]["images"]
    found = opened((await client.get("/view", **picture)).body)
    assert found.mode == "RGB"
    assert found.getpixel((5, 5)) == (0xFF, 0x00, 0xEF)


async def test_a_batch_is_saved_as_so_many_pictures(client: Client):
    run = await client.run(save(batch_size=3))

    for picture in run.outputs()["3"]["images"]:
        assert (await client.get("/view", **picture)).status == 200
    assert len(run.outputs()["3"]["images"]) == 3


async def test_scaling_sets_the_size(client: Client):
    graph = {
        "1": empty_image(),
        "2": node(
            "ImageScale",
            image=["1", 0],
            upscale_method="nearest-exact",
            width=48,
            height=0,
            crop="disabled",
        ),
        "3": node("PreviewImage", images=["2", 0]),
    }
    run = await client.run(graph)

    (picture,) = run.outputs()["3"]["images"]
    assert opened((await client.get("/view", **picture)).body).size == (48, 48)


@pytest.mark.parametrize("wanted", ["webp", "jpeg", "webp;50", "jpeg;20", "gif"])
async def test_a_preview_is_a_smaller_format(client: Client, wanted):
    name = f"{prefix()}.png"
    await client.upload(name, png())

    reply = await client.get("/view", filename=name, type="input", preview=wanted)
    # What is not known becomes webp.
    kind = "jpeg" if wanted.startswith("jpeg") else "webp"
    assert (reply.status, reply.content_type) == (200, f"image/{kind}")
    assert opened(reply.body).format == kind.upper()


async def test_the_channels_of_a_picture_can_be_viewed(client: Client):
    name = f"{prefix()}.png"
    await client.upload(name, png(mode="RGBA"))

    colours = opened(await viewed(client, name, channel="rgb"))
    alpha = opened(await viewed(client, name, channel="a"))
    assert (colours.mode, alpha.mode) == ("RGB", "RGBA")
    assert alpha.getchannel("A").getextrema() == (128, 128)


async def test_the_type_can_be_said_in_the_name(client: Client):
    name, content = f"{prefix()}.png", png()
    await client.upload(name, content)

    reply = await client.get("/view", filename=f"{name} [input]", type="output")
    assert (reply.status, reply.body) == (200, content)


async def test_the_type_is_output_where_none_is_said(client: Client):
    run = await client.run(save())
    (picture,) = run.outputs()["3"]["images"]

    assert (await client.get("/view", filename=picture["filename"])).status == 200


async def test_a_page_is_not_shown_as_one(client: Client):
    name = f"{prefix()}.html"
    await client.upload(name, b"<script></script>")

    reply = await client.get("/view", filename=name, type="input")
    assert (reply.status, reply.content_type) == (200, "application/octet-stream")


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 404),
        ({"filename": "hf_conf_none.png"}, 404),
        ({"filename": "hf_conf_none.png", "subfolder": "hf_conf_none"}, 404),
        ({"filename": ""}, 400),
        ({"filename": "../hf_conf_none.png"}, 400),
        ({"filename": "a/../hf_conf_none.png"}, 400),
        ({"filename": "a..png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "hf_conf_none.png", "type": "bogus"}, 400),
        ({"filename": "hf_conf_none.png", "subfolder": "../.."}, 403),
        ({"filename": "hf_conf_none.png", "subfolder": "/etc"}, 403),
    ],
    ids=repr,
)
async def test_a_file_that_is_absent_or_out_of_bounds_is_not_shown(client: Client, params, status):
    reply = await client.get("/view", **params)

    assert (reply.status, reply.body) == (status, b"")
