"""A hub behind a real uvicorn, clients on real sockets, and frames that ComfyUI sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from holdfast.comfyui.gateway.frames import described_preview
from holdfast.comfyui.gateway.hang_up import HangUpProtocol

SEEN = json.loads((Path(__file__).parents[2] / "data/comfyui_sockets.json").read_text())
JPEG = b"\xff\xd8\xff\xe0 picture"


@dataclass(frozen=True)
class Job:
    id: str = "p"
    user: str = ""
    client_id: str = "c"
    started: float | None = 1.0


def frames_of(name, socket="ws"):
    """What ComfyUI sent on one socket, as raw frames."""
    return [_raw(message) for where, message in SEEN[name] if where == socket]


def _raw(message):
    match message.get("binary"):
        case None:
            return json.dumps(message)
        case 1:
            return (1).to_bytes(4, "big") + message["image_type"].to_bytes(4, "big") + JPEG
        case 3:
            node = message["node_id"].encode()
            return b"\0\0\0\3" + len(node).to_bytes(4, "big") + node + message["text"].encode()
        case _:
            return described_preview(JPEG, message["meta"])


def prompt_of(frames):
    return next(
        data["prompt_id"]
        for raw in frames
        if isinstance(raw, str) and "prompt_id" in (data := json.loads(raw)["data"])
    )


def shape(raw):
    """A frame without its time."""
    if isinstance(raw, bytes):
        return raw
    said = json.loads(raw)
    said["data"].pop("timestamp", None)
    return said


@contextlib.asynccontextmanager
async def serving(hub):
    async def route(socket):
        socket.state.caller = SimpleNamespace(
            user=socket.headers.get("x-user", ""), key_id=socket.headers.get("x-key", "")
        )
        await hub.serve(socket)

    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/ws", route)]),
        port=0,
        log_level="error",
        ws=HangUpProtocol,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await hub.close()
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def client(port, client_id=None, *, user="", key="", flags=None):
    query = "" if client_id is None else f"?clientId={client_id}"
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/ws{query}"
        async with session.ws_connect(
            url, headers={"x-user": user, "x-key": key}, max_msg_size=0
        ) as socket:
            if flags is not None:
                await socket.send_json({"type": "feature_flags", "data": flags})
            yield socket


async def hear(socket, seconds=0.15):
    """All frames until it is quiet for so long."""
    heard = []
    while True:
        try:
            message = await socket.receive(timeout=seconds)
        except TimeoutError:
            return heard
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return heard
        heard.append(message.data)


def types(heard):
    return [
        f"binary {raw[3]}" if isinstance(raw, bytes) else json.loads(raw)["type"] for raw in heard
    ]
