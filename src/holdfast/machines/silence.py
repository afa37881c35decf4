"""How long nothing has been heard, while somebody ought to be speaking.

An idle timeout is not a timeout: a film may render for an hour as long as it
*gets on*. This watch runs only while progress is due; waiting in a queue
stops it, so time spent waiting never counts against the work.

Time is an argument; a `now` earlier than the last one seen counts as no time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Silence:
    """Counts seconds since the last sign of progress. Starts stopped."""

    _since: float | None = None

    def heard(self, now: float) -> None:
        """Progress was seen, or is due from now on."""
        self._since = now if self._since is None else max(self._since, now)

    def stop(self) -> None:
        """No progress is due: the work waits its turn."""
        self._since = None

    @property
    def running(self) -> bool:
        """Whether progress is due."""
        return self._since is not None

    def lasted(self, now: float) -> float:
        """Seconds of silence so far; 0 while stopped."""
        return 0.0 if self._since is None else max(0.0, now - self._since)

    def exceeds_at(self, limit: float) -> float | None:
        """The moment at which the silence will have lasted `limit` seconds, None while stopped."""
        return None if self._since is None else self._since + limit
