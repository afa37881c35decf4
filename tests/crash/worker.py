"""A worker as a process of its own, to be killed and frozen: `python -m` this module."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from holdfast.comfyui import ComfyUI
from holdfast.comfyui.durable import Worker
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobStore

LEASE = 2.0


async def work(data: Path, name: str, url: str) -> None:
    store = JobStore(data / "jobs.db", lease_seconds=LEASE)
    async with ComfyUI(url, previews=True, reach_seconds=120.0) as comfy:
        await Worker(comfy, store, BlobStore(data / "files"), name=name, concurrency=1).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    folder, called, server = sys.argv[1:]
    asyncio.run(work(Path(folder), called, server))
