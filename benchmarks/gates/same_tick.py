"""Gate 5: our time limit and the caller's cancel are told apart, even in the same tick."""

from __future__ import annotations

import asyncio
import contextlib
import time

from benchmarks.gates.contract import Result, absent, verdict
from benchmarks.peers.contract import Factory, Peer

LIMIT_SECONDS = 0.05


def probe(peer: Peer) -> Result:
    """Let both come due while the loop is busy, in either order; then a plain timeout."""
    if peer.timeout_async is None:
        return absent("asynchronous timeout")
    wrong = []
    for order, cancel_after in (
        ("cancel first", LIMIT_SECONDS * 0.8),
        ("timeout first", LIMIT_SECONDS * 1.2),
    ):
        if not asyncio.run(_cancelled(peer.timeout_async, cancel_after)):
            wrong.append(f"the caller's cancel was lost ({order})")
    left = asyncio.run(_cancelling_left(peer.timeout_async))
    if left:
        wrong.append(f"after a plain timeout task.cancelling() stays {left}")
    return verdict(wrong, "the caller's cancel always wins, and none is made up")


async def _forever() -> None:
    await asyncio.sleep(10.0)


async def _cancelled(factory: Factory, cancel_after: float) -> bool:
    task = asyncio.create_task(factory(_forever, seconds=LIMIT_SECONDS)())
    # Enough turns for the time limit to be armed, however many layers it lies under.
    for _ in range(10):
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(cancel_after, task.cancel)
    time.sleep(LIMIT_SECONDS * 2)  # noqa: ASYNC251  both timers come due in one tick
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
    return task.cancelled()


async def _cancelling_left(factory: Factory) -> int:
    with contextlib.suppress(Exception):
        await factory(_forever, seconds=LIMIT_SECONDS)()
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
