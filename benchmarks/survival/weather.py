"""What goes wrong: the same seeded misfortunes on every server, for every client alike."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from benchmarks.survival.orders import LORA, OPTIONAL_NODE
from holdfast.apps.crew import Machine
from holdfast.comfyui.standin.faults import Fault

SERVERS = ("alpha", "beta", "gamma", "delta")
OPTIONS = ("--vram", "3", "--step-seconds", "0.01")
"""3 GiB: the large batches do not fit in one run."""
RESTART_SECONDS = 6.0
"""A server whose worker died or whose device broke is restarted after so long, for everybody: as
somebody would who watches it."""


def _at_jobs(jobs: list[int], dice: random.Random) -> list[Fault]:
    """One fault of each kind, each at one of these jobs, so that none befalls two."""
    at = iter(jobs)
    sampler, decode = "KSampler", "VAEDecode"
    return [
        Fault("die", job=next(at), node=sampler, step=dice.randint(1, 5), restart=1.0),
        Fault("raise", job=next(at), node=sampler, step=2, message="CUDA error: busy"),
        Fault("raise", job=next(at), node=decode, message="a hiccup"),
        Fault("out_of_memory", job=next(at), node=sampler),
        Fault("out_of_memory", job=next(at), node=decode),
        Fault("interrupted", job=next(at), node=sampler, step=3),
        Fault("empty_error", job=next(at), node=sampler, step=2),
        Fault("huge_error", job=next(at), node=sampler, step=2, bytes=2_000_000),
        Fault("block", job=next(at), node=decode, message="not today"),
        Fault("zombie_socket", job=next(at), node=sampler, step=2),
        Fault("stuck_reader", job=next(at), node=sampler, step=2, seconds=1.0),
        Fault("freeze", job=next(at), node=sampler, step=3, seconds=2.0),
        Fault("missing_file", job=next(at)),
        Fault("truncated_file", job=next(at)),
        Fault("disk_full", job=next(at)),
        Fault("dead_worker", job=next(at), node=sampler),
        Fault("broken_device", job=next(at), node=sampler),
    ]


KINDS = 17


def faults(server: int, jobs: int, seed: int) -> tuple[Fault, ...]:
    """The misfortunes of one server that gets about so many jobs."""
    dice = random.Random(f"{seed}/{server}")
    found = _at_jobs(dice.sample(range(2, max(40, jobs)), k=KINDS), dice)
    posts = dice.sample(range(1, max(20, jobs // 2)), k=4)
    found += [
        Fault("lost_response", post=posts[0]),
        Fault("lost_response", post=posts[1]),
        Fault("http_error", post=posts[2], status=503, retry_after=0.5),
        Fault("http_error", post=posts[3], status=500),
        Fault("slow", path="/history/*", seconds=0.2, times=10),
    ]
    if SERVERS[server] == "beta":
        found.append(Fault("missing_model", model=LORA))
    if SERVERS[server] == "gamma":
        found.append(Fault("missing_node", node=OPTIONAL_NODE))
    if SERVERS[server] == "delta":
        found.append(Fault("corrupt_model", model=LORA))
    return tuple(found)


@contextlib.asynccontextmanager
async def machines(folder: Path, jobs: int, seed: int) -> AsyncIterator[list[Machine]]:
    """Four fresh servers with their misfortunes before them, and somebody who watches them."""
    crew = [
        Machine(
            name,
            folder / name,
            faults(number, jobs // len(SERVERS), seed),
            OPTIONS,
            keeps_numbers=True,
        )
        for number, name in enumerate(SERVERS)
    ]
    try:
        await asyncio.gather(*(each.start() for each in crew))
        watchman = asyncio.create_task(_watch(crew))
        try:
            yield crew
        finally:
            watchman.cancel()
            await asyncio.gather(watchman, return_exceptions=True)
    finally:
        for each in crew:
            each.kill()


async def _watch(crew: list[Machine]) -> None:
    ill: dict[str, float] = {}
    handled: dict[str, int] = dict.fromkeys((each.name for each in crew), 0)
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(0.25)
            for each in crew:
                await each.look(session)
                bad = sum(s.kind in ("dead_worker", "broken_device") for s in each.strikes)
                if bad > handled[each.name]:
                    handled[each.name] = bad
                    ill[each.name] = time.monotonic()
                if each.name in ill and time.monotonic() - ill[each.name] > RESTART_SECONDS:
                    del ill[each.name]
                    each.kill()
                    await each.start()


def clean(folder: Path) -> None:
    """Leave nothing of an earlier client."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
