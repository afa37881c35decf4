"""What the gateway does not know is passed to one server, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest
from aiohttp import web

from holdfast.comfyui.gateway.desk import Limits
from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.gateway.http_house import house


@contextlib.asynccontextmanager
async def upstream(handler):
    """A server that answers everything with ``handler``."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def mirror(request):
    """Tell what came."""
    told = {
        "method": request.method,
        "path": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "size": len(await request.read()),
    }
    return web.json_response(told, headers={"Connection": "close, X-Odd", "X-Odd": "1"})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_any_method_and_path_goes_through_as_it_is(tmp_path, method):
    async with upstream(mirror) as url, house(tmp_path, [url]) as home:
        path = "/api/mynodes/workflows%2Fa%20b.json?overwrite=true&x=%2F"
        content = b"" if method == "GET" else b"x" * 300_000
        said = await home.client.request(method, path, content=content)
        told = said.json()
        assert (told["method"], told["path"], told["size"]) == (method, path, len(content))
        assert "x-odd" not in said.headers


async def test_secrets_and_what_is_for_one_connection_are_kept_back(tmp_path):
    async with upstream(mirror) as url, house(tmp_path, [url]) as home:
        headers = {
            "authorization": "Bearer hf_secret",
            "cookie": "session=1",
            "x-api-key": "k",
            "origin": "http://gateway",
            "sec-fetch-site": "same-origin",
            "connection": "keep-alive, x-private",
            "x-private": "1",
            "te": "trailers",
            "x-forwarded-for": "1.2.3.4",
            "comfy-user": "default",
        }
        told = (await home.client.get("/extensions", headers=headers)).json()["headers"]
        assert told["comfy-user"] == "default"
        assert told["host"] == url.removeprefix("http://")
        assert told.keys().isdisjoint(
            {"authorization", "cookie", "x-api-key", "origin", "sec-fetch-site", "x-private", "te"}
        )


async def raw_get(url, target):
    """Ask for a path as it stands, which no client library would."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    await writer.drain()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "target",
    [
        "/a/../queue",
        "/a/./queue",
        "/a/%2e%2e/queue",
        "/a/..%2fqueue",
        "/a/..%5cqueue",
        "//evil.example/",
        "/a//b",
        "/\\evil",
        "/a\xff",
        "/a%00b",
        "/a%0d%0aHost:%20evil",
    ],
)
async def test_a_path_that_could_be_read_in_two_ways_goes_nowhere(tmp_path, target):
    asked = []

    async def note(request):
        asked.append(request.raw_path)
        return web.json_response({})

    async with upstream(note) as url, house(tmp_path, [url]) as home:
        await asyncio.sleep(0.1)
        asked.clear()
        answer = await raw_get(home.url, target)
        assert answer.split(b" ", 2)[1] in (b"400", b"404")
        assert [each for each in asked if "object_info" not in each] == []


@pytest.mark.parametrize("target", ["@evil.example/", ":80@evil.example/", "http://evil.example/x"])
async def test_no_path_changes_the_host(tmp_path, target):
    async with upstream(mirror) as url, house(tmp_path, [url]) as home:
        answer = await raw_get(home.url, target)
        first = answer.split(b"\r\n", 1)[0]
        assert b" 400 " in first or url.encode().removeprefix(b"http://") in answer


async def test_redirects_are_not_followed_and_lead_to_no_other_host(tmp_path):
    async def redirect(request):
        where = {"/in": "/elsewhere", "/out": "http://169.254.169.254/meta", "/odd": "//evil/x"}
        place = where.get(request.path)
        if place is None:
            return web.Response(text="followed")
        return web.Response(status=302, headers={"Location": place})

    async with upstream(redirect) as url, house(tmp_path, [url]) as home:
        inside = await home.client.get("/in")
        assert (inside.status_code, inside.headers["location"]) == (302, "/elsewhere")
        for path in ("/out", "/odd"):
            said = await home.client.get(path)
            assert said.status_code == 302
            assert "location" not in said.headers


async def test_reading_goes_to_the_next_server_when_one_is_down_and_stays_there(tmp_path):
    with StandIn(StandInConfig()) as one, StandIn(StandInConfig()) as two:
        async with house(tmp_path, [one, two]) as home:
            assert (await home.client.get("/system_stats")).status_code == 200
            one.kill()
            for path in ("/system_stats", "/api/features", "/embeddings", "/models/checkpoints"):
                assert (await home.client.get(path)).status_code == 200, path
            two.kill()
            said = await home.client.get("/system_stats")
            assert said.status_code == 503
            assert said.json()["error"]["type"] == "unavailable"


async def test_what_may_have_been_received_is_not_sent_twice(tmp_path):
    received = []

    async def break_off(request):
        if request.method != "GET":
            received.append(request.path)
        request.transport.abort()
        return web.Response()

    async with upstream(break_off) as one, upstream(break_off) as two:
        async with house(tmp_path, [one, two]) as home:
            said = await home.client.post("/custom/action", content=b"x")
            assert said.status_code == 502
            assert received == ["/custom/action"]


async def test_bodies_that_are_passed_on_are_bounded(tmp_path):
    async def endless():
        for _ in range(100):
            yield b"x" * 10_000

    async with upstream(mirror) as url:
        async with house(tmp_path, [url], limits=Limits(upload_bytes=50_000)) as home:
            assert (await home.client.put("/mynodes/x", content=b"x" * 60_000)).status_code == 413
            assert (await home.client.put("/mynodes/x", content=endless())).status_code == 413
            assert (await home.client.put("/mynodes/x", content=b"x" * 40_000)).status_code == 200


async def test_long_answers_are_streamed_and_a_client_may_leave(tmp_path):
    gone = asyncio.Event()

    async def long(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 10_000)
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with upstream(long) as url, house(tmp_path, [url]) as home:
        async with home.client.stream("GET", "/endless") as answer:
            async for _ in answer.aiter_bytes():
                break
        async with asyncio.timeout(10):
            await gone.wait()


async def test_what_the_gateway_passed_on_itself_is_not_passed_on_again(tmp_path):
    made = {}

    async def back(request):
        async with httpx.AsyncClient(base_url=made["url"]) as again:
            said = await again.get(request.path, headers=dict(request.headers))
        return web.Response(status=said.status_code, body=said.content)

    async with upstream(back) as url, house(tmp_path, [url]) as home:
        made["url"] = home.url
        said = await home.client.get("/custom")
        assert said.status_code == 508
        assert "itself" in said.text
