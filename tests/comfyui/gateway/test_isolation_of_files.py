"""All users' files lie on the same servers: nobody reaches another's by its name there."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from holdfast.comfyui.gateway.access import Access
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.keys import KeyStore
from holdfast.comfyui.gateway.references import is_ours, unsafe
from holdfast.comfyui.gateway.rest import rest_app
from holdfast.comfyui.gateway.screening import Screening
from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.gateway.http_house import house
from tests.comfyui.gateway.test_http_files import ANN, BOB, loading, png, send
from tests.comfyui.graphs import node

REFUSED = "file_not_found"


@pytest.fixture
def server():
    with StandIn(StandInConfig(step_seconds=0.005)) as found:
        yield found


def until_ended(store, job):
    until = time.monotonic() + 30
    while not store.job(job).state.ended:
        assert time.monotonic() < until
        time.sleep(0.02)


def sent(server):
    """The files on a server that were sent through the gateway."""
    return sorted(Path(server.folder, "input").glob("holdfast_*"))


def emptied(server):
    for each in sent(server):
        each.unlink()


async def ask(home, graph, who):
    return await home.client.post("/prompt", json={"prompt": graph}, headers=who)


async def made(home, graph, who):
    said = await ask(home, graph, who)
    assert said.status_code == 200, said.text
    job = said.json()["prompt_id"]
    async with home.working():
        await asyncio.to_thread(until_ended, home.store, job)
    assert home.store.job(job).state.value == "delivered", home.store.outcome(job)
    return home.store.files(job)


async def test_what_another_made_cannot_be_loaded_and_ones_own_can(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        secret = {
            "1": node("EmptyImage", width=16, height=16, batch_size=1, color=255),
            "2": node("SaveImage", images=["1", 0], filename_prefix="secret"),
        }
        (file,) = await made(home, secret, ANN)
        name = f"{file.filename} [output]"
        for stolen in (
            name,
            f"./{name}",
            f"../output/{file.filename}",
            *(f"{file.filename}{between}[output]" for between in ("", "/", "-", "\t", "\xa0", ".")),
            f"{file.filename}/[temp]",
            "no_suffix [output]",
        ):
            said = await ask(home, loading(stolen), BOB)
            assert said.status_code == 400, stolen
            assert said.json()["error"]["type"] == REFUSED, stolen
        hidden = loading("example.png") | {"3": node("CustomLoader", path=name)}
        assert (await ask(home, hidden, BOB)).status_code == 400
        assert await made(home, loading(name), ANN)


async def test_what_another_sent_is_neither_listed_nor_shown_nor_loaded(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        assert (await send(home, png(), name="me.png", headers=ANN)).status_code == 200
        await made(home, loading("me.png"), ANN)
        there = sent(server)[0].name
        await home.side.info.refresh()
        info = (await home.client.get("/object_info", headers=BOB)).text
        assert "holdfast_" not in info
        assert "holdfast_" not in (await home.client.get("/object_info/LoadImage")).text
        for name in (there, f"./{there}", f"{there} [input]"):
            params = {"filename": name, "type": "input"}
            for who in (ANN, BOB, {}):
                shown = await home.client.get("/view", params=params, headers=who)
                assert shown.status_code in (400, 404), name
            assert (await ask(home, loading(name), BOB)).json()["error"]["type"] == REFUSED, name
        original = f'{{"filename": "{there}", "type": "input"}}'
        mask = await send(
            home, png(mode="RGBA", color=(0, 0, 0, 9)), headers=BOB, path="/upload/mask",
            original_ref=original,
        )  # fmt: skip
        assert mask.status_code == 400


async def test_an_upload_keeps_the_end_of_its_name_on_the_server(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        await send(home, png(), name="Me.PNG")
        await made(home, loading("Me.PNG"), {})
        (there,) = sent(server)
        assert there.suffix == ".png"


async def test_an_upload_that_the_server_has_lost_is_sent_again(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        await send(home, png(), name="me.png")
        await made(home, loading("me.png"), {})
        (there,) = sent(server)
        emptied(server)
        again = loading("me.png")
        again["2"]["inputs"]["filename_prefix"] = "again"
        assert await made(home, again, {})
        assert sent(server) == [there]
        there.write_bytes(b"cut off")
        again["2"]["inputs"]["filename_prefix"] = "and again"
        assert await made(home, again, {})
        (other,) = set(sent(server)) - {there}
        assert other.stat().st_size == len(png())
        assert is_ours(other.name)


def test_names_that_are_ours_or_lead_out_of_their_folder_are_known():
    assert is_ours("holdfast_0123456789abcdef.png")
    assert is_ours("sub/holdfast_0123456789abcdef [input]")
    assert is_ours("holdfast_0123456789abcdef.png/[input]")
    assert is_ours("HOLDFAST_0123456789ABCDEF.PNG")
    assert not is_ours("holdfast_of_mine.png")
    assert not is_ours("a picture of holdfast_0123456789abcdef, in oil")
    for name in ("/etc/passwd", "..\\x.png", "a/../../b.png", "C:/x.png", "\\\\host\\x"):
        assert unsafe(name), name
    for name in ("a.png", "a/b.png", "a..b.png", "clipspace/x.png [input]"):
        assert not unsafe(name), name


async def test_holdfasts_own_interface_looks_workflows_over_as_comfyuis_side_does(tmp_path, server):
    async with house(tmp_path, [server]) as home:
        keys, audit = KeyStore(home.store.engine), AuditLog(home.store.engine)
        api = rest_app(
            home.store,
            home.comfy,
            keys,
            audit,
            on_accepted=lambda _: None,
            on_change=lambda _: None,
            screening=Screening(home.side.desk),
        )
        shown, _ = keys.create("ann", ["view", "run"])
        door = Access(_under(api), keys, Exposure.read(), audit)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(door),
            base_url="http://127.0.0.1:8188/holdfast/api",
            headers={"X-API-Key": shown},
        ) as ann:
            for wrong, words in (
                (loading("of_bob_00001_.png [output]"), "no file of yours"),
                (loading("absent.png"), "absent.png"),
                ({"1": node("NoSuchNode")}, "NoSuchNode"),
            ):
                said = await ann.post("/jobs", json={"workflow": wrong})
                assert said.status_code == 400, said.text
                assert words in said.json()["detail"]
            await send(home, png(), name="me.png", headers=ANN)
            said = await ann.post("/jobs", json={"workflow": loading("me.png")})
            assert said.status_code == 201, said.text
        async with home.working():
            await asyncio.to_thread(until_ended, home.store, said.json()["id"])
        assert home.store.job(said.json()["id"]).state.value == "delivered"
        audit.close()


def _under(api):
    async def app(scope, receive, send):
        scope["path"] = scope["path"].removeprefix("/holdfast/api")
        await api(scope, receive, send)

    return app
