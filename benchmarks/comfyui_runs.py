"""What one small ComfyUI job costs beyond the least a client can do."""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.standin import StandIn, StandInConfig

JOBS = 60


def graph(number: int) -> dict[str, object]:
    size = {"width": 64, "height": 64, "batch_size": 1}
    saved = {"images": ["1", 0], "filename_prefix": "bench"}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "color": number}},
        "2": {"class_type": "SaveImage", "inputs": saved},
    }


async def by_hand(url: str, number: int) -> None:
    """The least a client can do: submit, wait for the end on the socket, fetch the file."""
    client_id, prompt_id = uuid.uuid4().hex, str(uuid.uuid4())
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{url}/ws?clientId={client_id}") as socket:
            body = {"prompt": graph(number), "client_id": client_id, "prompt_id": prompt_id}
            async with session.post(f"{url}/prompt", json=body) as answer:
                await answer.read()
            async for frame in socket:
                told = json.loads(frame.data)
                if told["type"] == "executing" and told["data"]["node"] is None:
                    break
        async with session.get(f"{url}/history/{prompt_id}") as answer:
            history = await answer.json()
        (image,) = history[prompt_id]["outputs"]["2"]["images"]
        async with session.get(f"{url}/view", params=image) as answer:
            await answer.read()


async def timed(action: Callable[[int], Awaitable[object]], first: int) -> list[float]:
    times = []
    for number in range(first, first + JOBS):
        began = time.perf_counter()
        await action(number)
        times.append(time.perf_counter() - began)
    return times


async def runs() -> None:
    print(f"\nOne small job on an idle server, {JOBS} times each (milliseconds)")
    with StandIn(StandInConfig()) as server:
        plain = await timed(lambda number: by_hand(server.url, number), 0)
        async with ComfyUI(server.url) as comfy:
            held = await timed(lambda number: comfy.run(Workflow.from_api(graph(number))), 100_000)
    for name, times in (
        ("by hand, nothing checked", plain),
        ("ComfyUI.run, everything checked", held),
    ):
        ordered = sorted(times)
        median, worst = statistics.median(ordered) * 1e3, ordered[int(len(ordered) * 0.95)] * 1e3
        print(f"  {name:<44} median {median:6.1f}   95 % below {worst:6.1f}")
    ratio = statistics.median(held) / statistics.median(plain)
    print(f"  ratio of the medians: {ratio:.2f}")
