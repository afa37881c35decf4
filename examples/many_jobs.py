"""Twenty pictures on three servers, one of which raises every now and then; events as they come."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from holdfast.comfyui import ComfyUI, Workflow, events
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig

WORKFLOW = Workflow.load(Path(__file__).with_name("portrait.json"))
MOODY = StandInConfig(faults=(Fault("raise", job=2, node="KSampler", times=3),))


def tell(event: events.Event) -> None:
    if isinstance(event, events.AttemptFailed):
        print(f"{event.job}: {event.failure.message} -- {event.recovery}")
    elif isinstance(event, events.JobDelivered):
        print(f"{event.job}: delivered by {event.result.server}")


async def main() -> None:
    with contextlib.ExitStack() as stack:
        configs = (MOODY, StandInConfig(), StandInConfig())
        urls = [stack.enter_context(StandIn(config)).url for config in configs]
        async with ComfyUI(*urls, on_event=tell) as comfy, asyncio.TaskGroup() as group:
            for number in range(20):
                job = comfy.run(WORKFLOW.with_seeds_moved(number), name=f"shot_{number:02d}")
                group.create_task(job)


asyncio.run(main())
