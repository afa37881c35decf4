"""What happens to jobs and servers, told while it happens: for screens, logs and tests.

Every event is a frozen record. A listener is called from the event loop, must
be quick, and can neither delay nor break a run: what it raises is logged.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.failures import Failure
from holdfast.comfyui.result import RunResult


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job was taken up."""

    job: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A job goes to a server."""

    job: str
    server: str
    number: int
    joined: bool = False
    """It was found on the server already, and is joined instead of being run twice."""


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """A node of the job begins."""

    job: str
    server: str
    node_id: str
    node_type: str | None


@dataclass(frozen=True, slots=True)
class NodeStepped:
    """A node of the job got on."""

    job: str
    server: str
    node_id: str
    value: float
    maximum: float


@dataclass(frozen=True, slots=True)
class PreviewReceived:
    """A picture of the work in progress came (only when previews were asked for)."""

    job: str
    server: str
    image: bytes
    image_type: str


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt came to nothing."""

    job: str
    server: str
    number: int
    failure: Failure
    recovery: str
    """What is done about it, in words."""
    final: bool
    """Whether this is the end of the job."""


@dataclass(frozen=True, slots=True)
class JobDelivered:
    """All files of a job are here."""

    job: str
    result: RunResult


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job ended without its files."""

    job: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class ServerDown:
    """A server gets no jobs for now."""

    server: str
    reason: str
    retry_in: float
    """Seconds until it is looked at again."""


@dataclass(frozen=True, slots=True)
class ServerUp:
    """A server that was out is back, and has shown it."""

    server: str


@dataclass(frozen=True, slots=True)
class ServerRestarting:
    """A server is restarted in the way its owner declared."""

    server: str
    reason: str
    number: int
    """Counted from 1 over this outage."""


@dataclass(frozen=True, slots=True)
class ServerRestarted:
    """A server that was restarted works again: it has passed its probe."""

    server: str


@dataclass(frozen=True, slots=True)
class ServerNotRestarted:
    """A restart failed, or none helped."""

    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A submission of ours was taken back from a server, or could not be."""

    job: str
    server: str
    prompt_id: str
    words: str
    """What became of it, such as ``removed from the queue``."""
    clean: bool
    """Whether nothing of it is left there."""


Event = (
    JobStarted
    | AttemptStarted
    | NodeStarted
    | NodeStepped
    | PreviewReceived
    | AttemptFailed
    | JobDelivered
    | JobFailed
    | ServerDown
    | ServerUp
    | ServerRestarting
    | ServerRestarted
    | ServerNotRestarted
    | Withdrawn
)
