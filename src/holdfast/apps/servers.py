"""Finding out, before anything is submitted, which servers answer and whether they are ComfyUI."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from holdfast.comfyui import ComfyUI
from holdfast.comfyui.server import Server, ServerCallError

GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a server answered at the start."""

    server: str
    problem: str | None = None
    """Why it cannot be used now, in one line; None if it can."""


async def greet(comfy: ComfyUI, *, wait: float) -> list[Greeting]:
    """Ask every server once, and again for up to ``wait`` seconds until at least one answers.

    Once one has answered, the others get a second: nobody waits for a frozen server.
    """
    until = time.monotonic() + wait
    while True:
        greetings = await _greet_all(comfy)
        if any(each.problem is None for each in greetings) or time.monotonic() >= until:
            return greetings
        await asyncio.sleep(min(1.0, max(0.05, until - time.monotonic())))


async def _greet_all(comfy: ComfyUI) -> list[Greeting]:
    tasks = [asyncio.create_task(_greet(server)) for server in comfy.servers]
    waiting = set(tasks)
    try:
        while waiting and not any(_is_well(task) for task in tasks):
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if waiting:
            await asyncio.wait(waiting, timeout=GRACE_SECONDS)
        silent = "has not answered yet; it gets jobs once it does"
        return [
            task.result() if task.done() else Greeting(server.name, f"{server.name} {silent}")
            for task, server in zip(tasks, comfy.servers, strict=True)
        ]
    finally:
        for task in tasks:
            task.cancel()


def _is_well(task: asyncio.Task[Greeting]) -> bool:
    return task.done() and task.result().problem is None


async def _greet(server: Server) -> Greeting:
    try:
        await server.system_stats()
    except ServerCallError as error:
        return Greeting(server.name, str(error))
    return Greeting(server.name)
