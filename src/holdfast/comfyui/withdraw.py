"""Taking our own submission back from a server, and nobody else's.

ComfyUI's `/interrupt` without an id stops whatever runs, and older servers
ignore the id that is given. So: look first, act only on what is ours, and
believe the effect only after looking again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from holdfast.comfyui.replies import QueueItem
from holdfast.comfyui.server import Server, ServerCallError
from holdfast.ports import ambient


class Withdrawal(StrEnum):
    """What became of an attempt to take a submission back."""

    ABSENT = "was not there"
    REMOVED = "removed from the queue"
    INTERRUPTED = "interrupted"
    RUNNING = "still running: its node does not listen to interrupts"
    UNREACHABLE = "the server cannot be asked: it may still run there"

    @property
    def clean(self) -> bool:
        """Whether nothing of ours is left on the server."""
        return self in (Withdrawal.ABSENT, Withdrawal.REMOVED, Withdrawal.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission of a job to one server: what it takes to find or join it again."""

    prompt_id: str
    token: str
    client_id: str


async def withdraw(server: Server, submission: Submission, *, seconds: float = 5.0) -> Withdrawal:
    """Remove ``submission`` from the server's queue, or interrupt it if it runs.

    Takes at most about ``seconds``. Never raises for a server's sake.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _withdraw(server, submission, ambient.now() + seconds)
    except (ServerCallError, TimeoutError):
        return Withdrawal.UNREACHABLE


async def _withdraw(server: Server, ours: Submission, until: float) -> Withdrawal:
    done = Withdrawal.ABSENT
    interrupt_at = 0.0
    while True:
        queue = await server.queue()
        now = ambient.now()
        if _holds(queue.pending, ours):
            await server.delete_pending(ours.prompt_id)
            done = Withdrawal.REMOVED
            continue
        if not _holds(queue.running, ours):
            return done
        if now + 0.3 > until:
            return Withdrawal.RUNNING
        if now >= interrupt_at:
            # An interrupt between a job's leaving the queue and its start is lost without notice,
            # so it is repeated for as long as the job is seen to run.
            await server.interrupt(ours.prompt_id)
            done, interrupt_at = Withdrawal.INTERRUPTED, now + 0.5
        await asyncio.sleep(0.1)


def _holds(items: tuple[QueueItem, ...], ours: Submission) -> bool:
    return any(item.is_(ours.prompt_id, ours.token) for item in items)
