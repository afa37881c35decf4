"""One server's place in the fleet: what is known of it, and what of ours may still be there."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.comfyui.server import Server
from holdfast.comfyui.withdraw import Submission
from holdfast.machines.circuit import Permit
from holdfast.policies.breaker import CircuitBreaker


@dataclass(frozen=True, slots=True)
class Leftover:
    """A submission that could not be taken back: it may still wait, run, or be done there."""

    job_key: str
    job_name: str
    submission: Submission
    joins: int = 0
    """How often the job has come back to it already."""
    interrupted: bool = False
    """Whether an interrupt of ours may still take effect on it."""


@dataclass(slots=True)
class Place:
    """What is known of one server. Belongs to one event loop."""

    server: Server
    breaker: CircuitBreaker
    known: bool = False
    """Whether it has answered as a ComfyUI before."""
    well: bool = False
    """Whether it may get a job without being examined first."""
    busy: bool = False
    """Whether a job of ours is there."""
    probing: bool = False
    """Whether it is being examined."""
    asked_at: float = float("-inf")
    """When the last examination began."""
    suspect: bool = False
    """It stalled: only a worker that finishes something brings it back."""
    reserved: str | None = None
    """The key of the one job that may go there, because it will find itself there."""
    alien: str = ""
    """Why it is no ComfyUI, if it has never been one."""
    out: bool = False
    """Whether people were told that it gets no jobs."""
    down_since: float | None = None
    """Since when it does not answer; None if it does, or was never asked."""
    runs: tuple[str, float] | None = None
    """Somebody else's job that was seen running, and since when."""
    permit: Permit | None = None
    used: int = 0
    leftovers: dict[str, Leftover] = field(default_factory=dict)
    """By token."""
    uploads: dict[str, str] = field(default_factory=dict)
    """Names of files already uploaded, by content hash."""

    @property
    def name(self) -> str:
        """The server as it is shown to people."""
        return self.server.name

    def leftover_of(self, job_key: str) -> Leftover | None:
        """The submission of a job that may still be here, if there is one."""
        found = [each for each in self.leftovers.values() if each.job_key == job_key]
        return found[-1] if found else None
