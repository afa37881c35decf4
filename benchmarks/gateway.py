"""What the gateway costs: time added per small job, jobs accepted a second, memory over many jobs.

Run with ``python -m benchmarks.gateway [--jobs N]``: a stand-in server and a gateway as processes.
Direct, through the relays of `bare_relay`, and through the gateway alternate, so that all meet the
same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.bare_relay import ended
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


def painting(seed: int) -> dict[str, Any]:
    """A job that takes the stand-in a little while."""
    model, text = {"ckpt_name": "sd15.safetensors"}, {"text": "a lighthouse", "clip": ["1", 1]}
    size = {"width": 64, "height": 64, "batch_size": 1}
    sampling = {
        "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0],
        "seed": seed, "steps": 10, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 1.0,
    }  # fmt: skip
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": model},
        "2": {"class_type": "CLIPTextEncode", "inputs": text},
        "3": {"class_type": "EmptyLatentImage", "inputs": size},
        "4": {"class_type": "KSampler", "inputs": sampling},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
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
        if ended(frame.data) == job:
            break
    return time.perf_counter() - began


async def latency(urls: Sequence[str], count: int) -> list[float]:
    """Median seconds of a small job, by way."""
    taken: dict[str, list[float]] = {url: [] for url in urls}
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
    return [statistics.median(seconds) for seconds in taken.values()]


async def queued(url: str, count: int) -> float:
    """Seconds a job when many wait: what counts overnight."""
    client = uuid.uuid4().hex
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/ws?clientId={client}") as socket,
    ):
        began = time.perf_counter()
        left = set()
        for _ in range(count):
            body = {"prompt": painting(next(_NUMBERS)), "client_id": client}
            async with session.post(f"{url}/prompt", json=body) as answer:
                left.add((await answer.json())["prompt_id"])
        async for frame in socket:
            if frame.type is aiohttp.WSMsgType.TEXT:
                left.discard(ended(frame.data))
            if not left:
                break
        return (time.perf_counter() - began) / count


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


def clear(shown: Path) -> None:
    """Remove what a server showed.

    It looks through all files of a folder before it makes another, and cleans up only when it
    starts: after many jobs that would be all that is measured.
    """
    for each in shown.iterdir():
        each.unlink()


def memory(process: int) -> float:
    """MiB that a process has in memory."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(each for each in text.splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def measure(ways: Mapping[str, str], *, process: int, jobs: int, shown: Path) -> None:
    """Print it all.

    Args:
        ways: addresses: of the server, of what stands before it, and of the gateway.
        process: the gateway's.
        jobs: how many to run for its memory.
        shown: where the server keeps what it showed.
    """
    direct, gateway = ways["directly"], ways["through the gateway"]
    taken = dict(zip(ways, await latency(list(ways.values()), 200), strict=True))
    plain = taken.pop("directly")
    print(f"small job, median of 200: {plain * 1e3:.1f} ms directly")
    for way, seconds in taken.items():
        print(f"  {way}: {(seconds - plain) * 1e3:.1f} ms more", flush=True)
    plain, through = await queued(direct, 50), await queued(gateway, 50)
    print(
        f"50 jobs of {plain * 1e3:.0f} ms in a queue, a job: through the gateway "
        f"{(through - plain) * 1e3:.1f} ms more"
    )
    rate = await accept(gateway, min(jobs, 2_000))
    print(f"accepted durably, 64 clients at once: {rate:.0f} jobs a second")
    await drained(gateway)
    done = told = min(jobs, 2_000) + 260
    while True:
        if done >= told:
            print(f"memory of the gateway after {done} jobs: {memory(process):.0f} MiB", flush=True)
            told = min(jobs, told + max(1_000, jobs // 10))
        if done >= jobs:
            return
        clear(shown)
        more = min(jobs - done, 2_000)
        await accept(gateway, more)
        await drained(gateway)
        done += more


def main() -> None:
    """Start both, measure, and stop them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4_000)
    parser.add_argument("--jobs-per-server", type=int, default=1)
    given = parser.parse_args()
    ports = [free_port() for _ in range(4)]
    behind, between, keeping, before = ports
    direct, nothing, least, gateway = (f"http://127.0.0.1:{port}" for port in ports)
    ways = {
        "directly": direct,
        "through a relay that keeps nothing": nothing,
        "through a relay that keeps the least": least,
        "through the gateway": gateway,
    }
    with tempfile.TemporaryDirectory() as folder:
        commands = (
            f"holdfast.apps standin --port {behind} --folder {folder}/server "
            "--step-seconds 0.02".split(),
            f"benchmarks.bare_relay {between} {direct}".split(),
            f"benchmarks.bare_relay {keeping} {direct} {folder}/least".split(),
            f"holdfast.apps serve --server {direct} --port {before} --no-keys --no-dashboard "
            f"--jobs-per-server {given.jobs_per_server} --data {folder}/data".split(),
        )
        log = Path(folder, "log").open("wb")  # noqa: SIM115 - open for as long as they run
        processes = [
            subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-m", *each],
                stdout=log,
                stderr=log,
                env={**os.environ},
            )
            for each in commands
        ]
        try:
            for port in ports:
                wait_for(port)
            asyncio.run(
                measure(
                    ways,
                    process=processes[-1].pid,
                    jobs=given.jobs,
                    shown=Path(folder, "server", "temp"),
                )
            )
        finally:
            for each in processes:
                each.kill()
                each.wait()
            log.close()


if __name__ == "__main__":
    main()
