"""One server's place in the fleet: what is known of it, and what of ours may still be there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from holdfast.comfyui.ear import Spares
from holdfast.comfyui.needs import Needs
from holdfast.comfyui.outliers import Record
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
    awaited: bool = False
    """Whether its job is about to come for it, and is not in the line yet."""


@dataclass(slots=True)
class Lease:
    """One job's hold on a place."""

    job_key: str
    needs: Needs
    missing: frozenset[str]
    """Models the job needs that were not in the server's memory when it came."""
    began: float
    """When the job's present attempt there began, in seconds."""
    failed: bool = False
    """Whether it has failed here before: a job counts against a server once."""
    fresh: bool = True
    """Whether the whole of its run there will have been seen; not if it is joined."""


@dataclass(slots=True, eq=False)
class Errand:
    """What the fleet is told of a job before it asks for a place."""

    needs: Needs = field(default_factory=Needs)
    never: frozenset[str] = frozenset()
    """Servers it must not go to, whatever its own plan says."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it gets a place, gives one back, or is called back."""
    at: Place | None = None
    """Where it is."""
    recalled: bool = False
    """It must leave its place: the server is being removed."""


@dataclass(slots=True, eq=False)
class Place:
    """What is known of one server. Belongs to one event loop."""

    server: Server
    breaker: CircuitBreaker
    known: bool = False
    """Whether it has answered as a ComfyUI before."""
    well: bool = False
    """Whether it may get a job without being examined first."""
    leases: dict[str, Lease] = field(default_factory=dict)
    """The jobs of ours that are there, by key."""
    capacity: int = 1
    """How many it may have at a time."""
    room: int = 1
    """How many it may have now; while it has yet to prove itself, one."""
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
    """How many jobs it was given."""
    order: int = 0
    """The older the server in this fleet, the lower."""
    introduces: bool = True
    """Whether the first jobs wait for its first answer."""
    done: int = 0
    failed: int = 0
    reason: str = ""
    """Why it gets no jobs."""
    returned: bool = False
    """It came back from trouble or was added, and has yet to deliver."""
    proven: bool = False
    """It has delivered since it last came back."""
    draining: bool = False
    """It is being removed."""
    emptied: asyncio.Event | None = None
    """Set when its last job has left, while it is being removed."""
    ejected_until: float | None = None
    """When its results may be given another chance; None if it is not ejected."""
    ejections: int = 0
    """How often in a row its results were too bad."""
    record: Record = field(default_factory=Record)
    loaded: frozenset[str] = frozenset()
    """Models its last job left in its memory."""
    lacks: dict[str, float] = field(default_factory=dict)
    """Models and node classes it has said it lacks, and until when that is believed."""
    foreign: int = 0
    """Jobs of others there when it was last asked."""
    gauged_at: float = float("-inf")
    """When its queue was last asked for."""
    leftovers: dict[str, Leftover] = field(default_factory=dict)
    """By token."""
    uploads: dict[str, str] = field(default_factory=dict)
    """Names of files already uploaded, by content hash."""
    ears: Spares = field(init=False)
    """Sockets to it that wait for their next run."""

    def __post_init__(self) -> None:
        self.ears = Spares(self.server)

    @property
    def name(self) -> str:
        """The server as it is shown to people."""
        return self.server.name

    @property
    def busy(self) -> bool:
        """Whether a job of ours is there."""
        return bool(self.leases)

    @property
    def full(self) -> bool:
        """Whether it has as many jobs of ours as it may have now."""
        return len(self.leases) >= self.room

    def can_run(self, needs: Needs, now: float) -> bool:
        """Whether it has not said, of late, that it lacks something the job needs."""
        if not self.lacks:
            return True
        self.lacks = {name: until for name, until in self.lacks.items() if until > now}
        return needs.names.isdisjoint(self.lacks)

    def leftover_of(self, job_key: str) -> Leftover | None:
        """The submission of a job that may still be here, if there is one."""
        found = [each for each in self.leftovers.values() if each.job_key == job_key]
        return found[-1] if found else None
