"""Is a server fit for a job? A look at its queue and, if it had stalled, a tiny graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from holdfast.comfyui.canary import worker_answers
from holdfast.comfyui.place import Leftover, Place
from holdfast.comfyui.replies import Queue
from holdfast.comfyui.withdraw import Withdrawal, withdraw


class Condition(StrEnum):
    """What a probe found."""

    WELL = "well"
    BUSY = "busy"
    """It answers, and runs somebody else's job: whether its worker lives cannot be told yet."""
    ILL = "ill"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found, in words, and for whom."""

    condition: Condition
    words: str = ""
    reserved: str | None = None
    """The key of a waiting job whose own submission is still there: only it may go there."""
    foreign: int = 0
    """Jobs of others that run or wait there."""


class Waiting(Protocol):
    """What the fleet knows of the jobs that wait."""

    def wants(self, job_key: str, place: Place) -> bool:
        """Whether the job waits for a place, and would take this one."""

    def has_only(self, job_key: str, place: Place) -> bool:
        """Whether there is no other server for the job."""


async def examine(
    place: Place, waiting: Waiting, *, now: float, canary_seconds: float, patience_seconds: float
) -> Finding:
    """Find out whether a server may get a job.

    Args:
        place: the server.
        waiting: the jobs that wait, some of which may have left a submission here.
        now: the present, in the fleet's seconds.
        canary_seconds: how long an idle server may take for a tiny graph.
        patience_seconds: how long somebody else's job may run before the worker is held for dead.

    Raises:
        ServerCallError: the server could not be asked.
    """
    if not place.known or place.suspect:
        # With a broken device this is where a server fails, though all else answers.
        await place.server.system_stats()
    queue = await place.server.queue()
    for token, left in list(place.leftovers.items()):
        if waiting.wants(left.job_key, place):
            if await _may_join(place, queue, left, waiting):
                return Finding(
                    Condition.WELL, reserved=left.job_key, foreign=_foreign(place, queue)
                )
            continue
        if left.awaited:
            continue
        became = await withdraw(place.server, left.submission, seconds=3.0)
        if became is Withdrawal.UNREACHABLE:
            return Finding(Condition.ILL, "it has stopped answering")
        if became.clean:
            place.leftovers.pop(token, None)
    if not place.suspect:
        return Finding(Condition.WELL, foreign=_foreign(place, queue))
    return await _suspect(place, queue, now, canary_seconds, patience_seconds)


def _foreign(place: Place, queue: Queue) -> int:
    return sum(item.token not in place.leftovers for item in (*queue.running, *queue.pending))


async def _may_join(place: Place, queue: Queue, left: Leftover, waiting: Waiting) -> bool:
    """Whether a job should go back to its own submission here, instead of being run again."""
    entry = await place.server.history(left.submission.prompt_id)
    if entry is not None and entry.token == left.submission.token:
        return True
    listed = {item.token for item in (*queue.running, *queue.pending)}
    if left.submission.token not in listed:
        return not place.suspect  # the attempt will find it gone, and submit it again
    # Where a job has stalled it may stall again: once, and only if it has nowhere else to go.
    return not place.suspect or (left.joins == 0 and waiting.has_only(left.job_key, place))


async def _suspect(
    place: Place, queue: Queue, now: float, canary_seconds: float, patience_seconds: float
) -> Finding:
    ours = set(place.leftovers)
    running = [item.prompt_id for item in queue.running if item.token not in ours]
    if running:
        if place.runs is None or place.runs[0] != running[0]:
            place.runs = (running[0], now)
        if now - place.runs[1] < patience_seconds:
            return Finding(Condition.BUSY, "it runs somebody else's job")
        return Finding(Condition.ILL, "it has been at the same job for too long")
    place.runs = None
    if await worker_answers(place.server, seconds=canary_seconds) is None:
        return Finding(Condition.ILL, "its worker does not finish a tiny test graph")
    return Finding(Condition.WELL)


async def clear(place: Place, seconds: float) -> list[tuple[str, str, Withdrawal]]:
    """Take back what was left on a server; what could not be: (job, server, what became of it)."""
    await place.ears.close()
    left: list[tuple[str, str, Withdrawal]] = []
    silent = False
    for token, each in list(place.leftovers.items()):
        # One wait for a silent server is enough, however much was left there.
        became = Withdrawal.UNREACHABLE
        if not silent:
            became = await withdraw(place.server, each.submission, seconds=seconds)
        silent = became is Withdrawal.UNREACHABLE
        if became.clean:
            place.leftovers.pop(token, None)
        else:
            left.append((each.job_name, place.name, became))
    return left
