"""Endpoints: what they answer, and how they refuse."""

import io

import aiohttp
import pytest
from PIL import Image

from tests.comfyui.standin.tiny import graph, running, sampled

TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"


@pytest.mark.parametrize(
    "body",
    [
        '{"prompt": {',
        "",
        "null",
        b'{"prompt": "\xff"}',
        {"prompt": None},
        {"prompt": "hello"},
        {"prompt": graph(), "number": "abc"},
        {"prompt": graph(), "number": None},
        {"prompt": graph(), "extra_data": None, "client_id": "a"},
    ],
)
async def test_a_body_it_does_not_expect_is_a_bare_500(body):
    async with running() as client:
        assert await client.post("/prompt", body) == (500, TROUBLE)
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}


async def test_a_500_closes_the_connection():
    async with running() as client, client.session.post(client.server.url + "/prompt") as answer:
        assert answer.content_type == "text/plain"
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("body", ["{}", "[]", '"x"', '{"client_id": "x"}'])
async def test_no_prompt(body):
    async with running() as client:
        status, answer = await client.post("/prompt", body)
        assert status == 400
        assert answer["error"]["type"] == "no_prompt"
        assert answer["node_errors"] == {}


async def test_refusals_use_up_numbers_too():
    async with running() as client:
        await client.post("/prompt", {"prompt": {}})
        _, answer = await client.post("/prompt", {"prompt": graph()})
        assert answer["number"] == 1
        assert list(answer) == ["prompt_id", "number", "node_errors"]


async def test_a_half_good_graph_is_accepted_with_errors():
    async with running() as client:
        prompt = graph()
        prompt["4"] = {"class_type": "Save", "inputs": {}}
        status, answer = await client.post("/prompt", {"prompt": prompt})
        assert status == 200
        assert answer["node_errors"]["4"]["errors"][0]["type"] == "required_input_missing"
        entry = await client.finished(answer["prompt_id"])
        assert entry["status"]["status_str"] == "success"
        assert list(entry["outputs"]) == ["3"]


@pytest.mark.parametrize(
    ("given", "used"),
    [(12345, "12345"), (None, "None"), ("", ""), ({"a": 1}, "{'a': 1}"), ("a/b c", "a/b c")],
)
async def test_a_prompt_id_is_taken_as_text(given, used):
    async with running() as client:
        assert await client.submit(graph(), prompt_id=given) == used


async def test_too_much_is_413():
    async with running(max_upload=1000) as client:
        status, text = await client.post("/prompt", b"x" * 1001)
        assert status == 413
        assert text.startswith("Maximum request body size 1000 exceeded")
        assert (await client.get("/features"))["max_upload_size"] == 1000


async def test_deleting_from_the_queue():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(50))
        await ear.until("progress")
        for nonce in (1, 2, 3):
            await client.submit(sampled(1, nonce=nonce), prompt_id=f"p{min(nonce, 2)}")
        assert await client.post("/queue", {"delete": ["unknown", "p2"]}) == (200, "")
        pending = (await client.get("/queue"))["queue_pending"]
        assert [job[1] for job in pending] == ["p1", "p2"]
        assert await client.post("/queue", {"clear": True}) == (200, "")
        queue = await client.get("/queue")
        assert (len(queue["queue_running"]), queue["queue_pending"]) == (1, [])
        assert await client.get("/history/p1") == {}
        assert (await client.post("/queue", "nope"))[0] == 500


async def test_history_in_pieces():
    async with running() as client:
        for name in "abcd":
            await client.finished(await client.submit(graph(width=ord(name)), prompt_id=name))
        assert list(await client.get("/history?max_items=2")) == ["c", "d"]
        assert list(await client.get("/history?max_items=2&offset=1")) == ["b", "c"]
        assert await client.get("/history?max_items=abc") == 500
        assert await client.get("/history/unknown") == {}
        assert await client.post("/history", {"delete": ["a", "nobody"]}) == (200, "")
        assert list(await client.get("/history")) == ["b", "c", "d"]
        assert await client.post("/history", {"clear": True}) == (200, "")
        assert await client.get("/history") == {}


@pytest.mark.parametrize("wanted", [[[1]], [{}]], ids=repr)
async def test_what_can_be_no_id_cannot_be_deleted_from_the_history(wanted):
    async with running() as client:
        await client.finished(await client.submit(graph(), prompt_id="kept"))
        assert await client.post("/history", {"delete": wanted}) == (500, TROUBLE)
        assert list(await client.get("/history")) == ["kept"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(None, 200), ("nope", 200), ({}, 200), ("[]", 500), ("null", 500), (b"\xff", 500)],
)
async def test_interrupt_bodies(body, status):
    async with running() as client:
        assert (await client.post("/interrupt", body))[0] == status


@pytest.mark.parametrize(("body", "status"), [({}, 200), (None, 500), ("nope", 500)])
async def test_free_bodies(body, status):
    async with running() as client:
        assert (await client.post("/free", body))[0] == status


async def test_everything_is_under_api_too():
    async with running() as client:
        for path in ("/prompt", "/queue", "/history", "/features", "/models", "/object_info"):
            assert await client.get("/api" + path) == await client.get(path)
        async with client.session.ws_connect(client.server.url + "/api/ws") as socket:
            greeting = await socket.receive_json()
            assert len(greeting["data"]["sid"]) == 32


async def test_nodes_are_described_as_by_a_real_server():
    async with running(without_nodes=frozenset({"Crash"})) as client:
        info = await client.get("/object_info")
        assert "Crash" not in info
        assert list(info["Save"]) == [
            "input", "input_order", "output", "output_is_list", "output_name", "name",
            "display_name", "description", "python_module", "category", "output_node",
        ]  # fmt: skip
        assert info["Save"]["input_order"] == {
            "required": ["images"],
            "optional": ["name"],
            "hidden": ["prompt", "extra_pnginfo"],
        }
        assert info["Load"]["input"]["required"]["name"] == [
            ["sd15.safetensors", "sdxl.safetensors"]
        ]
        assert await client.get("/object_info/Save") == {"Save": info["Save"]}
        assert await client.get("/object_info/Unknown") == {}


async def test_models_are_listed_live():
    settings = {"models": {"checkpoints": ("b.safetensors", "c.safetensors")}}
    async with running(**settings, without_models=frozenset({"c.safetensors"})) as client:
        folder = client.server.folder / "models" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "a.safetensors").write_bytes(b"")
        (folder / "notes.txt").write_bytes(b"")
        assert await client.get("/models/checkpoints") == ["a.safetensors", "b.safetensors"]
        (folder / "a.safetensors").unlink()
        assert await client.get("/models/checkpoints") == ["b.safetensors"]
        assert await client.get("/models/vae") == []
        for former in ("nope", "unet", "clip"):
            assert await client.get(f"/models/{former}") == 404
        assert "loras" in await client.get("/models")


async def test_system_stats():
    async with running(vram_bytes=8 * 1024**3) as client:
        stats = await client.get("/system_stats")
        assert stats["system"]["comfyui_version"] == "0.3.64"
        (device,) = stats["devices"]
        assert (device["type"], device["index"]) == ("cuda", 0)
        assert device["vram_total"] == 8 * 1024**3
    async with running(device="cpu") as client:
        assert (await client.get("/system_stats"))["devices"][0]["name"] == "cpu"


async def test_small_things():
    async with running() as client:
        assert await client.get("/embeddings") == []
        told = await client.get("/holdfast/standin/faults")
        assert (told["faults"], told["fired"]) == ([], [])


def png(color):
    data = io.BytesIO()
    Image.new("RGBA", (4, 4), color).save(data, "PNG")
    return data.getvalue()


async def upload(client, data, name="up.png", path="/upload/image", **fields):
    form = aiohttp.FormData()
    for key, value in fields.items():
        form.add_field(key, value)
    if data is not None:
        form.add_field("image", data, filename=name)
    async with client.session.post(client.server.url + path, data=form) as answer:
        return await answer.json() if answer.status == 200 else answer.status


async def test_uploads():
    async with running() as client:
        first = await upload(client, png("red"))
        assert first == {"name": "up.png", "subfolder": "", "type": "input"}
        assert await upload(client, png("red")) == first
        assert (await upload(client, png("blue")))["name"] == "up (1).png"
        assert (await upload(client, png("blue"), overwrite="true"))["name"] == "up.png"
        deep = await upload(client, png("red"), subfolder="a/b", type="temp")
        assert deep == {"name": "up.png", "subfolder": "a/b", "type": "temp"}
        assert await upload(client, png("red"), subfolder="../..") == 400
        assert await upload(client, None, subfolder="a") == 400
        assert await upload(client, png("red"), type="bogus") == 500
        files = sorted(path.name for path in (client.server.folder / "input").iterdir())
        assert files == ["up (1).png", "up.png"]


async def test_a_mask_becomes_transparency():
    async with running() as client:
        await upload(client, png("red"))
        reference = '{"filename": "up.png", "type": "input"}'
        answer = await upload(
            client, png((0, 0, 0, 7)), "mask.png", "/upload/mask", original_ref=reference
        )
        with Image.open(client.server.folder / "input" / answer["name"]) as picture:
            assert picture.getpixel((0, 0)) == (255, 0, 0, 7)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("filename=no.png", 404),
        ("filename=..no.png", 400),
        ("filename=/etc/passwd", 400),
        ("filename=a.png&type=bogus", 400),
        ("filename=a.png&subfolder=../..", 403),
    ],
)
async def test_views_that_are_refused(query, status):
    async with running() as client:
        assert await client.get(f"/view?{query}") == status


async def test_views():
    async with running() as client:
        await upload(client, png("red"))
        url = client.server.url + "/view?type=input&filename=up.png"
        async with client.session.get(url) as answer:
            assert await answer.read() == png("red")
            assert answer.content_type == "image/png"
            assert answer.headers["Content-Disposition"] == 'filename="up.png"'
        async with client.session.get(url + "&preview=webp;50") as answer:
            assert answer.content_type == "image/webp"
            await answer.read()
        for channel in ("rgb", "a"):
            async with client.session.get(f"{url}&channel={channel}") as answer:
                assert answer.content_type == "image/png"
                await answer.read()
        other = client.server.url + "/view?filename=up.png [input]"
        async with client.session.get(other) as answer:
            assert answer.status == 200
