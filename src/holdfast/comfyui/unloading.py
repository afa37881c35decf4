"""Making a server let go of its models, and finding out whether it did."""

from __future__ import annotations

import asyncio

from holdfast.comfyui.server import Server

WAIT_SECONDS = 1.0
"""`/free` answers at once and acts later; so long its effect is waited for."""


async def unload_models(server: Server) -> str:
    """`POST /free {unload_models}`, and what came of it in words. The node cache stays.

    Raises:
        ServerCallError: the server could not be asked.
    """
    before = await _free_memory(server)
    await server.free(unload_models=True)
    for _ in range(10):
        await asyncio.sleep(WAIT_SECONDS / 10)
        after = await _free_memory(server)
        if before is not None and after is not None and after > before:
            gained = (after - before) / 2**30
            return f"{server.name} unloaded its models: {gained:.1f} GiB more are free"
    return f"{server.name} was asked to unload its models; its free memory has not changed"


async def _free_memory(server: Server) -> int | None:
    stats = await server.system_stats()
    devices = stats.get("devices")
    first = devices[0] if isinstance(devices, list) and devices else None
    free = first.get("vram_free") if isinstance(first, dict) else None
    return free if isinstance(free, int) else None
