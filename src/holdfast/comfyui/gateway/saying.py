"""One frame on its way to a client, with what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from holdfast.comfyui.gateway.frames import Raw


class Sort(IntEnum):
    """What a frame tells, in the order in which a client that missed it is told later."""

    START = 0
    CACHED = 1
    EXECUTED = 2
    PROGRESS_STATE = 3
    EXECUTING = 4
    PROGRESS = 5
    PREVIEW = 6
    PICTURE = 7
    """A picture that is the result itself, as the node SaveImageWebsocket sends it: unlike a
    preview it is written nowhere, so each of them matters."""
    TEXT = 8
    OTHER = 9
    """Something between a custom node and its page."""
    NOTE = 10
    """Something of Holdfast's own, for clients that asked for it."""
    STATUS = 11
    END = 12


COLLAPSIBLE = frozenset({Sort.STATUS, Sort.PROGRESS_STATE, Sort.PROGRESS, Sort.PREVIEW})
"""Of these only the newest matters to somebody who is behind."""
PASSING = frozenset(
    {Sort.PROGRESS_STATE, Sort.EXECUTING, Sort.PROGRESS, Sort.PREVIEW, Sort.TEXT, Sort.OTHER}
)
"""Of no interest once the job has ended."""
KEPT = frozenset(Sort) - {Sort.OTHER, Sort.NOTE, Sort.STATUS}
"""What a client that was away is told when it is back."""


class To(StrEnum):
    """Which of a job's clients hear a frame."""

    ALL = "all"
    DESCRIBED = "described"
    """Who announced `supports_preview_metadata`."""
    PLAIN = "plain"
    """Who did not."""
    NOTES = "notes"
    """Who announced `holdfast_notes`."""

    @property
    def kept(self) -> bool:
        """Whether it is kept for a client that is away, who may turn out to be anybody."""
        return self in (To.ALL, To.DESCRIBED)


@dataclass(frozen=True, slots=True)
class Said:
    """A frame, what it tells, of which job and node, and to whom."""

    frame: Raw
    sort: Sort
    job: str = ""
    node: str = ""
    to: To = To.ALL

    @property
    def key(self) -> tuple[str, Sort, str]:
        """Frames with one key tell the same thing, the later one newer."""
        return self.job, self.sort, self.node

    @property
    def size(self) -> int:
        """Bytes it takes, nearly."""
        return len(self.frame)
