"""StoryCore-Engine's video engine on the drop-in: the server is still starting when the work comes.

The class has the shape that StoryCore's documentation shows. What it calls is real: a workflow on
a ComfyUI server, here the embedded one.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

# In StoryCore's own tree: from src.error_handling_resilience import ErrorHandlingSystem
from error_handling_resilience import ErrorHandlingSystem
from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.standin import StandIn, StandInConfig

WORKFLOW = Path(__file__).with_name("clip.json")


class EnhancedVideoEngine:
    def __init__(self, config):
        self.config = config
        self.error_system = ErrorHandlingSystem()
        self.circuit_breaker = self.error_system.get_circuit_breaker("video_generation")

    async def generate_video(self, request):
        # Execute with resilience
        return await self.error_system.execute_with_resilience(
            self._generate_video_internal,
            request,
            circuit_breaker_name="video_generation",
            enable_retry=True,
        )

    async def _generate_video_internal(self, request):
        async with ComfyUI(self.config["server"], reach_seconds=0.5) as comfy:
            result = await comfy.run(Workflow.load(WORKFLOW), inputs={"6.text": request["prompt"]})
        return result.files[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_later(port: int, over: threading.Event) -> None:
    time.sleep(1.0)
    with StandIn(StandInConfig(port=port)):
        over.wait(60)


async def main(port: int) -> None:
    engine = EnhancedVideoEngine({"server": f"http://127.0.0.1:{port}"})
    video = await engine.generate_video({"prompt": "a paper boat, lanterns, night"})
    print(f"{video.filename}: {video.size:,} bytes")
    health = engine.error_system.get_system_health()
    print("retries:", health["retry_stats"])
    print("breaker:", health["circuit_breakers"]["video_generation"]["state"])
    assert health["circuit_breakers"]["video_generation"]["state"] == "closed"


over, port = threading.Event(), free_port()
server = threading.Thread(target=start_later, args=(port, over))
server.start()
try:
    asyncio.run(main(port))
finally:
    over.set()
    server.join()
