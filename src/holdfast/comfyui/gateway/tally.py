"""How many jobs each user has in the whole gateway, waiting and running. Bounded."""

from __future__ import annotations

from collections import Counter, OrderedDict


class Tally:
    """Counts each job once, however often it is told of."""

    def __init__(self, most: int = 250_000) -> None:
        self._most = most
        self._open: OrderedDict[str, str] = OrderedDict()
        self._of: Counter[str] = Counter()

    def add(self, job: str, user: str) -> bool:
        """The job is there; False if it was counted already."""
        if job in self._open:
            return False
        self._open[job] = user
        self._of[user] += 1
        if len(self._open) > self._most:
            self.remove(next(iter(self._open)))
        return True

    def remove(self, job: str) -> bool:
        """The job is over; False if it was not counted."""
        user = self._open.pop(job, None)
        if user is None:
            return False
        self._of[user] -= 1
        if self._of[user] <= 0:
            del self._of[user]
        return True

    def remaining(self, user: str) -> int:
        """What ComfyUI calls `queue_remaining`: the user's jobs that wait or run."""
        return self._of[user]
