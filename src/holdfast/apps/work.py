"""`holdfast work`: a worker as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence

from holdfast.apps.exits import Exit
from holdfast.apps.keeping import PATIENT_SECONDS, Kept
from holdfast.apps.pauses import tell_of_pauses
from holdfast.apps.stopping import Stopping
from holdfast.comfyui import ComfyUI, events
from holdfast.comfyui.durable import Worker
from holdfast.stores.jobs import JobState

log = logging.getLogger("holdfast.work")


def work_forever(
    kept: Kept, servers: Sequence[str], *, until_empty: bool, jobs_per_server: int
) -> Exit:
    """Work until stopped, or until nothing is left.

    Raises:
        BadInputError: an address is none.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    comfy = ComfyUI(
        *servers,
        jobs_per_server=jobs_per_server,
        reach_seconds=PATIENT_SECONDS,
        on_event=_say,
    )
    return asyncio.run(_work(kept, comfy, until_empty=until_empty))


async def _work(kept: Kept, comfy: ComfyUI, *, until_empty: bool) -> Exit:
    stopping = Stopping(lambda: log.info("stopping: what runs is left for the next worker"))
    with stopping:
        async with comfy:
            name = f"{socket.gethostname()}-{os.getpid()}"
            worker = Worker(comfy, kept.store, kept.blobs, name=name)
            pauses = asyncio.create_task(tell_of_pauses(kept.store, log.info))
            try:
                await worker.run(until_empty=until_empty)
            finally:
                pauses.cancel()
                await worker.stop()
    failed = kept.store.counts()[JobState.FAILED]
    kept.store.close()
    if stopping.asked:
        return Exit.OK
    if worker.uncopied:
        log.warning(
            "%d delivered jobs were not copied to their folders; copy them with: "
            "holdfast jobs export --data %s --output DIR",
            worker.uncopied,
            kept.data,
        )
    return Exit.SOME_FAILED if failed or worker.uncopied else Exit.OK


def _say(event: events.Event) -> None:
    match event:
        case events.JobDelivered():
            log.info("%s: delivered by %s", event.job, event.result.server)
        case events.JobFailed():
            log.info("%s: failed: %s", event.job, event.failure.message)
        case events.AttemptFailed():
            log.info(
                "%s on %s: %s; %s", event.job, event.server, event.failure.message, event.recovery
            )
        case events.ServerDown():
            log.info("%s is out: %s", event.server, event.reason)
        case events.ServerUp():
            log.info("%s is back", event.server)
