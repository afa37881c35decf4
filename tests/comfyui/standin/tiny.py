"""A tiny catalog and a tiny client, so that the server is tested without the real nodes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from holdfast.comfyui.standin.node import Blocked, NodeClass, NodeContext, NodeError, NodeOutput

SIDE = ("INT", {"default": 64, "min": 1, "max": 1024})
COUNT = ("INT", {"default": 1, "min": 0, "max": 4096})


def empty(context, width, height, batch_size=1):
    return NodeOutput((np.zeros((batch_size, height, width, 3), np.float32),))


def work(context, image, steps, *, preview=False, poll=True, nonce=0):
    picture = Image.new("RGB", (8, 8)) if preview else None
    for step in range(steps):
        context.sleep(context.step_seconds)
        if poll:
            context.progress(step + 1, steps, picture)
    return NodeOutput((image,))


def fail(context, image, exception_type, message):
    raise NodeError(exception_type, message)


def crash(context, image):
    return NodeOutput((image[7],))


def block(context, image, message):
    raise Blocked(*([message] if message else []))


def load(context, name):
    context.memory.load(name, 1024**3)
    if context.is_corrupt("checkpoints", name):
        raise NodeError("safetensors_rust.SafetensorError", "Error while deserializing header")
    return NodeOutput((name,))


def save(context: NodeContext, images, name="out"):
    folder = context.folders.output
    number = len(list(folder.glob(f"{name}_*"))) + 1
    path = folder / f"{name}_{number:05}_.png"
    context.before_save(path)
    Image.new("RGB", images.shape[2:0:-1]).save(path)
    context.after_save(path)
    return NodeOutput(ui={"images": [{"filename": path.name, "subfolder": "", "type": "output"}]})


IMAGE = ("IMAGE",)
HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}

CATALOG = {
    node.name: node
    for node in (
        NodeClass(
            "Empty", empty, {"width": SIDE, "height": SIDE, "batch_size": COUNT}, outputs=IMAGE
        ),
        NodeClass(
            "Sampler",
            work,
            {"image": IMAGE, "steps": COUNT},
            {"preview": ("BOOLEAN", {}), "poll": ("BOOLEAN", {}), "nonce": COUNT},
            outputs=IMAGE,
        ),
        NodeClass(
            "Fail",
            fail,
            {"image": IMAGE, "exception_type": ("STRING", {}), "message": ("STRING", {})},
            outputs=IMAGE,
        ),
        NodeClass("Crash", crash, {"image": IMAGE}, outputs=IMAGE),
        NodeClass("Block", block, {"image": IMAGE, "message": ("STRING", {})}, outputs=IMAGE),
        NodeClass(
            "Load",
            load,
            {"name": ([],)},
            outputs=("MODEL",),
            choices={"name": lambda files: files.models("checkpoints")},
        ),
        NodeClass(
            "Save", save, {"images": IMAGE}, {"name": ("STRING", {})}, HIDDEN, output_node=True
        ),
        NodeClass(
            "Use", lambda _context, model: NodeOutput(), {"model": ("MODEL",)}, output_node=True
        ),
    )
}


def graph(middle: str | None = None, *, width: int = 8, **inputs: Any) -> dict[str, Any]:
    """Empty picture, perhaps something done to it, saved."""
    prompt = {
        "1": {"class_type": "Empty", "inputs": {"width": width, "height": 8, "batch_size": 1}},
        "3": {"class_type": "Save", "inputs": {"images": ["1", 0]}},
    }
    if middle is not None:
        prompt["2"] = {"class_type": middle, "inputs": {"image": ["1", 0], **inputs}}
        prompt["3"]["inputs"]["images"] = ["2", 0]
    return prompt


def sampled(steps: int = 3, **inputs: Any) -> dict[str, Any]:
    return graph("Sampler", steps=steps, **inputs)


def standin(*faults: Fault, **settings: Any) -> StandIn:
    settings = {"step_seconds": 0.01, **settings}
    return StandIn(StandInConfig(faults=faults, **settings), catalog=CATALOG)


class Client:
    """Short calls to one server."""

    def __init__(self, server: StandIn, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def get(self, path: str, **options: Any) -> Any:
        async with self.session.get(self.server.url + path, **options) as answer:
            return await answer.json() if answer.status == 200 else answer.status

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
        async with self.session.post(self.server.url + path, data=data, **options) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return answer.status, json.loads(text) if is_json else text

    async def submit(self, prompt: Any, client_id: Any = "me", **extra: Any) -> str:
        body = {"prompt": prompt, **extra}
        if client_id is not None:
            body["client_id"] = client_id
        status, answer = await self.post("/prompt", body)
        assert status == 200, answer
        return answer["prompt_id"]

    async def finished(self, prompt_id: str, seconds: float = 5.0) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = await self.get(f"/history/{prompt_id}")
            if found:
                return found[prompt_id]
            await asyncio.sleep(0.005)
        raise AssertionError(f"{prompt_id} did not finish")

    async def until(self, holds: Callable[[], Any], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it did not come about"
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def ear(self, client_id: str | None = "me", **options: Any) -> AsyncIterator[Ear]:
        path = "/ws" if client_id is None else f"/ws?clientId={client_id}"
        options = {"max_msg_size": 0, **options}
        async with self.session.ws_connect(self.server.url + path, **options) as socket:
            ear = Ear(socket)
            await ear.until("status")
            yield ear


class Ear:
    """What one socket has heard."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[tuple[str, Any]] = []

    async def listen(self, seconds: float = 5.0) -> tuple[str, Any]:
        message = await self.socket.receive(timeout=seconds)
        if message.type is aiohttp.WSMsgType.TEXT:
            said = json.loads(message.data)
            self.heard.append((said["type"], said["data"]))
        elif message.type is aiohttp.WSMsgType.BINARY:
            self.heard.append((f"frame {message.data[3]}", message.data))
        else:
            self.heard.append((message.type.name, message))
        return self.heard[-1]

    async def until(self, event: str, seconds: float = 5.0, **wanted: Any) -> Any:
        while True:
            name, data = await self.listen(seconds)
            if name == event and all(data.get(key) == value for key, value in wanted.items()):
                return data
            assert name not in {"CLOSED", "CLOSE", "ERROR"}, f"closed before {event}"

    async def until_done(self, seconds: float = 5.0) -> list[str]:
        """Listen to the end of a run; return the events, progress left out."""
        await self.until("executing", seconds, node=None)
        return self.names()

    async def silence(self, seconds: float = 0.25) -> bool:
        try:
            await self.listen(seconds)
        except TimeoutError:
            return True
        return False

    def names(self, *, progress: bool = False) -> list[str]:
        return [name for name, _ in self.heard if progress or not name.startswith("progress")]

    def data(self, event: str) -> list[Any]:
        return [data for name, data in self.heard if name == event]


@asynccontextmanager
async def running(*faults: Fault, **settings: Any) -> AsyncIterator[Client]:
    """A stand-in with these faults, and a client of it."""
    with standin(*faults, **settings) as server:
        async with aiohttp.ClientSession() as session:
            yield Client(server, session)
