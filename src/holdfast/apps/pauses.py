"""Telling that the queue is paused, to who waits for its end and would wonder."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.stores.jobs import JobStore, StoreUnavailableError

LOOK_SECONDS = 2.0


async def tell_of_pauses(store: JobStore, say: Callable[[str], object]) -> None:
    """Say when the queue is paused, and when it goes on, until cancelled."""
    told: str | None = None
    while True:
        try:
            why = await asyncio.to_thread(store.paused)
        except StoreUnavailableError:
            why = told
        if why is not None and told is None:
            say(f"the queue is paused ({why}): nothing new begins before: holdfast jobs resume")
        elif why is None and told is not None:
            say("the queue goes on")
        told = why
        await asyncio.sleep(LOOK_SECONDS)
