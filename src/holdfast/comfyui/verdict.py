"""The words of watching: how patient to be, what to ask, and how a submission ended."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import Enum, StrEnum, auto

from holdfast.comfyui.failures import NodeFault
from holdfast.comfyui.replies import HistoryEntry
from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds. The defaults suit jobs of minutes to hours."""

    idle: float = 600.0
    """A running job without any progress for so long is stalled. Loading a large model and
    decoding a long video are silent on ComfyUI, so this is generous."""
    queued: float = 3600.0
    """A job waiting behind another that does not change for so long is stalled."""
    ask: float = 5.0
    """Nothing heard for so long: ask `/queue` and `/history`."""
    deaf: float = 1.5
    """Nothing at all heard so soon after our own submission: the socket is deaf, open another."""
    unanswered: float = 60.0
    """HTTP that does not answer for so long: the server is frozen."""
    absent: float = 1.0
    """Seconds between two looks before absence is believed."""
    settle: float = 5.0
    """The run has ended, yet the history lacks it: how long to ask again."""

    def __post_init__(self) -> None:
        """Refuse patience that would ask without a pause or never give up.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < math.inf:
                raise BadInputError(f"{each.name} is {value!r}; it must be a number above 0")


class Where(StrEnum):
    """Where `/queue` says the job is."""

    RUNNING = "running"
    PENDING = "pending"
    ABSENT = "absent"


class Want(Enum):
    """What the watch asks of its driver."""

    LOOK = auto()
    """Read `/queue`, then `/history/{id}`."""
    REOPEN = auto()
    """Open the socket again, with the same client id."""


class Outcome(StrEnum):
    """How the watch ended."""

    ENDED = "ended"
    """The history has it: see `entry`."""
    FAULT = "fault"
    """An error was heard, and the server was gone before the history could be read."""
    DIED = "died"
    """The server refuses connections: the process is gone, and the job with it."""
    FROZEN = "frozen"
    """The server accepts connections but answers nothing."""
    STALLED = "stalled"
    """HTTP is healthy, the job runs or waits, and nothing happens."""
    LOST = "lost"
    """The server knows nothing of a job it had accepted."""
    NEVER_ACCEPTED = "never_accepted"
    """The submission's answer was lost, and so was the submission."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the watch ended, with the evidence."""

    outcome: Outcome
    words: str
    entry: HistoryEntry | None = None
    fault: NodeFault | None = None
    restarted: bool = False
    """Whether the server was restarted meanwhile: its memory is gone."""
