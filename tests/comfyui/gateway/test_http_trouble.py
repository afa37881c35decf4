"""The HTTP side in trouble: a long queue, a store out of order, a full disk, and nonsense."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from aiohttp import web

from holdfast.comfyui.gateway.desk import Limits
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores.jobs import JobState, StoreUnavailableError
from tests.comfyui.gateway.http_house import house
from tests.comfyui.gateway.test_passage import upstream
from tests.comfyui.graphs import picture


@pytest.fixture(scope="module")
def server():
    with StandIn(StandInConfig(step_seconds=0.005)) as found:
        yield found


def body(color=1, **more):
    return {"prompt": picture(color=color).to_api(), "client_id": "me", **more}


async def test_a_long_queue_is_told_whole_with_the_first_graphs_only(tmp_path, server):
    async with house(tmp_path, [server], limits=Limits(queue=30)) as home:
        asked = [home.client.post("/prompt", json=body(color)) for color in range(60)]
        ids = {each.json()["prompt_id"] for each in await asyncio.gather(*asked)}
        queue = (await home.client.get("/queue")).json()
        assert queue["queue_running"] == []
        assert {each[1] for each in queue["queue_pending"]} == ids
        assert [bool(each[2]) for each in queue["queue_pending"]] == [True] * 30 + [False] * 30
        numbers = [each[0] for each in queue["queue_pending"]]
        assert numbers == sorted(numbers)
        page = (await home.client.get("/api/jobs?limit=10&offset=55&status=pending")).json()
        assert (len(page["jobs"]), page["pagination"]["total"]) == (5, 60)
        assert page["pagination"]["has_more"] is False
        await home.client.post("/queue", json={"clear": True})
        assert home.store.counts()[JobState.CANCELLED] == 60


async def test_front_goes_first_and_is_told_with_a_negative_number(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        await home.client.post("/prompt", json=body())
        said = (await home.client.post("/prompt", json=body(front=True))).json()
        assert said["number"] == -2
        assert home.store.job(said["prompt_id"]).priority > 0
        said = (await home.client.post("/prompt", json=body(number="7.5"))).json()
        assert said["number"] == 7.5


async def test_a_store_out_of_order_is_told_as_503(tmp_path, server, monkeypatch):
    async with house(tmp_path, [server]) as home:

        def broken(*_args, **_more):
            raise StoreUnavailableError("out of order")

        monkeypatch.setattr(home.store, "accept", broken)
        monkeypatch.setattr(home.store, "job", broken)
        for method, path, sent in (
            ("POST", "/prompt", body()),
            ("POST", "/prompt", body(prompt_id="x")),
            ("GET", "/history/x", None),
            ("GET", "/api/jobs/x", None),
        ):
            said = await home.client.request(method, path, json=sent)
            assert said.status_code == 503, path
            assert said.headers["retry-after"] == "2"
            assert said.json()["error"]["type"] == "unavailable"


async def test_a_full_disk_is_told_as_503_and_leaves_nothing(tmp_path, server, monkeypatch):
    async with house(tmp_path, [server]) as home:

        def full(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(home.blobs, "adopt", full)
        said = await home.client.post("/upload/image", files={"image": ("a.png", b"x")})
        assert said.status_code == 503
        assert list((tmp_path / "blobs" / "staging").iterdir()) == []


async def test_memory_is_freed_on_all_servers(tmp_path):
    freed = []

    async def note(request):
        if request.path == "/free":
            freed.append(await request.json())
        return web.json_response({})

    async with upstream(note) as one, upstream(note) as two:
        async with house(tmp_path, [one, two, "http://127.0.0.1:9"]) as home:
            assert (await home.client.post("/free", json={})).status_code == 200
            assert freed == []
            said = await home.client.post("/api/free", json={"unload_models": True})
            assert (said.status_code, said.content) == (200, b"")
            assert freed == [{"unload_models": True, "free_memory": False}] * 2
            assert (await home.client.post("/free", content=b"")).status_code == 400


ODD = ["", "x", "-1", "1e9", "%00", "..", "9" * 40, "null", "[]", "\u2028", "<b>", "a/b", "%2e%2e"]
PATHS = ["prompt", "queue", "history", "interrupt", "free", "jobs", "jobs/cancel", "jobs/x/cancel"]
PATHS += ["view", "upload/image", "upload/mask", "object_info", "object_info/X", "jobs/x"]
NAMES = ["max_items", "offset", "limit", "status", "filename", "type", "subfolder", "preview"]


async def test_no_nonsense_is_answered_500(tmp_path, server):
    chance = random.Random(7)
    good = json.dumps(body()).encode()

    def content():
        raw = bytearray(good)
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(4))
        pieces = [b'"1"', b"null", b"[]", b"{}", b"NaN", b"1e999", b"true", b'"\\ud800"']
        key = chance.choice(["prompt", "client_id", "extra_data", "delete", "clear", "job_ids"])
        made = b'{"' + key.encode() + b'": ' + chance.choice(pieces) + b"}"
        return chance.choice([bytes(raw), made, chance.randbytes(20), b"", good])

    async with house(tmp_path, [server]) as home:
        for _ in range(400):
            path = chance.choice(["/", "/api/"]) + chance.choice(PATHS)
            if chance.random() < 0.1:
                path += "/" + chance.choice(ODD)
            query = {chance.choice(NAMES): chance.choice(ODD) for _ in range(chance.randrange(4))}
            kind = chance.choice(["application/json", "multipart/form-data; boundary=b", "x", ""])
            said = await home.client.request(
                chance.choice(["GET", "POST", "POST", "PUT", "DELETE"]),
                path,
                params=query,
                content=content(),
                headers={"content-type": kind},
            )
            # What is passed on may come back as the server's own 500; ours is never one.
            assert said.status_code != 500 or "got itself in trouble" in said.text, path
        assert (await home.client.get("/prompt")).status_code == 200
