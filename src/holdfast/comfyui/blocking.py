"""`SyncComfyUI`: the client for plain code, without a coroutine in sight."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.portal import Portal
from holdfast.comfyui.result import RunResult
from holdfast.comfyui.workflow import Workflow


class SyncComfyUI:
    """`ComfyUI` for plain code: ``with SyncComfyUI(url, ...) as comfy``.

    Takes what `ComfyUI` takes. `run` may be called from many threads at once. ``on_event`` is
    called in a thread of the client's own.
    """

    def __init__(self, *urls: str, **settings: Any) -> None:
        self._comfy = ComfyUI(*urls, **settings)
        self._portal = Portal("SyncComfyUI")

    def __enter__(self) -> Self:
        """Start the thread and open the connections' pool in it."""
        self._portal.__enter__()
        self._portal.call(self._comfy.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take back what was left on servers, as far as they answer, and end the thread."""
        try:
            self._portal.call(self._comfy.__aexit__, None, None, None)
        finally:
            self._portal.close()

    def run(self, workflow: Workflow, **settings: Any) -> RunResult:
        """As `ComfyUI.run`. Ctrl-C takes the job back from its server.

        Raises:
            BadInputError: an input, a file or the output folder is wrong.
            ComfyUIError: it could not be made.
        """
        return self._portal.call(self._comfy.run, workflow, **settings)
