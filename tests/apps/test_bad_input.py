"""Bad input of every kind: one line that says what is wrong, the right exit code, no traceback."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from aiohttp import web

from holdfast.comfyui.standin import StandIn
from tests.apps.commands import Command, answering
from tests.comfyui.graphs import picture

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(picture().to_api()))
    return path


def refused(ended, code, *words):
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert ended.err.startswith("holdfast: ")
    for word in words:
        assert word in ended.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{nope", "not JSON"),
        ("", "not JSON"),
        ("\x00\x01", "not JSON"),
        ("[1, 2]", "an object of nodes, this is a list"),
        ("{}", "no nodes"),
        ('{"nodes": [], "links": [], "version": 0.4}', "no server can say"),
        ('{"last_node_id": 1}', "API format"),
        ('{"1": {"inputs": {}}}', "class_type"),
        ('{"1": {"class_type": "A"}}', "no inputs"),
        ("[" * 100_000, "nested too deeply"),
        ('{"1": {"class_type": "A", "inputs": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_workflow(holdfast: Command, tmp_path, content, words):
    path = tmp_path / "w.json"
    path.write_text(content)
    refused(holdfast("run", path, "--server", NOBODY, "--output", tmp_path / "o"), 2, words)


def test_a_file_in_a_broken_encoding(holdfast: Command, tmp_path):
    path = tmp_path / "w.json"
    path.write_bytes(b'\xff\xfe{"\xd8')
    refused(holdfast("run", path, "--server", NOBODY, "--output", tmp_path / "o"), 2, "w.json")


def test_a_file_that_does_not_exist(holdfast: Command, tmp_path):
    ended = holdfast("run", tmp_path / "none.json", "--server", NOBODY, "--output", tmp_path)
    refused(ended, 2, "none.json", "No such file")


def test_a_folder_in_place_of_a_file(holdfast: Command, tmp_path):
    refused(holdfast("run", tmp_path, "--server", NOBODY, "--output", tmp_path), 2, "directory")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("77.seed=5", "no node '77'"),
        ("1.widht=5", "it has width, height, batch_size, color"),
        ("2.image=5", "linked from node 1"),
        ("nothing", "NODE.INPUT=VALUE"),
        ("=5", "NODE.INPUT=VALUE"),
        ("widht=5", "did you mean width"),
        ("1.width=@nowhere.png", "nowhere.png"),
    ],
)
def test_a_setting_that_fits_nothing(holdfast: Command, good, tmp_path, setting, words):
    ended = holdfast("run", good, "--server", NOBODY, "--output", tmp_path / "o", "--set", setting)
    refused(ended, 2, "--set", words)


def test_an_output_folder_that_cannot_be_made(holdfast: Command, good):
    ended = holdfast("run", good, "--server", NOBODY, "--output", good)
    refused(ended, 2, "output folder", "cannot write there")
    ended = holdfast("run", good, "--server", NOBODY, "--output", "/proc/nowhere")
    refused(ended, 2, "output folder")


@pytest.mark.parametrize(
    "address", ["ftp://gpu1", "http://", "http://a b", "http://gpu1:99999", "http://x/?a=b", ""]
)
def test_an_address_that_is_none(holdfast: Command, good, tmp_path, address):
    ended = holdfast("run", good, "--server", address, "--output", tmp_path)
    refused(ended, 2, "server address")


def test_a_password_in_a_wrong_address_is_not_repeated(holdfast: Command, good, tmp_path):
    ended = holdfast("run", good, "--server", "ftp://me:hunter2@gpu1", "--output", tmp_path)
    refused(ended, 2)
    assert "hunter2" not in ended.err


def test_no_server_given(holdfast: Command, good):
    refused(holdfast("run", good), 2, "--server")


def test_an_unknown_command(holdfast: Command):
    refused(holdfast("frobnicate"), 2, "frobnicate")


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_nobody_listens(holdfast: Command, good, tmp_path, command):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    if command == "doctor":
        ended = holdfast("doctor", "--server", url)
        assert ended.code == 3
        assert "cannot be reached" in ended.out
    else:
        refused(
            holdfast("run", good, "--server", url, "--output", tmp_path), 3, "cannot be reached"
        )


async def html(_request):
    return web.Response(text="<html><h1>It works!</h1></html>", content_type="text/html")


async def other_json(_request):
    return web.json_response({"status": "ok"})


async def redirect(_request):
    raise web.HTTPFound("http://127.0.0.1:9/elsewhere")


async def login(_request):
    return web.Response(status=401)


async def bad_gateway(_request):
    return web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")


async def deep(_request):
    return web.Response(text="[" * 200_000, content_type="application/json")


async def huge(request):
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        for _ in range(200):
            await response.write(b"[" * 2**20)
    except ConnectionError:
        pass
    return response


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (html, "an HTML page"),
        (other_json, "JSON of another kind"),
        (redirect, "HTTP 302 to http://127.0.0.1:9/elsewhere"),
        (login, "it wants a login"),
        (bad_gateway, "HTTP 502"),
        (deep, "not JSON"),
        (huge, "more than 1 MiB"),
    ],
)
def test_a_server_that_is_not_comfyui(holdfast: Command, good, tmp_path, handler, words):
    with answering(handler) as url:
        ended = holdfast("run", good, "--server", url, "--output", tmp_path / "o")
        refused(ended, 3, words)
        ended = holdfast("doctor", "--server", url)
        assert ended.code == 3
        assert words in ended.out


def test_a_server_that_speaks_no_http(holdfast: Command, good, tmp_path):
    async def babble(_reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        ended = await asyncio.to_thread(
            holdfast, "run", good, "--server", url, "--output", tmp_path / "o"
        )
        server.close()
        await server.wait_closed()
        return ended

    refused(asyncio.run(main()), 3, "not HTTP")


def test_a_good_server_beside_a_bad_one_gets_all_jobs(holdfast: Command, good, tmp_path):
    with answering(html) as bad, StandIn() as server:
        ended = holdfast(
            "run",
            good,
            "--server",
            bad,
            "--server",
            server.url,
            "--output",
            tmp_path,
            "--count",
            "3",
        )
    assert ended.code == 0
    assert "does not look like ComfyUI" in ended.err
    assert len(list(tmp_path.glob("good_*.png"))) == 3


def test_a_gateway_before_itself(holdfast: Command, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url = f"http://localhost:{port}"
    ended = holdfast("serve", "--no-keys", "--server", url, "--port", port, "--data", tmp_path)
    refused(ended, 2, url, "is the gateway itself")
