"""The whole gateway as a process: keys, users, real clients, fuzz, and the great crash."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.graphs import painting, picture
from tests.gateways import Gateway, gateway, servers

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> Iterator[Gateway]:
    """One of its own: what the document allows includes pausing the queue and making keys."""
    data = tmp_path_factory.mktemp("fuzzed")
    with StandIn() as server:
        with gateway(server.url, data=data, options=("--no-keys", "--no-dashboard")) as made:
            yield made


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[Gateway]:
    data = tmp_path_factory.mktemp("open")
    with StandIn(StandInConfig(step_seconds=0.01)) as one, StandIn() as two:
        with gateway(one.url, two.url, data=data, options=("--no-keys", "--no-dashboard")) as made:
            yield made


def submit(house: Gateway, graph: dict, **headers: str) -> str:
    return house.ask("/prompt", {"prompt": graph, "client_id": "c"}, **headers)["prompt_id"]


# The great crash --------------------------------------------------------------------------


def test_both_servers_and_the_gateway_are_killed_and_the_picture_arrives(tmp_path):
    options = ("--no-keys", "--no-dashboard")
    with (
        servers(tmp_path, "--step-seconds", "0.2") as behind,
        gateway(*behind.urls, data=tmp_path / "data", options=options) as made,
    ):
        job = str(uuid.uuid4())
        body = {"prompt": painting(5, steps=20).to_api(), "prompt_id": job, "client_id": "c"}
        assert made.ask("/prompt", body)["prompt_id"] == job
        until = time.monotonic() + 20
        while not made.ask("/queue")["queue_running"] and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        behind.kill()
        made.kill()
        behind.start()
        made.start()
        # A client that never got its answer sends the same again: it is the same job.
        assert made.ask("/prompt", body)["prompt_id"] == job
        entry = made.until(job)
        assert entry["status"]["status_str"] == "success"
        (image,) = entry["outputs"]["7"]["images"]
        query = urllib.parse.urlencode(image)
        with urllib.request.urlopen(f"{made.url}/view?{query}") as answer:
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
        story = made.ask(f"/holdfast/api/jobs/{job}")["story"]
        assert [each["kind"] for each in story].count("delivered") == 1
        assert made.stop() == 0


async def test_five_hundred_sockets_are_open_at_once(house):
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sockets = [
            await session.ws_connect(f"{house.url}/ws?clientId=many{number}")
            for number in range(500)
        ]
        for each in sockets:
            assert (await each.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT
        await asyncio.gather(*(each.close() for each in sockets))


async def test_a_request_that_comes_again_when_its_job_is_over_does_not_wait_in_the_queue(
    tmp_path,
):
    again = {"idempotency-key": "one"}
    body = {"prompt": picture().to_api(), "client_id": "c"}
    with StandIn() as server:
        with gateway(server.url, data=tmp_path, options=("--no-keys", "--no-dashboard")) as made:
            job = made.ask("/prompt", body, **again)["prompt_id"]
            made.until(job)
            same = made.ask("/prompt", body, **again)["prompt_id"]
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(f"{made.url}/ws?clientId=d") as heard:
                    status = json.loads((await heard.receive(timeout=10)).data)
    assert job == same
    assert status["data"]["status"]["exec_info"]["queue_remaining"] == 0


# Keys -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Iterator[tuple[Gateway, dict[str, str]]]:
    data = tmp_path_factory.mktemp("locked")
    keys = {}
    for user, scopes in (
        ("ann", "view run cancel"),
        ("bob", "view run"),
        ("eve", "view"),
        ("root", "admin"),
    ):
        told = subprocess.run(
            [sys.executable, "-m", "holdfast.apps", "keys", "create", user, "--data", str(data),
             *(part for scope in scopes.split() for part in ("--scope", scope)),
             *(("--max-queued", "2") if user == "bob" else ())],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        keys[user] = told.stdout.strip()
    with StandIn(StandInConfig(step_seconds=0.01)) as server:
        with gateway(server.url, data=data, options=("--no-dashboard",)) as made:
            yield made, keys


def code(made: Gateway, path: str, body=None, **headers: str) -> int:
    try:
        made.ask(path, body, **headers)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_nobody_enters_without_a_key(locked):
    made, keys = locked
    for path in ("/queue", "/history", "/object_info", "/holdfast/api/jobs", "/view?filename=x"):
        assert code(made, path) == 401
        assert code(made, path, **bearer("hf_wrong_key")) == 401
    assert code(made, "/prompt", {"prompt": {}}) == 401
    assert code(made, "/queue", **bearer(keys["ann"])) == 200
    assert code(made, "/queue", **{"X-API-Key": keys["ann"]}) == 200


def new_key(made: Gateway, user: str) -> str:
    """A key to look with, once the gateway knows it."""
    command = [sys.executable, "-m", "holdfast.apps", "keys", "create", user, "--scope", "view"]
    told = subprocess.run(
        [*command, "--data", str(made.data)], capture_output=True, text=True, check=True
    )
    key = told.stdout.strip()
    while code(made, "/queue", **bearer(key)) == 401:
        time.sleep(0.2)
    return key


async def test_a_refused_socket_is_no_error_in_the_log(locked):
    made, _ = locked
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{made.url}/ws")
    await asyncio.sleep(0.5)
    assert "handshake" not in made.log


async def test_an_open_socket_ends_with_its_key(locked):
    made, keys = locked
    key = await asyncio.to_thread(new_key, made, "gone")
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{made.url}/ws", headers=bearer(key)) as socket:
            await socket.receive(timeout=5)
            assert not socket.closed
            at = f"{made.url}/holdfast/api/keys/{key.split('_')[1]}"
            async with session.delete(at, headers=bearer(keys["root"])) as told:
                assert told.status < 300
            assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE


def test_users_do_not_see_each_others_jobs_files_and_history(locked):
    made, keys = locked
    ann, bob = bearer(keys["ann"]), bearer(keys["bob"])
    job = submit(made, picture(3, prefix="secret").to_api(), **ann)
    until = time.monotonic() + 20
    while job not in made.ask(f"/history/{job}", **ann) and time.monotonic() < until:
        time.sleep(0.1)
    (image,) = made.ask(f"/history/{job}", **ann)[job]["outputs"]["3"]["images"]
    query = f"/view?filename={image['filename']}&type=output"
    request = urllib.request.Request(made.url + query, headers=ann)
    with urllib.request.urlopen(request) as answer:
        assert answer.read(4) == b"\x89PNG"
    assert made.ask(f"/history/{job}", **bob) == {}
    assert made.ask("/history", **bob) == {}
    assert code(made, query, **bob) == 404
    assert code(made, f"/holdfast/api/jobs/{job}", **bob) == 404
    assert code(made, f"/holdfast/api/jobs/{job}", **bearer(keys["root"])) == 200


def test_a_key_is_good_for_its_scopes_and_no_more(locked):
    made, keys = locked
    eve = bearer(keys["eve"])
    assert code(made, "/queue", **eve) == 200
    assert code(made, "/prompt", {"prompt": picture().to_api()}, **eve) == 403
    assert code(made, "/free", {"unload_models": True}, **bearer(keys["ann"])) == 403
    assert code(made, "/holdfast/api/keys", **bearer(keys["ann"])) == 403
    assert code(made, "/holdfast/api/keys", **bearer(keys["root"])) == 200


def test_a_quota_is_kept_to(locked):
    made, keys = locked
    root, bob = bearer(keys["root"]), bearer(keys["bob"])
    request = urllib.request.Request(
        f"{made.url}/holdfast/api/queue", b'{"paused": true}',
        {**root, "Content-Type": "application/json"}, method="PUT",
    )  # fmt: skip
    urllib.request.urlopen(request).close()
    codes = [code(made, "/prompt", {"prompt": picture(100 + n).to_api()}, **bob) for n in range(3)]
    assert codes == [200, 200, 429]


def test_who_did_what_is_noted_without_secrets(locked):
    made, keys = locked
    code(made, "/interrupt", {}, **bearer(keys["ann"]))
    time.sleep(1.5)
    text = json.dumps(made.ask("/holdfast/api/audit?limit=500", **bearer(keys["root"])))
    assert '"ann"' in text
    for key in keys.values():
        assert key.split("_")[2] not in text
        assert key.split("_")[2] not in made.log


# Real clients -----------------------------------------------------------------------------

COMFY = Path(sys.executable).with_name("comfy")


def test_comfy_cli_works_unchanged(house, tmp_path):
    workflow = tmp_path / "w.json"
    workflow.write_text(json.dumps(painting(11).to_api()))
    port = str(house.port)
    done = subprocess.run(
        [str(COMFY), "--skip-prompt", "--no-enable-telemetry", "run", "--workflow", str(workflow),
         "--host", "127.0.0.1", "--port", port, "--wait"],
        capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"127.0.0.1:{port}/view?filename=painting" in done.stdout + done.stderr


def test_a_script_in_the_way_of_comfyuis_own_example_works_unchanged(house):
    import websocket

    client = str(uuid.uuid4())
    socket_ = websocket.WebSocket()
    socket_.connect(f"ws://127.0.0.1:{house.port}/ws?clientId={client}", timeout=30)
    told = house.ask("/prompt", {"prompt": painting(12).to_api(), "client_id": client})
    heard = []
    while True:
        frame = socket_.recv()
        if not isinstance(frame, str):
            heard.append("preview")
            continue
        message = json.loads(frame)
        heard.append(message["type"])
        data = message["data"]
        ended = message["type"] == "executing" and data["node"] is None
        if ended and data["prompt_id"] == told["prompt_id"]:
            break
    socket_.close()
    assert next(each for each in heard if each != "status") == "execution_start"
    for kind in ("execution_cached", "executing", "progress", "preview", "executed"):
        assert kind in heard
    assert heard.index("executed") < heard.index("execution_success")
    history = house.ask(f"/history/{told['prompt_id']}")[told["prompt_id"]]
    (image,) = history["outputs"]["7"]["images"]
    query = urllib.parse.urlencode(image)
    with urllib.request.urlopen(f"{house.url}/view?{query}") as answer:
        assert answer.read(4) == b"\x89PNG"


def test_a_client_of_the_newer_job_list_works_before_older_servers(house):
    job = submit(house, picture(55).to_api())
    house.until(job)
    listed = house.ask("/api/jobs?limit=5")
    assert job in json.dumps(listed)
    assert house.ask(f"/api/jobs/{job}")["id"] == job


# Fuzz -------------------------------------------------------------------------------------


def test_no_request_that_the_document_allows_or_forbids_is_answered_with_500(fuzzed):
    document = schemathesis.openapi.from_url(f"{fuzzed.url}/holdfast/api/openapi.json")
    asked: list[int] = []
    few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    for found in document.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @few
            @given(case=found.ok().as_strategy(generation_mode=mode))
            def check(case) -> None:
                answer = case.call(timeout=20)
                asked.append(answer.status_code)
                assert answer.status_code < 500, f"{case.method} {case.path}: {answer.text}"

            with contextlib.suppress(Unsatisfiable):  # where nothing can be wrong
                check()
    assert len(asked) > 100


def mutated(chance: random.Random, value):
    """A JSON value, damaged somewhere."""
    odd = [None, True, -1, 10**30, 1e308, "", "\0", "é" * 50, [], {}, [[]], {"a": {}}, "../../x"]
    if chance.random() < 0.15:
        return chance.choice(odd)
    if isinstance(value, dict) and value:
        found = dict(value)
        key = chance.choice(sorted(found))
        if chance.random() < 0.2:
            del found[key]
        elif chance.random() < 0.2:
            found[chance.choice(["prompt_id", "number", "front", "extra_data", "x\0"])] = (
                chance.choice(odd)
            )
        else:
            found[key] = mutated(chance, found[key])
        return found
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        return [mutated(chance, each) if n == at else each for n, each in enumerate(value)]
    return chance.choice(odd)


def test_nothing_that_is_sent_to_comfyuis_side_makes_it_answer_500_or_hang(house):
    chance = random.Random(7)
    good = {"prompt": picture(1).to_api(), "client_id": "c", "extra_data": {"extra_pnginfo": {}}}
    seeds = {
        "/prompt": good,
        "/queue": {"delete": ["a"]},
        "/history": {"clear": False},
        "/interrupt": {"prompt_id": "a"},
    }
    paths = ["/view", "/history", "/api/jobs", "/object_info/KSampler", "/queue", "/upload/image",
             "/userdata/%2e%2e%2fx", "/view?filename=..%2f..%2fetc%2fpasswd", "/%00", "//evil/x",
             "/api/jobs/a/cancel", "/view?filename=a&subfolder=../..&type=output"]  # fmt: skip
    for number in range(1_500):
        method, path, body = "POST", "", b""
        if number % 3:
            path = chance.choice(sorted(seeds))
            damaged = mutated(chance, seeds[path])
            for _ in range(chance.randrange(3)):
                damaged = mutated(chance, damaged)
            body = json.dumps(damaged).encode()
            if chance.random() < 0.1:
                body = body[: chance.randrange(len(body) + 1)] + bytes([chance.randrange(256)])
        else:
            method = chance.choice(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
            path = chance.choice(paths) + chance.choice(
                ["", "?max_items=abc", "?x=%ff", "?a&b=" + "y" * 300]
            )
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            # What was passed on to the server is the server's own answer.
            ours = answer.getheader("server") is None
            assert answer.status < 500 or not ours, (
                f"{method} {path} {body[:300]!r}: {text[:300]!r}"
            )
        finally:
            connection.close()
    assert house.ask("/holdfast/health")["ok"] is True
    house.until(submit(house, picture(8).to_api()))


def test_a_client_that_sends_half_a_request_is_not_waited_for_by_others(house):
    with socket.create_connection(("127.0.0.1", house.port)) as half:
        half.sendall(b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert house.ask("/holdfast/health")["ok"] is True


# Health -----------------------------------------------------------------------------------


def health(house: Gateway, **headers: str) -> tuple[int, dict]:
    request = urllib.request.Request(house.url + "/holdfast/health", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_health_says_no_while_nothing_can_be_accepted_and_no_more_than_that_to_strangers(tmp_path):
    data = tmp_path / "data"
    key = subprocess.run(
        [sys.executable, "-m", "holdfast.apps", "keys", "create", "ann", "--data", str(data),
         "--scope", "view"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    with StandIn() as server:
        with gateway(server.url, data=data, options=("--no-dashboard",)) as made:
            assert health(made) == (200, {"ok": True})
            status, told = health(made, **{"X-API-Key": key})
            assert (status, told["servers"], told["queued"]) == (200, 1, 0)
            (made.data / "jobs.db").rename(tmp_path / "away.db")
            time.sleep(1.1)
            assert health(made) == (503, {"ok": False})
            (tmp_path / "away.db").rename(made.data / "jobs.db")
            assert health(made) == (200, {"ok": True})
