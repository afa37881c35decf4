"""Jobs for servers that cannot be reached: kept on disk, and run when one is back.

A job that is put off survives a crash of this process. One that was being run
when the process was killed is run once more: its files are then made twice,
and both are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.failures import ServerUnreachableError
from holdfast.comfyui.result import RunResult
from holdfast.comfyui.workflow import Workflow
from holdfast.system.recovery import Spool, SpoolItem

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What became of the jobs that were put off."""

    delivered: tuple[RunResult, ...] = ()
    left: int = 0
    """Jobs that still wait: no server is there, or one failed and is tried another time."""
    dead: int = 0
    """Jobs that failed too often; they lie in the folder's ``dead``."""
    stopped_by: str = ""
    """What ended it before all were run; empty if nothing did."""


class OfflineJobs:
    """Runs jobs now if it can, and later if it cannot. Belongs to the client's event loop.

    Args:
        comfy: the client; its `reach_seconds` says how long servers may be away before a job is
            put off.
        folder: for these jobs alone.
    """

    def __init__(self, comfy: ComfyUI, folder: str | Path) -> None:
        self._comfy = comfy
        self._spool = Spool(folder, down=ServerUnreachableError)

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._spool)

    def put_off(
        self,
        workflow: Workflow,
        *,
        name: str | None = None,
        files: Mapping[str, str | Path] | None = None,
        **settings: Any,
    ) -> str:
        """Keep a job for later; when this returns, it is on the disk.

        Args:
            workflow: what to run.
            name: what to call the job and its files.
            files: local files to upload; they must still be there when it runs.
            settings: ``output_dir``, ``deadline`` and ``strict``, as for `ComfyUI.run`.

        Returns:
            What the job is known by.

        Raises:
            SpoolFullError: there are too many.
        """
        folder = settings.pop("output_dir", None)
        return self._spool.put(
            {
                "graph": workflow.to_api(),
                "name": name or workflow.name,
                "files": {key: str(Path(path).resolve()) for key, path in (files or {}).items()},
                "output_dir": None if folder is None else str(Path(folder).resolve()),
                "settings": settings,
            }
        )

    async def run(
        self,
        workflow: Workflow,
        *,
        name: str | None = None,
        files: Mapping[str, str | Path] | None = None,
        **settings: Any,
    ) -> RunResult | None:
        """Run a job, or put it off if no server can be reached: then None comes back.

        Args:
            workflow: what to run.
            name: what to call the job and its files.
            files: local files to upload.
            settings: ``output_dir``, ``deadline`` and ``strict``, as for `ComfyUI.run`.

        Raises:
            ComfyUIError: it failed, and not for want of a server.
            SpoolFullError: there are too many jobs put off.
        """
        try:
            return await self._comfy.run(workflow, name=name, files=files, **settings)
        except ServerUnreachableError as error:
            known = self.put_off(workflow, name=name, files=files, **settings)
            log.info("%s is put off as %s: %s", name or workflow.name, known, error)
            return None

    async def catch_up(self) -> CaughtUp:
        """Run what was put off, oldest first, until all is done or no server is there."""
        delivered: list[RunResult] = []

        async def send(item: SpoolItem) -> None:
            job = item.payload
            workflow = Workflow.from_api(job["graph"], name=job["name"])
            folder = job["output_dir"]
            result = await self._comfy.run(
                workflow,
                name=job["name"],
                files=job["files"],
                output_dir=folder,
                **job["settings"],
            )
            delivered.append(result)

        came = await self._spool.replay_async(send)
        return CaughtUp(tuple(delivered), came.left, came.dead, came.stopped_by)
