"""A batch of eight that fits into no server: eight pictures all the same, and what it took."""

import asyncio
import json
from pathlib import Path

from holdfast.comfyui import Allowed, ComfyUI, Workflow
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig

PORTRAIT = Path(__file__).parent / "portrait.json"


async def main() -> None:
    """Make eight pictures where four are too many, then forbid what would change them."""
    graph = json.loads(PORTRAIT.read_text())
    for node in graph.values():
        if node["class_type"] == "EmptyLatentImage":
            node["inputs"] |= {"width": 256, "height": 256, "batch_size": 8}
    workflow = Workflow.from_api(graph, name="portrait")
    short = Fault("out_of_memory", node="KSampler", above=3 * 256 * 256, times=0)
    with StandIn(StandInConfig(faults=(short,), step_seconds=0.0)) as server:
        async with ComfyUI(server.url, allowed=Allowed(least_area=0.5)) as comfy:
            result = await comfy.run(workflow, strict=True)  # the same pictures, or none
            again = await comfy.run(workflow.with_seeds_moved(1))  # begins with what fitted
    print(f"{len(result.images)} pictures after {len(result.attempts)} attempts")
    for words in result.degradations:
        print(f"  {words}")
    print(f"the next time: {len(again.images)} pictures after {len(again.attempts)} attempts")


if __name__ == "__main__":
    asyncio.run(main())
