"""Everything Holdfast knows about ComfyUI: a client that gets the picture, whatever servers do."""

import importlib
from typing import TYPE_CHECKING, Any

from holdfast.comfyui.allowed import Allowed
from holdfast.comfyui.client import ComfyUI
from holdfast.comfyui.failures import (
    ComfyUIError,
    DeadlineError,
    Failure,
    FailureKind,
    JobLostError,
    NodeFailedError,
    NotComfyUIError,
    OutOfMemoryError,
    OutputDamagedError,
    OutputMissingError,
    OutputSuspectError,
    PaidRunError,
    PoisonedJobError,
    RunInterruptedError,
    ServerDiedError,
    ServerStalledError,
    ServerUnreachableError,
    WorkflowRejectedError,
)
from holdfast.comfyui.outliers import Ejection
from holdfast.comfyui.page import MissingNode, MissingNodesError, ModelHint
from holdfast.comfyui.plan import Limits
from holdfast.comfyui.restart_watch import RestartLimits
from holdfast.comfyui.restarts import RestartCommand, RestartError, container, systemd_unit
from holdfast.comfyui.result import Attempt, OutputFile, RunResult
from holdfast.comfyui.status import ServerState, ServerStatus
from holdfast.comfyui.verdict import Patience
from holdfast.comfyui.workflow import Workflow

if TYPE_CHECKING:
    from holdfast.comfyui.blocking import SyncComfyUI
    from holdfast.comfyui.engines import (
        ImageEngine,
        SyncImageEngine,
        SyncVideoEngine,
        VideoEngine,
    )
    from holdfast.comfyui.models import ModelManager
    from holdfast.comfyui.offline import OfflineJobs

_HOMES = {
    "ImageEngine": "engines",
    "ModelManager": "models",
    "OfflineJobs": "offline",
    "SyncComfyUI": "blocking",
    "SyncImageEngine": "engines",
    "SyncVideoEngine": "engines",
    "VideoEngine": "engines",
}
"""What is imported when it is asked for: who brings graphs of their own needs none of it."""

__all__ = [
    "Allowed",
    "Attempt",
    "ComfyUI",
    "ComfyUIError",
    "DeadlineError",
    "Ejection",
    "Failure",
    "FailureKind",
    "ImageEngine",
    "JobLostError",
    "Limits",
    "MissingNode",
    "MissingNodesError",
    "ModelHint",
    "ModelManager",
    "NodeFailedError",
    "NotComfyUIError",
    "OfflineJobs",
    "OutOfMemoryError",
    "OutputDamagedError",
    "OutputFile",
    "OutputMissingError",
    "OutputSuspectError",
    "PaidRunError",
    "Patience",
    "PoisonedJobError",
    "RestartCommand",
    "RestartError",
    "RestartLimits",
    "RunInterruptedError",
    "RunResult",
    "ServerDiedError",
    "ServerStalledError",
    "ServerState",
    "ServerStatus",
    "ServerUnreachableError",
    "SyncComfyUI",
    "SyncImageEngine",
    "SyncVideoEngine",
    "VideoEngine",
    "Workflow",
    "WorkflowRejectedError",
    "container",
    "systemd_unit",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
