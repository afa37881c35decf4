"""Files through the gateway: uploads reach the server that runs the job; no script is shown."""

from __future__ import annotations

import asyncio
import hashlib
import json
from io import BytesIO

import pytest
from PIL import Image

from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.gateway.http_house import house
from tests.comfyui.graphs import node

ANN, BOB = {"x-user": "ann"}, {"x-user": "bob"}


def png(color=(10, 20, 30), size=(32, 32), mode="RGB"):
    written = BytesIO()
    Image.new(mode, size, color).save(written, "PNG")
    return written.getvalue()


def loading(name):
    return {
        "1": node("LoadImage", image=name),
        "2": node("SaveImage", images=["1", 0], filename_prefix="copy"),
    }


async def send(home, content, name="in.png", headers=None, path="/upload/image", **fields):
    return await home.client.post(
        path, files={"image": (name, content)}, data=fields, headers=headers
    )


@pytest.fixture(scope="module")
def server():
    with StandIn(StandInConfig(step_seconds=0.005)) as found:
        yield found


async def test_an_upload_is_kept_once_and_brought_to_the_server_that_runs_the_job(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        said = await send(home, png())
        assert said.json() == {"name": "in.png", "subfolder": "", "type": "input"}
        again = await send(home, png())
        assert again.json()["name"] == "in.png"
        other = await send(home, png((1, 1, 1)))
        assert other.json()["name"] == "in (1).png"
        over = await send(home, png((2, 2, 2)), overwrite="true")
        assert over.json()["name"] == "in.png"
        inner = await send(home, png(), subfolder="deep/er", path="/api/upload/image")
        assert inner.json()["subfolder"] == "deep/er"
        # Offered where the page lets one choose a picture.
        info = (await home.client.get("/object_info/LoadImage")).json()
        choices = info["LoadImage"]["input"]["required"]["image"][0]
        assert {"in.png", "in (1).png", "deep/er/in.png"} <= set(choices)
        job = await home.client.post("/prompt", json={"prompt": loading("in (1).png")})
        assert job.status_code == 200, job.text
        digest = hashlib.sha256(png((1, 1, 1))).hexdigest()
        carried = home.store.body(job.json()["prompt_id"])
        assert carried["files"] == {"1.image": digest}
        async with home.working():
            entry = await home.ended(job.json()["prompt_id"])
        (image,) = entry["outputs"]["2"]["images"]
        shown = await home.client.get("/view", params=image)
        with Image.open(BytesIO(shown.content)) as made:
            assert made.convert("RGB").getpixel((0, 0)) == (1, 1, 1)


async def test_what_is_not_there_is_refused_as_the_server_does(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        said = await home.client.post("/prompt", json={"prompt": loading("absent.png")})
        (error,) = said.json()["node_errors"]["1"]["errors"]
        assert error["type"] == "custom_validation_failed"
        assert error["details"] == "image - Invalid image file: absent.png"


async def test_uploads_are_their_owners_alone(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        await send(home, png(), name="secret.png", headers=ANN)
        params = {"filename": "secret.png", "type": "input"}
        assert (await home.client.get("/view", params=params, headers=ANN)).status_code == 200
        assert (await home.client.get("/view", params=params, headers=BOB)).status_code == 404
        said = await home.client.post(
            "/prompt", json={"prompt": loading("secret.png")}, headers=BOB
        )
        assert said.status_code == 400
        text = (await home.client.get("/object_info/LoadImage", headers=BOB)).text
        assert "secret.png" not in text


async def test_views_can_be_light_partial_and_remembered(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        content = png((9, 8, 7, 100), mode="RGBA")
        await send(home, content)
        params = {"filename": "in.png", "type": "input"}
        light = await home.client.get("/view", params={**params, "preview": "webp;50"})
        assert light.headers["content-type"] == "image/webp"
        assert light.content[8:12] == b"WEBP"
        odd = await home.client.get("/view", params={**params, "preview": "jpeg;99999999999"})
        assert odd.headers["content-type"] == "image/jpeg"
        colours = await home.client.get("/view", params={**params, "channel": "rgb"})
        with Image.open(BytesIO(colours.content)) as made:
            assert made.mode == "RGB"
        alpha = await home.client.get("/view", params={**params, "channel": "a"})
        with Image.open(BytesIO(alpha.content)) as made:
            assert made.getpixel((0, 0))[3] == 100
        part = await home.client.get("/view", params=params, headers={"range": "bytes=0-7"})
        assert (part.status_code, part.content) == (206, content[:8])
        whole = await home.client.get("/view", params=params)
        known = {"if-none-match": whole.headers["etag"]}
        assert (await home.client.get("/view", params=params, headers=known)).status_code == 304
        await send(home, b"no picture at all", name="odd.png")
        params = {"filename": "odd.png", "type": "input", "preview": "webp;90"}
        assert (await home.client.get("/view", params=params)).status_code == 400


@pytest.mark.parametrize(
    "name", ["a.html", "a.svg", "a.js", "a.xhtml", "a.css", "a.xml", "a.pdf", "a"]
)
async def test_what_a_browser_could_run_is_only_saved(tmp_path, server, name):
    async with house(tmp_path, [server]) as home:
        await send(home, b"<script>alert(1)</script>", name=name)
        shown = await home.client.get("/view", params={"filename": name, "type": "input"})
        assert shown.status_code == 200
        assert shown.headers["content-type"] == "application/octet-stream"
        assert shown.headers["content-disposition"].startswith("attachment")
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"filename": "../x.png"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "a\x00b"}, 400),
        ({"filename": ""}, 400),
        ({"filename": "x.png", "type": "models"}, 400),
        ({"filename": "x.png", "subfolder": "../.."}, 403),
        ({"filename": "x.png", "subfolder": "/etc"}, 403),
        ({"filename": "x.png", "subfolder": "a\\..\\..\\b"}, 403),
        ({"filename": "C:\\x.png"}, 400),
        ({"filename": "x" * 5_000}, 400),
        ({}, 404),
        ({"filename": "nowhere.png"}, 404),
    ],
)
async def test_no_name_leads_out_of_its_folder(tmp_path, server, params, status):
    async with house(tmp_path, [server]) as home:
        assert (await home.client.get("/view", params=params)).status_code == status


@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [
        ("../../evil.png", {}, 400),
        ("ok.png", {"subfolder": "../up"}, 403),
        ("ok.png", {"type": "custom_nodes"}, 400),
        ("x" * 300 + ".png", {}, 400),
    ],
)
async def test_uploads_with_bad_names_are_refused(tmp_path, server, name, fields, status):
    async with house(tmp_path, [server]) as home:
        assert (await send(home, png(), name=name, **fields)).status_code == status
        assert home.store.uploads("") == []
        assert (await home.client.post("/upload/image", content=b"x")).status_code == 400
        broken = {"content-type": "multipart/form-data; boundary=b"}
        for raw in (b"", b"--b\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"):
            said = await home.client.post("/upload/image", content=raw, headers=broken)
            assert said.status_code == 400


async def test_uploads_are_bounded(tmp_path, server):
    from holdfast.comfyui.gateway.desk import Limits

    async with house(tmp_path, [server], limits=Limits(upload_bytes=100_000)) as home:
        assert (await send(home, b"x" * 200_000)).status_code == 413

        async def endless():
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            for _ in range(50):
                yield b"x" * 10_000
                await asyncio.sleep(0)

        kind = {"content-type": "multipart/form-data; boundary=b"}
        said = await home.client.post("/upload/image", content=endless(), headers=kind)
        assert said.status_code == 413
        assert list((tmp_path / "blobs" / "staging").iterdir()) == []


async def test_a_mask_becomes_the_transparency_of_its_original(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        await send(home, png((50, 60, 70)), name="orig.png")
        mask = png((0, 0, 0, 77), mode="RGBA")
        ref = json.dumps({"filename": "orig.png", "subfolder": "", "type": "input"})
        said = await send(
            home,
            mask,
            name="masked.png",
            path="/upload/mask",
            subfolder="clipspace",
            original_ref=ref,
        )
        assert said.json() == {"name": "masked.png", "subfolder": "clipspace", "type": "input"}
        params = {"filename": "masked.png", "subfolder": "clipspace", "type": "input"}
        shown = await home.client.get("/view", params=params)
        with Image.open(BytesIO(shown.content)) as made:
            assert made.getpixel((0, 0)) == (50, 60, 70, 77)
        for bad in (
            "",
            "[]",
            "{",
            json.dumps({"filename": "../x"}),
            json.dumps({"filename": "no.png"}),
        ):
            said = await send(home, mask, path="/upload/mask", original_ref=bad)
            assert said.status_code == 400
        sent = {"prompt": loading("clipspace/masked.png [input]")}
        job = await home.client.post("/prompt", json=sent)
        assert list(home.store.body(job.json()["prompt_id"])["files"]) == ["1.image"]


async def test_files_of_the_servers_own_input_folder_are_shown_to_all(tmp_path, server):
    (server.folder / "input").mkdir(exist_ok=True)
    (server.folder / "input" / "theirs.png").write_bytes(png())
    (server.folder / "output").mkdir(exist_ok=True)
    (server.folder / "output" / "made_00001_.png").write_bytes(png())
    async with house(tmp_path, [server]) as home:
        params = {"filename": "theirs.png", "type": "input"}
        shown = await home.client.get("/view", params=params, headers=ANN)
        assert shown.content == png()
        assert "sandbox" in shown.headers["content-security-policy"]
        made = {"filename": "made_00001_.png", "type": "output"}
        assert (await home.client.get("/view", params=made)).status_code == 200
        assert (await home.client.get("/view", params=made, headers=ANN)).status_code == 404
