"""Scripts in the way of ComfyUI's own examples, run unchanged before a server and a gateway.

What a script hears and gets from the gateway is what it hears and gets from the
server itself. Two differences are meant: how long the queue is, is said once more;
and the file that a node saved is told when it is in the gateway's store, which is
after the node's last progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websocket
from PIL import Image

from holdfast.comfyui.standin import StandIn, StandInConfig
from tests.comfyui.graphs import node, painting, picture

pytestmark = pytest.mark.timeout(120)
QUICK = StandInConfig(step_seconds=0.02)
Frame = tuple[str, Any]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with StandIn(QUICK) as made:
        yield made.url


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[str]:
    with StandIn(QUICK) as behind, serving(behind.url, tmp_path_factory.mktemp("data")) as url:
        yield url


@contextlib.contextmanager
def serving(server: str, data: Path) -> Iterator[str]:
    """`holdfast serve`, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.apps", "serve", "--server", server,
             "--port", str(port), "--data", str(data), "--no-keys", "--no-dashboard"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until = time.monotonic() + 40
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            assert process.poll() is None, (data / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


# What the scripts do ----------------------------------------------------------------------


def ask(url: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url + path, data, timeout=20) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def refusal(url: str, body: Any) -> tuple[int, Any]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url, "/prompt", body)
    with caught.value as answer:
        return answer.code, json.loads(answer.read())


def queue_and_listen(
    url: str,
    graph: dict[str, Any],
    *,
    features: dict[str, Any] | None = None,
    act: Callable[[str, dict[str, Any]], None] = lambda _kind, _data: None,
) -> tuple[str, list[Frame]]:
    """Open a socket, queue a prompt, and read until it is said that nothing runs any more."""
    client = uuid.uuid4().hex
    ear = websocket.WebSocket()
    ear.connect(f"{url.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=20)
    if features is not None:
        ear.send(json.dumps({"type": "feature_flags", "data": features}))
    job = ask(url, "/prompt", {"prompt": graph, "client_id": client})["prompt_id"]
    heard: list[Frame] = []
    while True:
        frame = ear.recv()
        if isinstance(frame, bytes):
            heard.append(("binary", frame))
            continue
        message = json.loads(frame.replace(job, "JOB").replace(client, "CLIENT"))
        kind, data = message["type"], message["data"]
        heard.append((kind, data))
        act(kind, {**data, "prompt_id": job})
        if kind == "execution_interrupted" or (kind == "executing" and data["node"] is None):
            ear.close()
            return job, heard


def plain(frames: list[Frame]) -> list[str]:
    """The frames but for times, the queue, and where `executed` stands; binary ones by kind."""
    told = []
    for kind, data in frames:
        if kind in ("status", "executed"):
            continue
        if kind == "binary":
            number, second = struct.unpack(">II", data[:8])
            described = json.loads(data[8 : 8 + second]) if number == 4 else second
            if number == 4:
                described.pop("prompt_id")
            told.append(f"binary {number} {described}")
            continue
        told.append(f"{kind} {json.dumps({k: v for k, v in data.items() if k != 'timestamp'})}")
    return told


def executed(frames: list[Frame]) -> dict[str, int]:
    """How many files each node was said to have made."""
    return {
        data["node"]: len((data["output"] or {}).get("images", []))
        for kind, data in frames
        if kind == "executed"
    }


def pixels(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


def pictures_of(url: str, job: str) -> list[bytes]:
    """What the second example does at the end: history, then `/view` of every picture."""
    found = []
    for shown in ask(url, f"/history/{job}")[job]["outputs"].values():
        for image in shown.get("images", []):
            with urllib.request.urlopen(f"{url}/view?{urllib.parse.urlencode(image)}") as answer:
                found.append(pixels(answer.read()))
    return found


# The scripts ------------------------------------------------------------------------------


def test_a_script_that_only_queues_and_looks_at_the_history(server, gateway):
    made = {}
    for url in (server, gateway):
        told = ask(url, "/prompt", {"prompt": picture(3).to_api()})
        assert set(told) == {"prompt_id", "number", "node_errors"}
        until = time.monotonic() + 30
        while not ask(url, f"/history/{told['prompt_id']}"):
            assert time.monotonic() < until
            time.sleep(0.05)
        made[url] = pictures_of(url, told["prompt_id"])
    assert made[server] == made[gateway]
    assert len(made[server]) == 1


@pytest.mark.parametrize("features", [None, {"supports_preview_metadata": True}])
def test_a_script_that_listens_hears_and_gets_the_same(server, gateway, features):
    # One run, the same again out of the cache, and half of it out of the cache.
    for seed in (70, 70, 71) if features is None else (80, 80, 81):
        graph = painting(seed).to_api()
        heard, made = {}, {}
        for url in (server, gateway):
            job, heard[url] = queue_and_listen(url, graph, features=features)
            made[url] = pictures_of(url, job)
        assert plain(heard[gateway]) == plain(heard[server])
        assert executed(heard[gateway]) == executed(heard[server]) == {"7": 1}
        assert made[gateway] == made[server]


@pytest.mark.parametrize("features", [None, {"supports_preview_metadata": True}])
def test_pictures_that_come_over_the_socket_alone(server, gateway, features):
    graph = {
        "1": node("EmptyImage", width=48, height=32, batch_size=3, color=90),
        "save": node("SaveImageWebsocket", images=["1", 0]),
    }
    for _again in range(2):  # the node runs each time, whatever is cached
        made, heard = {}, {}
        for url in (server, gateway):
            job, heard[url] = queue_and_listen(url, graph, features=features)
            current, made[url] = None, []
            for kind, data in heard[url]:
                if kind == "executing":
                    current = data["node"]
                elif kind == "binary" and current == "save":
                    number, second = struct.unpack(">II", data[:8])
                    made[url].append(pixels(data[8 + (second if number == 4 else 0) :]))
            assert ask(url, f"/history/{job}")[job]["status"]["status_str"] == "success"
            assert ask(url, f"/history/{job}")[job]["outputs"] == {}
        assert plain(heard[gateway]) == plain(heard[server])
        assert made[gateway] == made[server]
        assert len(made[server]) == 3


def test_a_run_that_is_interrupted(server, gateway):
    ends = {}
    for url in (server, gateway):

        def stop(kind: str, data: dict[str, Any], url: str = url) -> None:
            if kind == "progress" and data["value"] == 2:
                ask(url, "/interrupt", {"prompt_id": data["prompt_id"]})

        job, heard = queue_and_listen(url, painting(90, steps=200).to_api(), act=stop)
        kind, said = heard[-1]
        assert kind == "execution_interrupted"
        said["executed"] = sorted(said["executed"])
        del said["timestamp"]
        until = time.monotonic() + 20
        while not (entry := ask(url, f"/history/{job}")):
            assert time.monotonic() < until
            time.sleep(0.05)
        name, kept = entry[job]["status"]["messages"][-1]
        ends[url] = said, name, kept["node_id"], kept["node_type"]
    assert ends[gateway] == ends[server]
    assert ends[server][1:] == ("execution_interrupted", "5", "KSampler")


def test_a_client_of_the_newer_job_list_finds_and_cancels_its_own(gateway):
    """A small client of today: it chooses its ids, looks at the job list, and cancels by id."""

    async def client() -> set[str]:
        async with aiohttp.ClientSession(gateway) as session:

            async def queue(seed: int, steps: int) -> str:
                job = str(uuid.uuid4())
                body = {"prompt": painting(seed, steps=steps).to_api(), "prompt_id": job}
                async with session.post("/api/prompt", json=body) as answer:
                    assert (await answer.json())["prompt_id"] == job
                return job

            async def status(job: str) -> str:
                async with session.get(f"/api/jobs/{job}") as answer:
                    # As on a server: what was taken out before it ran leaves no trace.
                    return "gone" if answer.status == 404 else (await answer.json())["status"]

            unwanted = [await queue(200 + n, 2_000) for n in range(3)]
            async with session.get("/api/jobs", params={"status": "pending,in_progress"}) as answer:
                listed = {each["id"] for each in (await answer.json())["jobs"]}
            assert set(unwanted) <= listed
            wanted = await queue(300, 2)
            for job in unwanted:
                async with session.post(f"/api/jobs/{job}/cancel") as answer:
                    assert answer.status == 200
            async with asyncio.timeout(30):
                while await status(wanted) != "completed":  # noqa: ASYNC110 - as such clients do
                    await asyncio.sleep(0.05)
                for job in unwanted:
                    while await status(job) not in ("cancelled", "gone"):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            async with session.get("/api/jobs", params={"status": "pending,in_progress"}) as answer:
                return {each["id"] for each in (await answer.json())["jobs"]} & set(unwanted)

    assert asyncio.run(client()) == set()


# What is refused, and what lists look like ------------------------------------------------

GOOD = {"1": node("EmptyImage", width=64, height=64, batch_size=1, color=0)}


def shown(**inputs: Any) -> dict[str, Any]:
    return GOOD | {"2": node("PreviewImage", **inputs)}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"client_id": "x"},
        {"prompt": {}},
        {"prompt": GOOD},
        {"prompt": {"1": "x"}},
        {"prompt": {"1": {"inputs": {}}}},
        {"prompt": {"1": node("NoSuchNode"), "2": node("PreviewImage", images=["1", 0])}},
        {"prompt": shown()},
        {"prompt": shown(images=["1"])},
        {"prompt": {"1": node("EmptyImage", width=0, height="x", batch_size=1, color=0),
                    "2": node("PreviewImage", images=["1", 0])}},
        {"prompt": {"1": node("EmptyLatentImage", width=64, height=64, batch_size=1),
                    "2": node("PreviewImage", images=["1", 0])}},
        {"prompt": {"1": node("CheckpointLoaderSimple", ckpt_name="absent.safetensors"),
                    "2": node("VAEDecode", samples=["1", 0], vae=["1", 2]),
                    "3": node("PreviewImage", images=["2", 0])}},
    ],
)  # fmt: skip
def test_a_prompt_is_refused_in_the_servers_words(server, gateway, body):
    assert refusal(gateway, body) == refusal(server, body)


def test_queue_and_history_have_the_servers_form(server, gateway):
    forms = {}
    extra = {"extra_pnginfo": {"workflow": {"id": "w"}}}
    for url in (server, gateway):
        bodies = [
            {"prompt": painting(400 + n, steps=100).to_api(), "client_id": "q", "extra_data": extra}
            for n in range(4)
        ]
        jobs = [ask(url, "/prompt", body)["prompt_id"] for body in bodies]
        until = time.monotonic() + 20
        while not (queue := ask(url, "/queue"))["queue_running"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        items = sorted(queue["queue_running"] + queue["queue_pending"], key=lambda item: item[0])
        assert [item[1] for item in items] == jobs
        for item in items:
            item[3].pop("create_time", None)
        forms[url] = [item[2:] for item in items]
        ask(url, "/queue", {"delete": [jobs[3]]})
        assert jobs[3] not in json.dumps(ask(url, "/queue"))
        ask(url, "/queue", {"clear": True})
        while queue["queue_running"]:
            assert time.monotonic() < until
            ask(url, "/interrupt", {})
            time.sleep(0.05)
            queue = ask(url, "/queue")
        assert queue == {"queue_running": [], "queue_pending": []}
        (entry,) = ask(url, "/history?max_items=1").values()
        forms[url].append(sorted(set(entry) - {"holdfast"}))
        forms[url].append(len(entry["prompt"]))
    assert forms[gateway] == forms[server]
