"""How far a download is, for whoever wants to show it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of one download."""

    model: str
    """Folder and name."""
    received: int
    """Bytes on the disk, those of earlier attempts included."""
    total: int | None
    """Bytes in all; None if the server does not say."""
    attempt: int
    """Connections made so far, from 1."""
    words: str = ""
    """What is noteworthy: that it goes on, or begins anew, and why."""

    @property
    def share(self) -> float | None:
        """Between 0 and 1; None if it cannot be told."""
        return min(1.0, self.received / self.total) if self.total else None


Listener = Callable[[Progress], None]


def tell(listener: Listener | None, progress: Progress) -> None:
    """Tell whoever listens; that it fails is logged, and changes nothing."""
    if listener is None:
        return
    try:
        listener(progress)
    except Exception:
        log.exception("a listener to the progress of a download failed")
