"""Getting the model a job lacks, or mending the one that is damaged, while the job waits for it.

Between a job that knows only its workflow and a `ModelManager` that knows files:
what was fetched is told, and only what servers list afterwards counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from holdfast.comfyui.edit import Change
from holdfast.comfyui.failures import Failure, FailureKind, clip
from holdfast.comfyui.model_inputs import looks_like_model
from holdfast.comfyui.models import ModelError, ModelManager, Source
from holdfast.comfyui.page import ModelHint
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError, ErrorCategory

log = logging.getLogger(__name__)


class Supplies:
    """What a job may ask for. Each thing is asked for once a job.

    Args:
        manager: fetches and mends.
        hints: where the workflow's author says its models can be had.
    """

    def __init__(self, manager: ModelManager, hints: Iterable[ModelHint] = ()) -> None:
        self._manager = manager
        self._hints = tuple(hints)
        self._asked: set[tuple[str, ...]] = set()

    def may_help(self, failure: Failure, workflow: Workflow) -> bool:
        """Whether models are what is wrong, and it was not tried for this before."""
        return bool(_wanted(failure, workflow)) and failure.signature not in self._asked

    async def help(self, failure: Failure, workflow: Workflow) -> Change | str:
        """Fetch or mend what the failure tells of.

        Returns:
            What was done, once servers were seen to list it; why nothing was done, in words.
        """
        self._asked.add(failure.signature)
        try:
            if failure.kind is FailureKind.REJECTED:
                return await self._fetch(workflow)
            return await self._mend(_wanted(failure, workflow))
        except ModelError as error:
            return clip(str(error), 500)
        except Exception as error:
            log.exception("models could not be supplied")
            return clip(f"models could not be supplied: {error}", 500)

    async def _fetch(self, workflow: Workflow) -> Change | str:
        hints = [source for each in self._hints if (source := _source(each)) is not None]
        done = await self._manager.ensure(workflow, source=hints, allow_fallbacks=False)
        names = ", ".join(str(each.path.name) for each in done.fetched)
        if not names:
            return "nothing had to be fetched"
        where = ", ".join(done.ready)
        return Change("model_fetched", f"fetched {names}; {where} has it now", keeps_result=True)

    async def _mend(self, names: list[str]) -> Change | str:
        told = []
        for name in names:
            result = await self._manager.repair(name)
            told.append(result.words)
            if result.mended:
                return Change("model_mended", f"{name}: {result.words}", keeps_result=True)
        return "; ".join(told)


def _source(hint: ModelHint) -> Source | None:
    """A hint as a source; None if it is not fit to be one."""
    sha256 = hint.hash if hint.hash_type.lower() == "sha256" and hint.hash else None
    try:
        return Source(
            hint.url, hint.name, hint.directory or None, sha256=sha256, from_workflow=True
        )
    except BadInputError as error:
        log.info("the workflow's hint for %s is no use: %s", hint.name[:100], error)
        return None


def _wanted(failure: Failure, workflow: Workflow) -> list[str]:
    """Models that are missing or damaged, according to the failure."""
    if failure.kind is FailureKind.REJECTED:
        return [each.words for each in failure.problems if each.missing_model]
    node = workflow.graph.get(failure.node_id or "")
    if failure.category is not ErrorCategory.MODEL or node is None:
        return []
    return [value for value in node["inputs"].values() if looks_like_model(value)]
