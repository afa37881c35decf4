"""What a job's keeper is told before anything of it is sent, so that it can be found again.

A client that is killed forgets what it had on which server. Whoever keeps a
`Diary` on disk can give the entries to the next `ComfyUI.run` of the same job,
which looks for them on their servers and joins what still runs or has ended,
instead of running it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission, as it was about to be sent."""

    server: str
    """The server's address."""
    prompt_id: str
    token: str
    """What tells this submission from others of the same id."""
    client_id: str
    changed: bool = False
    """Whether the workflow is another one than was given: it is taken back, never joined."""


class Diary(Protocol):
    """Keeps the entries of one job."""

    @property
    def staying(self) -> bool:
        """Whether what runs is left on its server when the run is cancelled, to be joined."""

    async def submitting(self, entry: Entry) -> None:
        """Keep an entry; nothing is sent before this has returned.

        Raises:
            Exception: it cannot be kept, or the job is somebody else's; the run ends with that.
        """

    def heard(self, server: str, frame: str | bytes) -> None:
        """A frame came over the socket of the submission that counts. Must be quick."""
