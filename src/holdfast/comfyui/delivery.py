"""From a run that went through to files in hand: all that were expected, or none.

"Success" is what the server says. What counts is whether every node that saves
has listed a file, and whether each of them could be fetched and decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from holdfast.comfyui import outputs
from holdfast.comfyui.failures import Failure, FailureKind, NodeFault, node_name
from holdfast.comfyui.job import Job
from holdfast.comfyui.replies import FileRef, HistoryEntry
from holdfast.comfyui.result import OutputFile
from holdfast.comfyui.server import AnswerError, Server, SilentError
from holdfast.comfyui.suspicion import suspect
from holdfast.errors import ErrorCategory

FETCH_TRIES = 3
FETCH_SECONDS = 600.0


class AttemptError(Exception):
    """The attempt came to nothing; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def bring_home(
    server: Server, job: Job, entry: HistoryEntry, blocked: NodeFault | None
) -> tuple[OutputFile, ...]:
    """Fetch everything the run made.

    Args:
        server: the server that ran the job.
        job: what was run.
        entry: how the run ended, according to the history.
        blocked: the notice that a node blocked its dependants, if one was heard.

    Raises:
        AttemptError: a file is missing or damaged; nothing is left of the others.
        ServerCallError: the server could not be asked.
        BadInputError: the output folder cannot be written.
    """
    wanted = _expected(server, job, entry, blocked)
    files: list[OutputFile] = []
    try:
        for ref in wanted:
            file = await _fetch(server, job, ref, wanted)
            files.append(file)
    except BaseException:
        throw_away(files)  # half a delivery is none: the next attempt makes all of them again
        raise
    return tuple(files)


def throw_away(files: Iterable[OutputFile]) -> None:
    """Remove files that were brought home and are not delivered after all."""
    for each in files:
        if each.path is not None:
            each.path.unlink(missing_ok=True)


def _expected(
    server: Server, job: Job, entry: HistoryEntry, blocked: NodeFault | None
) -> list[FileRef]:
    """The files to fetch, or why there are not those there should be."""
    saving = job.workflow.saving_nodes()
    kept = [ref for ref in entry.files if ref.type == "output"]
    shown = [ref for ref in entry.files if ref.type == "temp"]
    missing = [node for node in saving if node not in {ref.node_id for ref in entry.files}]
    if not missing and (kept or shown or (entry.nodes_with_output and not entry.files)):
        if job.temps:
            return kept + shown
        return kept or shown  # a workflow may be made to show text alone
    if job.temps and not missing and blocked is None:
        return []  # a node may send what it makes elsewhere, as SaveImageWebsocket does
    node = missing[0] if missing else None
    words = (
        f"the server reports success, but {node_name(node, saving[node])} left no file"
        if node
        else "the server reports success, but the run left no file at all"
    )
    if blocked is not None:
        where = node_name(blocked.node_id, blocked.node_type)
        words += f" ({where} was blocked: {blocked.message})"
    raise AttemptError(
        Failure(
            FailureKind.NOTHING_MADE,
            words,
            server.name,
            node,
            saving.get(node) if node else None,
            category=ErrorCategory.WORKFLOW,
        )
    )


async def _fetch(server: Server, job: Job, ref: FileRef, wanted: list[FileRef]) -> OutputFile:
    name = job.file_name
    # A later run of a batch may leave out a node that an earlier one had: names stay alike.
    if len({each.node_id for each in wanted} | set(job.before or ())) > 1:
        name += f"_{outputs.safe_name(ref.node_id, 20)}"
    same_node = [each for each in wanted if each.node_id == ref.node_id]
    if len(same_node) > 1 or job.before is not None:
        earlier = (job.before or {}).get(ref.node_id, 0)
        name += f"_{earlier + same_node.index(ref) + 1:02d}"
    tried = 0
    while True:
        tried += 1
        try:
            file = await outputs.fetch(server, ref, job.folder, name, seconds=FETCH_SECONDS)
            why = suspect(job.workflow, ref.node_id, file.plain)
            return replace(file, suspect=why) if why else file
        except outputs.OutputError as error:
            raise AttemptError(error.failure) from None
        except (SilentError, AnswerError):
            if tried == FETCH_TRIES:
                raise
            await asyncio.sleep(0.2 * tried)
