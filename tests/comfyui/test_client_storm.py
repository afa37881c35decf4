"""Servers killed, restarted and frozen at random under many jobs: all are delivered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time

import pytest
from PIL import Image

from holdfast.comfyui import ComfyUI, ComfyUIError, Limits, Patience, events
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.comfyui.graphs import painting, picture

QUICK = Patience(idle=1.2, ask=0.4, deaf=0.4, unanswered=1.5, absent=0.3, settle=2.0)
JOBS = 24
STORM_SECONDS = 9.0


async def storm(standins: list[StandIn], chance: random.Random) -> None:
    """Break servers at random for a while; each is whole again at the end."""
    until = time.monotonic() + STORM_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(chance.uniform(0.1, 0.8))
        victim = chance.choice(standins)
        deed = chance.choice(["kill", "restart", "freeze"])
        if deed == "freeze":
            victim.freeze(chance.uniform(0.2, 3.0))
            continue
        if deed == "kill":
            await asyncio.to_thread(victim.kill)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
        await asyncio.to_thread(victim.restart)


def right(path, number: int) -> bool:
    """Whether a file holds the picture of this job and of no other."""
    with Image.open(path) as image:
        graph = json.loads(image.text["prompt"])
    if number % 2:
        return graph["5"]["inputs"]["seed"] == number
    return graph["1"]["inputs"]["color"] == number


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_job_is_delivered_through_a_storm(tmp_path, seed):
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        standins = [
            stack.enter_context(StandIn(StandInConfig(step_seconds=0.04))) for _ in range(3)
        ]
        urls = [each.url for each in standins]
        settings = {"patience": QUICK, "call_seconds": 1.0, "canary_seconds": 1.0}
        # Whoever kills servers at random must not be taken for a poisonous job.
        limits = Limits(deaths=40)
        async with ComfyUI(*urls, output_dir=tmp_path, limits=limits, **settings) as comfy:
            raging = asyncio.create_task(storm(standins, chance))

            async def one(number: int) -> None:
                steps = chance.choice([10, 20, 30])
                workflow = painting(seed=number, steps=steps) if number % 2 else picture(number)
                result = await comfy.run(workflow, name=f"job{number}", deadline=50)
                (image,) = result.images
                assert right(image.path, number)

            async with asyncio.TaskGroup() as group:
                for number in range(JOBS):
                    group.create_task(one(number))
            await raging
        assert comfy.left_behind == []
        async with ComfyUI(*urls) as later:
            for each in later.servers:
                queue = await each.queue()
                assert queue.running == queue.pending == ()
    assert len(list(tmp_path.iterdir())) == JOBS


async def test_a_server_that_comes_back_after_everybody_gave_up_is_used_again():
    with StandIn() as only:
        async with ComfyUI(only.url, reach_seconds=1.0, call_seconds=0.5) as comfy:
            await comfy.run(picture(1))
            await asyncio.to_thread(only.kill)
            with pytest.raises(ComfyUIError):
                await comfy.run(picture(2))
            await asyncio.sleep(1.5)
            await asyncio.to_thread(only.restart)
            result = await comfy.run(picture(3), deadline=10)
    assert len(result.images) == 1


async def test_a_job_does_not_go_back_to_where_it_stalled_while_another_server_is_only_busy():
    seen: list[object] = []
    dead = Fault("dead_worker", node="KSampler")
    with (
        StandIn(StandInConfig(faults=(dead,), step_seconds=0.02)) as broken,
        StandIn(StandInConfig(step_seconds=0.1)) as busy,
    ):
        async with ComfyUI(
            broken.url,
            busy.url,
            patience=QUICK,
            call_seconds=1.0,
            canary_seconds=0.5,
            on_event=seen.append,
        ) as comfy:
            first = asyncio.create_task(comfy.run(painting(seed=1), name="stalls"))
            await asyncio.sleep(0.1)
            await comfy.run(painting(seed=2, steps=80), name="long")
            result = await first
    assert result.server == busy.url
    assert len(result.attempts) == 2
    ups = [each for each in seen if isinstance(each, events.ServerUp)]
    assert ups == []
