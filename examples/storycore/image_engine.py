"""StoryCore-Engine's image engine on the drop-in: high quality does not fit, so less is made.

The class has the shape that StoryCore's documentation shows. The server has little memory.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

# In StoryCore's own tree: from src.error_handling_resilience import ErrorHandlingSystem
from error_handling_resilience import ErrorHandlingSystem
from holdfast.comfyui import ComfyUI, Limits, Workflow
from holdfast.comfyui.standin import StandIn, StandInConfig

WORKFLOW = Path(__file__).with_name("portrait.json")
GIB = 1024**3


class EnhancedImageEngine:
    def __init__(self, config):
        self.config = config
        self.error_system = ErrorHandlingSystem()

        # Set up fallback chain
        fallback_chain = self.error_system.get_fallback_chain("image_generation")
        fallback_chain.add_fallback(self._generate_high_quality)
        fallback_chain.add_fallback(self._generate_standard_quality)
        fallback_chain.add_fallback(self._generate_basic_quality)

    async def generate_image(self, request):
        fallback_chain = self.error_system.get_fallback_chain("image_generation")
        return await fallback_chain.execute(request)

    async def _generate_high_quality(self, request):
        return await self._generate(request, 4096)

    async def _generate_standard_quality(self, request):
        return await self._generate(request, 1024)

    async def _generate_basic_quality(self, request):
        return await self._generate(request, 256)

    async def _generate(self, request, side):
        inputs = {"width": side, "height": side, "6.text": request["prompt"], "3.steps": 4}
        async with ComfyUI(self.config["server"], limits=Limits(memory_attempts=2)) as comfy:
            result = await comfy.run(Workflow.load(WORKFLOW), inputs=inputs)
        return result.images[0]


async def main(url: str) -> None:
    engine = EnhancedImageEngine({"server": url})
    image = await engine.generate_image({"prompt": "a lighthouse in a storm"})
    print(f"{image.filename}: {image.width} x {image.height} pixels")
    for name, stats in engine.error_system.get_system_health()["fallback_stats"].items():
        print(name, stats)
    assert image.width < 4096


with StandIn(StandInConfig(vram_bytes=3 * GIB)) as server:
    asyncio.run(main(server.url))
