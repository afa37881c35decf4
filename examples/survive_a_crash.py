"""The first server dies in the middle of the job. The picture comes all the same."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig

WORKFLOW = Path(__file__).with_name("portrait.json")
DIES = StandInConfig(faults=(Fault("die", node="KSampler", step=3),))


async def main() -> None:
    with StandIn(DIES) as first, StandIn() as second, tempfile.TemporaryDirectory() as folder:
        async with ComfyUI(first.url, second.url, output_dir=folder) as comfy:
            result = await comfy.run(Workflow.load(WORKFLOW))
        for attempt in result.attempts:
            end = "delivered" if attempt.failure is None else attempt.failure.message
            print(f"attempt {attempt.number} on {attempt.server}: {end} {attempt.recovery}")
        assert result.server == second.url
        assert result.images[0].path is not None
        assert result.images[0].path.exists()


asyncio.run(main())
