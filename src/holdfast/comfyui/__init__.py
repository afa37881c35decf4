"""Everything Holdfast knows about ComfyUI: a client that gets the picture, whatever servers do."""

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

__all__ = [
    "Allowed",
    "Attempt",
    "ComfyUI",
    "ComfyUIError",
    "DeadlineError",
    "Ejection",
    "Failure",
    "FailureKind",
    "JobLostError",
    "Limits",
    "MissingNode",
    "MissingNodesError",
    "ModelHint",
    "NodeFailedError",
    "NotComfyUIError",
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
    "Workflow",
    "WorkflowRejectedError",
    "container",
    "systemd_unit",
]
