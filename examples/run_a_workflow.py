"""Run one workflow on one server and look at what came of it.

Give your own server's address as an argument; without one, a stand-in server is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.standin import StandIn

WORKFLOW = Path(__file__).with_name("portrait.json")


async def main(url: str) -> None:
    async with ComfyUI(url) as comfy:
        result = await comfy.run(Workflow.load(WORKFLOW), inputs={"seed": 7})
    for image in result.images:
        print(f"{image.filename}: {image.width} x {image.height} pixels, {image.size:,} bytes")
    print(f"made by {result.server} in {result.seconds:.1f} s at attempt {len(result.attempts)}")


with contextlib.ExitStack() as stack:
    address = sys.argv[1] if len(sys.argv) > 1 else stack.enter_context(StandIn()).url
    asyncio.run(main(address))
