"""`python -m benchmarks.sockets`: a thousand WebSocket clients on uvicorn, the door and a hub.

The clients are in a process of their own. What is printed: how long all take to
connect, how long one status takes to reach each of them (measured in one clock,
from before it is said to when it is read), the same for events of a client's own
job while all others are open, and the server's memory for each client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import uvicorn
from sqlalchemy import create_engine
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from holdfast.comfyui.gateway.access import Access
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.hang_up import HangUpProtocol
from holdfast.comfyui.gateway.hub import Hub
from holdfast.comfyui.gateway.keys import KeyStore
from holdfast.comfyui.gateway.limits import Limits

_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    client_id: str
    user: str = ""
    started: float | None = 1.0


async def _serve(clients: int, rounds: int) -> None:
    hub = Hub()
    config = uvicorn.Config(
        _door(hub, clients),
        port=0,
        log_level="error",
        ws=HangUpProtocol,
        ws_per_message_deflate=False,
        lifespan="off",
        backlog=4096,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    before = _resident()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_clients, args=(theirs, port, clients), daemon=True
    )
    process.start()
    connected = await asyncio.to_thread(ours.recv)
    memory = (_resident() - before) / clients
    said = []
    for number in range(rounds):
        await asyncio.sleep(_PAUSE_SECONDS / 2)
        said.append(time.monotonic())
        hub.accepted(_Job(f"all{number}", "nobody"))
    own = []
    for number in range(rounds * 20):
        await asyncio.sleep(0.02)
        job = _Job(f"own{number}", f"c{number % clients}")
        own.append((job.id, time.monotonic()))
        hub.began(job)
    await asyncio.sleep(_PAUSE_SECONDS)
    ours.send((said, own))
    broadcast, personal = await asyncio.to_thread(ours.recv)
    process.join()
    print(f"{clients:,} clients connected in {connected:.2f} s")
    _tell("status to all", broadcast, clients * rounds)
    _tell("an event of one's own job", personal, len(own))
    print(f"memory for each client, on the server: {memory / 1024:.1f} KiB")
    await hub.close()
    server.should_exit = True
    await running


def _door(hub: Hub, clients: int) -> Access:
    """What `serve --no-keys --max-sockets` puts before the sockets."""
    inner = Starlette(routes=[WebSocketRoute("/ws", hub.serve)])
    limits = Limits(sockets=clients, sockets_all=clients)
    keys = KeyStore(create_engine("sqlite://"))
    return Access(inner, keys, Exposure.read(keyless=True, limits=limits))


def _tell(what: str, seconds: Sequence[float], expected: int) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(
        f"{what}: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms,"
        f" {len(seconds):,} of {expected:,} arrived"
    )


def _clients(pipe: Connection, port: int, count: int) -> None:
    asyncio.run(_listen(pipe, port, count))


async def _listen(pipe: Connection, port: int, count: int) -> None:
    statuses: list[tuple[int, float]] = []
    own: dict[str, float] = {}
    gate = asyncio.Semaphore(100)

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        url = f"http://127.0.0.1:{port}/ws?clientId=c{number}"
        async with gate:
            socket = await session.ws_connect(url)
            await socket.receive()
        listeners.append(asyncio.create_task(read(socket)))

    async def read(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            now = time.monotonic()
            said = json.loads(message.data)
            if said["type"] == "execution_start":
                own[said["data"]["prompt_id"]] = now
            elif said["type"] == "status":
                left = said["data"]["status"]["exec_info"]["queue_remaining"]
                statuses.append((left, now))

    listeners: list[asyncio.Task[None]] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        start = time.monotonic()
        await asyncio.gather(*(one(session, number) for number in range(count)))
        pipe.send(time.monotonic() - start)
        said, jobs = await asyncio.to_thread(pipe.recv)
        broadcast = [now - said[n - 1] for n, now in statuses if 1 <= n <= len(said)]
        pipe.send((broadcast, [own[job] - at for job, at in jobs if job in own]))
        for listener in listeners:
            listener.cancel()


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Connect, tell, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sockets", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    asyncio.run(_serve(arguments.clients, arguments.rounds))


if __name__ == "__main__":
    main()
