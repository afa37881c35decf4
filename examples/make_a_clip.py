"""Say what should happen, get a clip: first from words, then from words and a first picture.

Give your own server's address as an argument; without one, a stand-in server is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

from PIL import Image

from holdfast.comfyui.engines import VideoEngine
from holdfast.comfyui.standin import StandIn, StandInConfig

MODELS = {
    "checkpoints": ("ltx-video-2b-v0.9.safetensors",),
    "text_encoders": ("t5xxl_fp16.safetensors",),
}
CONFIG = StandInConfig(models=MODELS, step_seconds=0.005)


async def main(url: str) -> None:
    async with VideoEngine(url, family="ltxv") as engine:
        clip = await engine.generate("waves roll in", seconds=1, width=320, height=256, steps=8)
        first = Image.new("RGB", (320, 256), "steelblue")
        begun = await engine.generate(
            "the sun rises", image=first, frames=20, width=320, height=256
        )
    for each in (clip, begun):
        print(
            f"{each.file.filename}: {each.frames} frames, {each.length:.2f} s, "
            f"{each.file.size:,} bytes, by {each.recipe}"
        )
        for words in each.degradations:
            print("  not as asked:", words)


with contextlib.ExitStack() as stack:
    address = sys.argv[1] if len(sys.argv) > 1 else stack.enter_context(StandIn(CONFIG)).url
    asyncio.run(main(address))
