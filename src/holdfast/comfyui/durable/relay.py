"""Who watches jobs run: told of their beginning, of every frame, and of their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from holdfast.stores.jobs import StoredJob


class Relay(Protocol):
    """Hears of the jobs of one worker, in its event loop. Must be quick, and never raise."""

    def began(self, job: StoredJob) -> None:
        """A worker has taken the job."""

    def frame(self, job: StoredJob, server: str, frame: str | bytes) -> None:
        """A WebSocket frame came from the server that runs the job."""

    def ended(self, job: StoredJob, outcome: Mapping[str, Any]) -> None:
        """The job has ended, and that is on the disk."""
