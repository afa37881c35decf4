"""Is a server fit for a job? A look at its queue and, if it had stalled, a tiny graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from holdfast.comfyui.canary import worker_answers
from holdfast.comfyui.place import Place
from holdfast.comfyui.replies import Queue
from holdfast.comfyui.withdraw import withdraw


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


async def examine(
    place: Place,
    *,
    now: float,
    canary_seconds: float,
    patience_seconds: float,
    waits: Callable[[str], bool],
) -> Finding:
    """Find out whether a server may get a job.

    Args:
        place: the server.
        now: the present, in the fleet's seconds.
        canary_seconds: how long an idle server may take for a tiny graph.
        patience_seconds: how long somebody else's job may run before the worker is held for dead.
        waits: whether the job with this key waits for a place, and so may join itself here.

    Raises:
        ServerCallError: the server could not be asked.
    """
    if not place.known:
        await place.server.system_stats()
    queue = await place.server.queue()
    there = {item.token for item in (*queue.running, *queue.pending)}
    for token, left in list(place.leftovers.items()):
        if waits(left.job_key):
            if token in there:
                return Finding(Condition.WELL, reserved=left.job_key)
        elif (await withdraw(place.server, left.submission, seconds=3.0)).clean:
            place.leftovers.pop(token, None)
    if not place.suspect:
        return Finding(Condition.WELL)
    return await _suspect(place, queue, now, canary_seconds, patience_seconds)


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
