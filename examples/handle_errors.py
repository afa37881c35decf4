"""What you get when a workflow cannot be run anywhere: a typed error that says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdfast.comfyui import ComfyUI, ComfyUIError, Workflow, WorkflowRejectedError
from holdfast.comfyui.standin import StandIn

WORKFLOW = Workflow.load(Path(__file__).with_name("portrait.json"))


async def main() -> None:
    with StandIn() as server:
        async with ComfyUI(server.url) as comfy:
            try:
                await comfy.run(WORKFLOW, inputs={"4.ckpt_name": "sd1.5.safetensors"})
            except WorkflowRejectedError as error:
                for problem in error.problems:
                    print(problem.words)
            try:
                await comfy.run(WORKFLOW, inputs={"3.steps": 5000}, deadline=0.5)
            except ComfyUIError as error:
                print(f"{type(error).__name__}: {error} ({error.category})")


asyncio.run(main())
