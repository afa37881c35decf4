"""A worker is stopped in the middle of a job; the next one finds the run, and joins it."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.durable import Worker, new_job
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobStore

WORKFLOW = Workflow.load(Path(__file__).with_name("portrait.json"))


async def work(store: JobStore, blobs: BlobStore, url: str, seconds: float | None) -> None:
    async with ComfyUI(url) as comfy:
        worker = Worker(comfy, store, blobs)
        working = asyncio.create_task(worker.run(until_empty=True))
        if seconds is not None:
            await asyncio.sleep(seconds)
            await worker.stop()
        await working


async def main(folder: str) -> None:
    store, blobs = JobStore(Path(folder, "jobs.db")), BlobStore(Path(folder, "files"))
    (job,) = store.accept([new_job(WORKFLOW, name="portrait")]).result()
    with StandIn(StandInConfig(step_seconds=0.1)) as server:
        await work(store, blobs, server.url, seconds=1.0)
        print("stopped:", store.job(job.id).state.value)
        await work(store, blobs, server.url, seconds=None)
    for event in store.story(job.id):
        print(event.kind)
    assert "joined" in [event.kind for event in store.story(job.id)]
    print([file.filename for file in store.files(job.id)])
    store.close()


with tempfile.TemporaryDirectory() as temporary:
    asyncio.run(main(temporary))
