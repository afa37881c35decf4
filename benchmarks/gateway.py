"""What the gateway costs: time added per small job, jobs accepted a second, memory over many jobs.

Run with ``python -m benchmarks.gateway [--jobs N]``: a stand-in server and a gateway as processes.
Direct and through the gateway alternate, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.crash.cast import free_port, wait_for

_NUMBERS = itertools.count()


def graph() -> dict[str, Any]:
    """A tiny graph that no server has in its cache."""
    color = next(_NUMBERS)
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


async def one_job(session: aiohttp.ClientSession, socket: Any, url: str, client: str) -> float:
    """Seconds from the submission to the event that ends the run."""
    began = time.perf_counter()
    body = {"prompt": graph(), "client_id": client}
    async with session.post(f"{url}/prompt", json=body) as answer:
        job = (await answer.json())["prompt_id"]
    async for frame in socket:
        if frame.type is not aiohttp.WSMsgType.TEXT:
            continue
        told = json.loads(frame.data)
        data = told.get("data") or {}
        ended = told["type"] == "executing" and data.get("node") is None
        if ended and data.get("prompt_id") == job:
            break
    return time.perf_counter() - began


async def latency(direct: str, gateway: str, count: int) -> tuple[float, float]:
    """Median seconds of a small job: direct, and through the gateway."""
    taken: dict[str, list[float]] = {direct: [], gateway: []}
    async with aiohttp.ClientSession() as session:
        clients = {url: uuid.uuid4().hex for url in taken}
        sockets = {
            url: await session.ws_connect(f"{url}/ws?clientId={clients[url]}") for url in taken
        }
        for number in range(count + 10):
            for url, seconds in taken.items():
                took = await one_job(session, sockets[url], url, clients[url])
                if number >= 10:
                    seconds.append(took)
        for socket in sockets.values():
            await socket.close()
    return statistics.median(taken[direct]), statistics.median(taken[gateway])


async def accept(gateway: str, count: int, at_once: int = 64) -> float:
    """Jobs accepted durably a second, while the queue is paused."""
    async with aiohttp.ClientSession() as session:
        pause = {"paused": True, "reason": "benchmark"}
        await session.put(f"{gateway}/holdfast/api/queue", json=pause)
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                while not await _taken(session, gateway):
                    pass

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(at_once)))
        rate = count / (time.perf_counter() - began)
        await session.put(f"{gateway}/holdfast/api/queue", json={"paused": False})
        return rate


async def _taken(session: aiohttp.ClientSession, gateway: str) -> bool:
    async with session.post(f"{gateway}/prompt", json={"prompt": graph()}) as answer:
        if answer.status == 429:
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            return False
        assert answer.status == 200, await answer.text()  # noqa: S101
        return True


async def drained(gateway: str) -> None:
    """Wait until nothing waits or runs."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{gateway}/prompt") as answer:
                if not (await answer.json())["exec_info"]["queue_remaining"]:
                    return
            await asyncio.sleep(0.5)


def memory(process: int) -> float:
    """MiB that a process has in memory."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def measure(direct: str, gateway: str, process: int, jobs: int) -> None:
    """Print it all."""
    plain, through = await latency(direct, gateway, 200)
    print(
        f"small job, median of 200: direct {plain * 1e3:.1f} ms, through the gateway "
        f"{through * 1e3:.1f} ms: {(through - plain) * 1e3:.1f} ms more"
    )
    rate = await accept(gateway, min(jobs, 2_000))
    print(f"accepted durably, 64 clients at once: {rate:.0f} jobs a second")
    await drained(gateway)
    done = told = min(jobs, 2_000) + 210
    while True:
        if done >= told:
            print(f"memory of the gateway after {done} jobs: {memory(process):.0f} MiB", flush=True)
            told = min(jobs, told + max(1_000, jobs // 10))
        if done >= jobs:
            return
        more = min(jobs - done, 2_000)
        await accept(gateway, more)
        await drained(gateway)
        done += more


def main() -> None:
    """Start both, measure, and stop them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4_000)
    jobs = parser.parse_args().jobs
    behind, before = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        commands = (
            f"standin --port {behind} --folder {folder}/server --step-seconds 0.001".split(),
            f"serve --server http://127.0.0.1:{behind} --port {before} --no-keys --no-dashboard "
            f"--data {folder}/data".split(),
        )
        log = Path(folder, "log").open("wb")  # noqa: SIM115 - open for as long as they run
        processes = [
            subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-m", "holdfast.apps", *each],
                stdout=log,
                stderr=log,
                env={**os.environ},
            )
            for each in commands
        ]
        try:
            for port in (behind, before):
                wait_for(port)
            direct, gateway = f"http://127.0.0.1:{behind}", f"http://127.0.0.1:{before}"
            asyncio.run(measure(direct, gateway, processes[1].pid, jobs))
        finally:
            for each in processes:
                each.kill()
                each.wait()
            log.close()


if __name__ == "__main__":
    main()
