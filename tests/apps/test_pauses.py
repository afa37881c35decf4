"""Who waits for a paused queue is told so, once."""

from __future__ import annotations

import asyncio
import contextlib

from holdfast.apps import pauses
from holdfast.stores.jobs import JobStore


async def test_a_pause_and_its_end_are_told_once_each(tmp_path, monkeypatch):
    monkeypatch.setattr(pauses, "LOOK_SECONDS", 0.01)
    store, said = JobStore(tmp_path / "jobs.db"), []
    store.pause(True, "new models").result()
    task = asyncio.create_task(pauses.tell_of_pauses(store, said.append))
    await asyncio.sleep(0.3)
    assert len(said) == 1
    assert "new models" in said[0]
    await asyncio.wrap_future(store.pause(False))
    await asyncio.sleep(0.3)
    assert said[1:] == ["the queue goes on"]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    store.close()
