"""Is a server's worker alive? A tiny graph that every ComfyUI finishes in milliseconds tells.

A dead worker is invisible otherwise: every endpoint answers 200, jobs are
accepted, and nothing ever runs.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from holdfast.comfyui.replies import TOKEN_KEY, Ending
from holdfast.comfyui.server import Server
from holdfast.comfyui.withdraw import Submission, withdraw
from holdfast.ports import ambient

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


def submission_body(
    graph: object,
    ours: Submission,
    extra_data: Mapping[str, object] | None = None,
    targets: Sequence[str] = (),
) -> dict[str, object]:
    """The body of a `/prompt` call that can be found again whatever becomes of its answer."""
    wanted = {"partial_execution_targets": list(targets)} if targets else {}
    return {
        **wanted,
        "prompt": graph,
        "prompt_id": ours.prompt_id,
        "client_id": ours.client_id,
        "extra_data": {**(extra_data or {}), TOKEN_KEY: {"token": ours.token}},
    }


async def worker_answers(
    server: Server, *, seconds: float = 5.0, graph: object = GRAPH
) -> float | None:
    """Seconds the server took for a tiny graph, or None if it did not finish it in time.

    Another graph may be given, to warm a server up. A server that is busy with somebody's long
    job does not finish it either: the caller looks at the queue first. What was submitted is
    taken back.

    Raises:
        ServerCallError: the server could not be asked, or refuses the graph.
    """
    ours = Submission(str(uuid.uuid4()), uuid.uuid4().hex, uuid.uuid4().hex)
    started = ambient.now()
    finished = False
    pause = 0.02
    try:
        answer = await server.submit(submission_body(graph, ours), seconds=seconds)
        if answer.status != 200:
            finished = True
            return None
        while ambient.now() - started < seconds:
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, 0.5)
            entry = await server.history(ours.prompt_id)
            if entry is not None:
                finished = True
                return ambient.now() - started if entry.ending is Ending.SUCCESS else None
        return None
    finally:
        if not finished:
            await withdraw(server, ours, seconds=2.0)
