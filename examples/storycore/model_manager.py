"""StoryCore-Engine's model manager on the drop-in: the model server answers 503 for a while.

The class has the shape that StoryCore's documentation shows. A missing model is told at once,
because asking again for it changes nothing.
"""

from __future__ import annotations

import asyncio

import aiohttp

# In StoryCore's own tree: from src.error_handling_resilience import ErrorHandlingSystem
from error_handling_resilience import ErrorHandlingSystem
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig


class ModelMissingError(Exception):
    pass


class AdvancedModelManager:
    def __init__(self, config):
        self.config = config
        self.asked = 0
        self.error_system = ErrorHandlingSystem()

    async def load_model(self, model_path):
        # Execute with retry and circuit breaker
        return await self.error_system.execute_with_resilience(
            self._load_model_internal,
            model_path,
            circuit_breaker_name="model_loading",
            enable_retry=True,
        )

    async def _load_model_internal(self, model_path):
        self.asked += 1
        folder, _, name = model_path.partition("/")
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.get(f"{self.config['server']}/models/{folder}") as answer,
        ):
            names = await answer.json()
        if name not in names:
            raise ModelMissingError(f"model {name!r} not found in {folder}; there are {names}")
        return name


async def main(url: str) -> None:
    manager = AdvancedModelManager({"server": url})
    print("loaded:", await manager.load_model("checkpoints/sdxl.safetensors"))
    print("asked:", manager.asked, "times")
    assert manager.asked == 3
    try:
        await manager.load_model("checkpoints/absent.safetensors")
    except ModelMissingError as error:
        print("failed at once:", error)
    assert manager.asked == 4
    report = manager.error_system.generate_resilience_report()["error_analytics"]
    print("by category:", report["errors_by_category"])


faults = (Fault("http_error", path="/models/checkpoints", status=503, times=2),)
with StandIn(StandInConfig(faults=faults)) as server:
    asyncio.run(main(server.url))
