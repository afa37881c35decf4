"""Every way a ComfyUI run can fail: as a value while it is dealt with, as an error at the end.

A `Failure` says what happened in words a ComfyUI user understands, on which
server and at which node. The recovery plan works on failures; the caller
gets the matching error::

    ComfyUIError
    ├── WorkflowRejectedError      a server refused the workflow; `problems` says why, node by node
    ├── NodeFailedError            a node raised
    │   └── OutOfMemoryError       ... because memory ran out
    ├── RunInterruptedError        somebody else pressed stop
    ├── ServerDiedError            the server went away under the run
    │   └── PoisonedJobError       ... again and again: this job is held to be the cause
    ├── PaidRunError               a run that may have cost money failed; it was not run again
    ├── ServerStalledError         no progress and no answer, though the connection stands
    ├── JobLostError               the server forgot the job
    ├── OutputMissingError         'success', but without what should have been made
    ├── OutputDamagedError         the file made is truncated or not what it claims to be
    ├── OutputSuspectError         the picture is black or of one colour, and such were refused
    ├── ServerUnreachableError     no server could be reached
    ├── NotComfyUIError            something answered that is not ComfyUI
    └── DeadlineError              the time allowed was used up

What goes wrong with model files themselves is a `ModelError` (`holdfast.comfyui.models.errors`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from holdfast.errors import DeadlineExceededError, ErrorCategory, HoldfastError
from holdfast.text import printable

if TYPE_CHECKING:
    from holdfast.comfyui.replies import NodeProblem
    from holdfast.comfyui.result import Attempt

MESSAGE_LIMIT = 2_000
"""Characters of a server's text that are kept; real error frames reach 12 MB."""


def clip(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """``text`` made printable, and cut to ``limit`` characters with a note of what is left out."""
    if len(text) <= limit:
        return printable(text)
    return f"{printable(text[:limit])}... ({len(text) - limit:,} more characters)"


class FailureKind(StrEnum):
    """What went wrong with one attempt."""

    REJECTED = "rejected"
    NODE_ERROR = "node_error"
    OUT_OF_MEMORY = "out_of_memory"
    INTERRUPTED = "interrupted"
    SERVER_DIED = "server_died"
    STALLED = "stalled"
    LOST = "lost"
    NEVER_ACCEPTED = "never_accepted"
    SERVER_ERROR = "server_error"
    NOTHING_MADE = "nothing_made"
    """Success was reported, but an output node listed no file: something blocked it."""
    OUTPUT_MISSING = "output_missing"
    """A file was listed, and is gone."""
    OUTPUT_DAMAGED = "output_damaged"
    SUSPECT = "suspect"
    """A picture is black or of one colour where the workflow could not want that."""
    POISONED = "poisoned"
    """Server after server died under this job."""
    PAID = "paid"
    """A node that costs money may have run: it is not run again blindly."""
    DEVICE_BROKEN = "device_broken"
    """The server's graphics device is in a state that only a restart ends."""
    UNREACHABLE = "unreachable"
    NOT_COMFYUI = "not_comfyui"
    DEADLINE = "deadline"


_GPU_MEMORY = re.compile(
    r"out of memory|allocation on device|ran out of memory on your gpu|"
    r"can't allocate memory|failed to allocate|could not allocate|unable to allocate|"
    r"not enough memory|alloc_failed|cannot allocate memory|unable to mmap",
    re.IGNORECASE,
)
_MEMORY_TYPES = frozenset(
    {"torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "MemoryError"},
)


@dataclass(frozen=True, slots=True)
class NodeFault:
    """What a node raised, read from `execution_error` or `execution_interrupted`."""

    node_id: str | None
    node_type: str | None
    exception_type: str = ""
    message: str = ""
    traceback: str = ""
    """The last lines of the server's traceback, cut to a few kilobytes."""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> NodeFault:
        """Read the event's data; every field may be missing or of the wrong type."""

        def text(name: str) -> str:
            value = data.get(name)
            return value if isinstance(value, str) else ""

        lines = data.get("traceback")
        frames = (
            [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
        )
        return cls(
            node_id=text("node_id") or None,
            node_type=clip(text("node_type"), 200) or None,
            exception_type=clip(text("exception_type"), 200),
            message=clip(text("exception_message").strip()),
            traceback=clip("".join(frames[-6:]), 4_000),
        )

    @property
    def blocked(self) -> bool:
        """Whether this is only the notice that dependants will not run."""
        return self.exception_type == "ExecutionBlocked"

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out, on the GPU or off it."""
        return self.exception_type in _MEMORY_TYPES or bool(_GPU_MEMORY.search(self.message))

    @property
    def words(self) -> str:
        """The fault in one sentence."""
        first = next((line.strip() for line in self.message.splitlines() if line.strip()), "")
        what = clip(first, 160) or "no message"
        kind = self.exception_type.rsplit(".", 1)[-1] or "an error"
        return f"{kind}: {what}"


def node_name(node_id: str | None, node_type: str | None) -> str:
    """``node 4 (KSampler)``, with what is known of it."""
    if node_id is None:
        return node_type or "a node"
    return f"node {node_id} ({node_type})" if node_type else f"node {node_id}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one attempt came to nothing."""

    kind: FailureKind
    message: str
    """In words a ComfyUI user understands; never more than a few lines."""
    server: str | None = None
    node_id: str | None = None
    node_type: str | None = None
    exception_type: str = ""
    traceback: str = ""
    problems: tuple[NodeProblem, ...] = ()
    """For a rejected workflow: what is wrong, node by node."""
    elsewhere: bool = False
    """Whether the cause lies in this server (a missing model, a full disk): others may manage."""
    retry_after: float | None = None
    """Seconds the server asked us to wait."""
    category: ErrorCategory = field(default=ErrorCategory.UNKNOWN)

    @property
    def signature(self) -> tuple[str, ...]:
        """What makes two failures the same one: numbers and addresses in the text do not."""
        plain = re.sub(r"0x[0-9a-fA-F]+|\d+", "#", self.message)
        return (self.kind, self.node_id or "", self.exception_type, plain)

    def poisonous(self, deaths: int) -> Failure:
        """The same, held to be the job's own doing after so many servers."""
        at = node_name(self.node_id, self.node_type)
        words = f"{deaths} servers died or stalled under it, the last one at {at}: {self.message}"
        return replace(self, kind=FailureKind.POISONED, message=words)

    def to_error(self, attempts: tuple[Attempt, ...] = ()) -> ComfyUIError:
        """The error that tells the caller about this failure."""
        return _ERRORS[self.kind](self, attempts)


_DEVICE_BROKEN = re.compile(
    r"illegal memory access|device-side assert|unspecified launch failure|misaligned address|"
    r"illegal instruction was encountered|cuda error: (?:unknown error|launch failed)|"
    r"cublas_status_(?:not_initialized|internal_error|execution_failed)|"
    r"uncorrectable ecc error|gpu is lost|device kernel image is invalid",
    re.IGNORECASE,
)
"""After these nothing works in the process any more; every later job fails as well."""
_DISK_FULL = re.compile(r"errno 28|no space left|disk quota", re.IGNORECASE)
_MODEL_DAMAGED = re.compile(
    r"deserializing header|incomplete metadata|could not detect model type|"
    r"metadataincompletebuffer|headertoo(?:large|small)|safetensors file is corrupt|"
    r"weights only load failed|"
    r"pytorchstreamreader|unpicklingerror|safetensorerror",
    re.IGNORECASE,
)


def from_fault(fault: NodeFault, server: str | None) -> Failure:
    """The failure that a node's fault amounts to."""
    where = node_name(fault.node_id, fault.node_type)
    evidence = f"{fault.exception_type} {fault.message}"
    kind, category, elsewhere = FailureKind.NODE_ERROR, ErrorCategory.WORKFLOW, False
    if _DEVICE_BROKEN.search(evidence):
        kind, category = FailureKind.DEVICE_BROKEN, ErrorCategory.SYSTEM
        message = f"{where} broke the graphics device; the server must restart ({fault.words})"
    elif fault.out_of_memory:
        kind, category = FailureKind.OUT_OF_MEMORY, ErrorCategory.MEMORY
        message = f"{where} ran out of memory ({fault.words})"
    elif _DISK_FULL.search(evidence):
        category, elsewhere = ErrorCategory.SYSTEM, True
        message = f"{where} could not write: the server's disk is full ({fault.words})"
    elif _MODEL_DAMAGED.search(evidence):
        category, elsewhere = ErrorCategory.MODEL, True
        message = f"{where} could not read its model file; it looks damaged ({fault.words})"
    elif fault.exception_type == "BrokenPipeError":
        # Progress bars are printed while nodes run: without a reader, all that show one fail.
        category, elsewhere = ErrorCategory.SYSTEM, True
        message = (
            f"{where} wrote where nobody reads any more; if that was the server's own output, "
            f"restart it with its output in a file ({fault.words})"
        )
    elif fault.exception_type == "FileNotFoundError":
        category, elsewhere = ErrorCategory.SYSTEM, True
        message = f"{where} missed a file on the server ({fault.words})"
    else:
        message = f"{where} failed: {fault.words}"
    return Failure(
        kind,
        message,
        server,
        fault.node_id,
        fault.node_type,
        fault.exception_type,
        fault.traceback,
        elsewhere=elsewhere,
        category=category,
    )


class ComfyUIError(HoldfastError):
    """A run that could not be brought to its end. Says where, why and what was tried."""

    def __init__(self, failure: Failure, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.attempts = attempts
        """Every try: server, what went wrong, what was done about it."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failure, self.attempts)

    @property
    def category(self) -> ErrorCategory:
        """Whose trouble this is."""
        return self.failure.category

    @property
    def node_id(self) -> str | None:
        """The node at fault, if one is known."""
        return self.failure.node_id

    @property
    def node_type(self) -> str | None:
        """The class of the node at fault, if one is known."""
        return self.failure.node_type

    @property
    def server(self) -> str | None:
        """The server the last attempt ran on."""
        return self.failure.server


class WorkflowRejectedError(ComfyUIError):
    """No server takes this workflow; `problems` names each node's errors in words."""

    @property
    def problems(self) -> tuple[NodeProblem, ...]:
        """What is wrong, node by node."""
        return self.failure.problems


class NodeFailedError(ComfyUIError):
    """A node raised, on every server that was tried."""


class OutOfMemoryError(NodeFailedError):
    """A node ran out of memory, on every server that was tried."""


class RunInterruptedError(ComfyUIError):
    """Somebody else interrupts or deletes this run, again and again."""


class ServerDiedError(ComfyUIError):
    """The servers that ran this job went away under it."""


class PoisonedJobError(ServerDiedError):
    """Server after server died under this job: it is quarantined and not run again."""


class PaidRunError(ComfyUIError):
    """A run that may have cost money failed, and was not run again blindly."""


class ServerStalledError(ComfyUIError):
    """No progress: the server's worker is dead, or the whole process is frozen."""


class JobLostError(ComfyUIError):
    """The server accepted the job and then knew nothing of it."""


class OutputMissingError(ComfyUIError):
    """The server reported success without the files the workflow should have made."""


class OutputDamagedError(ComfyUIError):
    """A file the server made is truncated or cannot be decoded."""


class OutputSuspectError(ComfyUIError):
    """A picture is black or of one colour, where the workflow could not want that."""


class ServerUnreachableError(ComfyUIError):
    """No server could be reached, or all answer with server errors."""


class NotComfyUIError(ComfyUIError):
    """Something answers at this address, but it is not ComfyUI."""


class DeadlineError(ComfyUIError, DeadlineExceededError):
    """The time allowed for this job was used up."""


_ERRORS: Mapping[FailureKind, type[ComfyUIError]] = {
    FailureKind.REJECTED: WorkflowRejectedError,
    FailureKind.NODE_ERROR: NodeFailedError,
    FailureKind.OUT_OF_MEMORY: OutOfMemoryError,
    FailureKind.INTERRUPTED: RunInterruptedError,
    FailureKind.SERVER_DIED: ServerDiedError,
    FailureKind.STALLED: ServerStalledError,
    FailureKind.LOST: JobLostError,
    FailureKind.NEVER_ACCEPTED: ServerUnreachableError,
    FailureKind.SERVER_ERROR: ServerUnreachableError,
    FailureKind.NOTHING_MADE: OutputMissingError,
    FailureKind.OUTPUT_MISSING: OutputMissingError,
    FailureKind.OUTPUT_DAMAGED: OutputDamagedError,
    FailureKind.SUSPECT: OutputSuspectError,
    FailureKind.POISONED: PoisonedJobError,
    FailureKind.PAID: PaidRunError,
    FailureKind.DEVICE_BROKEN: ServerDiedError,
    FailureKind.UNREACHABLE: ServerUnreachableError,
    FailureKind.NOT_COMFYUI: NotComfyUIError,
    FailureKind.DEADLINE: DeadlineError,
}
