"""Finding what an earlier process of ours left on servers, before the job is run again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from holdfast.comfyui.address import Address
from holdfast.comfyui.diary import Entry
from holdfast.comfyui.place import Leftover, Place
from holdfast.comfyui.server import Server, ServerCallError, SilentError
from holdfast.comfyui.withdraw import Submission, withdraw
from holdfast.errors import BadInputError
from holdfast.ports import ambient

log = logging.getLogger(__name__)


async def find_again(
    entries: Sequence[Entry],
    places: Sequence[Place],
    stranger: Callable[[Address], Server],
    *,
    job_key: str,
    job_name: str,
    seconds: float,
) -> str | None:
    """The name of the server on which a submission of the job runs or has ended, if there is one.

    What is found besides it, or cannot be joined, is taken back.

    Args:
        entries: what was sent, the oldest first.
        places: the servers of the pool; the one that has the submission is told of it.
        stranger: makes a server that is not in the pool, to take back what is there.
        job_key: what the job is known by now.
        job_name: what it is called.
        seconds: how long a server that does not answer is asked.
    """
    found: str | None = None
    known = {place.server.address.url: place for place in places}
    for entry in reversed(entries):
        ours = Submission(entry.prompt_id, entry.token, entry.client_id)
        try:
            address = Address.parse(entry.server)
        except BadInputError:
            continue
        place = known.get(address.url)
        server = stranger(address) if place is None else place.server
        there = await _is_there(server, ours, seconds)
        if there is False:
            continue
        left = Leftover(job_key, job_name, ours, awaited=True)
        if there and place is not None and not entry.changed and found is None:
            place.leftovers[ours.token] = left
            found = place.name
            continue
        became = await withdraw(server, ours)
        log.info("%s: an earlier run on %s: %s", job_name, server.name, became.value)
        if not became.clean and place is not None:
            place.leftovers[ours.token] = Leftover("", job_name, ours)
    return found


async def _is_there(server: Server, ours: Submission, seconds: float) -> bool | None:
    """Whether the server has the submission; None if it cannot be asked.

    A server that refuses connections has lost its queue with its process.
    """
    until = ambient.now() + seconds
    while True:
        try:
            queue, entry = await server.look(ours.prompt_id)
        except SilentError:
            if ambient.now() >= until:
                return None
            await asyncio.sleep(0.5)
        except ServerCallError:
            return False
        else:
            listed = any(
                each.is_(ours.prompt_id, ours.token) for each in (*queue.running, *queue.pending)
            )
            return listed or (entry is not None and entry.token in (None, ours.token))
