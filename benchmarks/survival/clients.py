"""The clients that race: Holdfast, a bare client, that client with tenacity, and comfy-cli.

The bare client does what ComfyUI's own example script for the WebSocket does:
open a socket, post the graph, wait for the end, read the history, fetch the
pictures. It gets what the script has not: a limit of time, without which it
would wait for ever. Each of the bare clients has four workers, one a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import tenacity
import websocket

from benchmarks.survival.orders import Order
from benchmarks.survival.truth import Claim
from holdfast.comfyui import ComfyUI, ComfyUIError, Patience, Workflow
from holdfast.errors import BadInputError

JOB_SECONDS = 20.0
"""A job takes well under two seconds; whoever hears nothing for so long has lost it."""


async def holdfast(urls: list[str], asked: list[Order], folder: Path) -> dict[str, Claim]:
    """Holdfast as `holdfast run` uses it, with a patience that suits jobs of a second."""
    claims: dict[str, Claim] = {}
    todo = iter(asked)
    patience = Patience(idle=4.0, ask=1.0, deaf=0.8, unanswered=4.0, settle=3.0)

    async def worker(comfy: ComfyUI) -> None:
        for order in todo:
            began = time.monotonic()
            try:
                workflow = Workflow.from_api(order.graph, name=order.name)
                result = await comfy.run(workflow)
            except (ComfyUIError, BadInputError) as error:
                claims[order.name] = _failed(order, began, error)
            else:
                files: list[bytes | Path] = [each.path for each in result.files if each.path]
                took = time.monotonic() - began
                story = "; ".join(
                    f"{each.server[-5:]}: {each.failure.message[:70]} -> {each.recovery}"
                    for each in result.attempts
                    if each.failure is not None
                )
                claims[order.name] = Claim(order.name, True, took, files, story)

    async with (
        ComfyUI(*urls, output_dir=folder / "delivered", patience=patience) as comfy,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(2 * len(urls) + 1):
            group.create_task(worker(comfy))
    return claims


async def bare(urls: list[str], asked: list[Order], folder: Path) -> dict[str, Claim]:
    """One try each."""
    del folder
    return await asyncio.to_thread(_in_threads, urls, asked, _run_once)


async def with_tenacity(urls: list[str], asked: list[Order], folder: Path) -> dict[str, Claim]:
    """The bare client, up to five tries with exponential waits, each on the next server."""
    del folder

    def run(url: str, order: Order) -> list[bytes]:
        at = urls.index(url)

        @tenacity.retry(
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_exponential_jitter(0.5, 8.0),
            reraise=True,
        )
        def attempt() -> list[bytes]:
            nonlocal at
            at += 1
            return _run_once(urls[(at - 1) % len(urls)], order)

        return attempt()

    return await asyncio.to_thread(_in_threads, urls, asked, run)


async def comfy_cli(urls: list[str], asked: list[Order], folder: Path) -> dict[str, Claim]:
    """`comfy run --wait`, one process a job."""
    program = Path(sys.executable).with_name("comfy")
    graphs = folder / "graphs"
    graphs.mkdir()

    def run(url: str, order: Order) -> list[bytes]:
        path = graphs / f"{order.name}.json"
        path.write_text(json.dumps(order.graph))
        at = urllib.parse.urlsplit(url)
        ended = subprocess.run(  # noqa: S603 - no shell, and our own paths
            [program, "--skip-prompt", "--no-enable-telemetry", "run", "--workflow", path,
             "--wait", "--timeout", str(int(JOB_SECONDS)),
             "--host", str(at.hostname), "--port", str(at.port)],
            capture_output=True, text=True, timeout=3 * JOB_SECONDS, check=False,
        )  # fmt: skip
        if ended.returncode != 0:
            raise RuntimeError((ended.stdout + ended.stderr)[-300:])
        # Long lines are wrapped for the screen.
        said = re.sub(r"\s+", "", ended.stdout)
        found = re.findall(r"http://[\d.:]+/(?:api/)?view\?.*?type=output", said)
        return [_call(each) for each in dict.fromkeys(found)]

    return await asyncio.to_thread(_in_threads, urls, asked, run)


def _in_threads(
    urls: list[str], asked: Iterable[Order], run: Callable[[str, Order], list[bytes]]
) -> dict[str, Claim]:
    claims: dict[str, Claim] = {}
    todo: queue.SimpleQueue[Order] = queue.SimpleQueue()
    for order in asked:
        todo.put(order)

    def work(url: str) -> None:
        while True:
            try:
                order = todo.get_nowait()
            except queue.Empty:
                return
            _until_up(url)
            began = time.monotonic()
            try:
                files = run(url, order)
            except Exception as error:  # noqa: BLE001 - whatever a client raises, it failed
                claims[order.name] = _failed(order, began, error)
            else:
                took = time.monotonic() - began
                claims[order.name] = Claim(order.name, True, took, list(files))

    workers = [threading.Thread(target=work, args=(url,)) for url in urls]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return claims


def _failed(order: Order, began: float, error: Exception) -> Claim:
    hung = isinstance(error, TimeoutError | subprocess.TimeoutExpired)
    words = "hung" if hung else f"{type(error).__name__}: {str(error)[:200]}"
    return Claim(order.name, False, time.monotonic() - began, [], words)


def _run_once(url: str, order: Order) -> list[bytes]:
    client_id = uuid.uuid4().hex
    socket = websocket.WebSocket()
    socket.settimeout(JOB_SECONDS)
    until = time.monotonic() + JOB_SECONDS
    try:
        socket.connect(f"{url.replace('http', 'ws', 1)}/ws?clientId={client_id}")
        body = json.dumps({"prompt": order.graph, "client_id": client_id}).encode()
        prompt_id = json.loads(_call(f"{url}/prompt", body))["prompt_id"]
        while True:
            if time.monotonic() > until:
                raise TimeoutError
            frame = socket.recv()
            if not isinstance(frame, str) or not frame:
                if frame == "":
                    raise ConnectionError("the socket was closed")
                continue
            told = json.loads(frame)
            if told["type"] == "executing":
                data = told["data"]
                if data["node"] is None and data.get("prompt_id") == prompt_id:
                    break
    except websocket.WebSocketTimeoutException:
        raise TimeoutError from None
    finally:
        socket.close()
    history = json.loads(_call(f"{url}/history/{prompt_id}"))[prompt_id]
    images = [each for made in history["outputs"].values() for each in made.get("images", [])]
    return [_call(f"{url}/view?{urllib.parse.urlencode(each)}") for each in images]


def _until_up(url: str) -> None:
    """Whoever runs a script on a server that is down waits until it is up again."""
    for _ in range(60):
        with contextlib.suppress(OSError):
            _call(f"{url}/queue")
            return
        time.sleep(0.25)


def _call(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body)  # noqa: S310 - our own servers
    with urllib.request.urlopen(request, timeout=JOB_SECONDS) as answer:  # noqa: S310
        content: bytes = answer.read()
        return content
