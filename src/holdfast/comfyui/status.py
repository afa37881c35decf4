"""How the servers stand at one moment, as plain values: for screens, reports and tests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServerState(StrEnum):
    """What a server is to the pool."""

    UP = "up"
    NEW = "new"
    """It has not answered yet; nobody has asked it, or it is being asked."""
    RAMPING = "ramping"
    """It has come back and answers, and has yet to deliver a job before it counts in full."""
    DOWN = "down"
    EJECTED = "ejected"
    """It answers, but its results are far off its peers'."""
    DRAINING = "draining"
    """It is being removed, and has a job of ours yet."""
    ALIEN = "alien"
    """It is no ComfyUI."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How one server stands."""

    name: str
    state: ServerState
    reason: str
    """Why it gets no jobs; empty if it does."""
    busy: int
    """Jobs of ours that are there."""
    capacity: int
    """Jobs of ours it may have at a time."""
    foreign: int
    """Jobs of others that ran or waited there when it was last asked."""
    done: int
    """Jobs it has delivered."""
    failed: int
    """Attempts that came to nothing there, whatever for."""
    seconds: float | None
    """What its jobs take in the mean of their kinds; None before the first."""
    pace: float
    """How it compares with its peers: 2 takes twice as long."""
    loaded: tuple[str, ...]
    """Models it should have in memory."""
    breaker: str
    """The state of its circuit breaker, such as ``closed``."""
    retry_in: float
    """Seconds until it is looked at again; 0 if it is up."""
