"""Finding out, before anything is submitted, which servers answer and whether they are ComfyUI."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from holdfast.comfyui import ComfyUI
from holdfast.comfyui.server import Server, ServerCallError


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a server answered at the start."""

    server: str
    problem: str | None = None
    """Why it cannot be used now, in one line; None if it can."""


async def greet(comfy: ComfyUI, *, wait: float) -> list[Greeting]:
    """Ask every server once, and again for up to ``wait`` seconds until at least one answers."""
    until = time.monotonic() + wait
    while True:
        greetings = await asyncio.gather(*(_greet(server) for server in comfy.servers))
        if any(each.problem is None for each in greetings) or time.monotonic() >= until:
            return list(greetings)
        await asyncio.sleep(min(1.0, max(0.05, until - time.monotonic())))


async def _greet(server: Server) -> Greeting:
    try:
        await server.system_stats()
    except ServerCallError as error:
        return Greeting(server.name, str(error))
    return Greeting(server.name)
