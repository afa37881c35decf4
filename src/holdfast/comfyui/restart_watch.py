"""When is a server that is down to be restarted, and when is that no use any more? Pure.

A server that refuses connections may be on its way up by itself, so it is
given a while; one whose worker is dead, that is frozen, or whose device is
broken does not mend itself and is given a shorter one. After a restart the
server is *booting* until it is ready or its time is up; then it is *dead*, and
restarted again as long as the limit allows.

Time is an argument: seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields
from enum import StrEnum

from holdfast.errors import BadInputError


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """How long to wait before a restart, and how many there may be. Seconds.

    Raises:
        BadInputError: a value is out of its range; the message names it.
    """

    grace: float = 20.0
    """A server that cannot be reached gets so long to come back by itself."""
    grace_ill: float = 5.0
    """A server that is frozen, has a dead worker or a broken device gets so long."""
    boot: float = 180.0
    """How long a restarted server may take until it is ready. Loading node packs takes minutes."""
    most: int = 3
    """Restarts within `window`; after that the server is left alone."""
    window: float = 3600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            lowest = 0 if each.name.startswith("grace") else 1
            if not lowest <= value < math.inf:
                raise BadInputError(f"{each.name} is {value!r}; it must be {lowest} or more")


class Boot(StrEnum):
    """How far a server is."""

    READY = "ready"
    DOWN = "down"
    """It may come back by itself."""
    BOOTING = "booting"
    """It was restarted, and its time is not up."""
    DEAD = "dead"
    """It was restarted and did not come back, or was restarted too often."""


class RestartWatch:
    """What happened to one server. Not safe across threads."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._down_since: float | None = None
        self._ill = False
        self._restarts: deque[float] = deque()
        self._booting_since: float | None = None

    def down(self, now: float, *, ill: bool) -> None:
        """The server gets no jobs.

        Args:
            now: when.
            ill: it answers or holds its port, and does not work: it will not mend itself.
        """
        if self._down_since is None:
            self._down_since = now
        self._ill = self._ill or ill

    def up(self) -> bool:
        """The server has shown that it works; whether that follows a restart."""
        restarted = self._booting_since is not None
        self._down_since = self._booting_since = None
        self._ill = False
        return restarted

    def restarted(self, now: float) -> None:
        """It was restarted just now, or somebody tried to."""
        self._restarts.append(now)
        self._booting_since = now

    def due_at(self, now: float) -> float | None:
        """When the next restart is due; None if none is, for it is up or was restarted enough."""
        if self._down_since is None or self._spent(now):
            return None
        if self._booting_since is not None:
            return self._booting_since + self._limits.boot
        grace = self._limits.grace_ill if self._ill else self._limits.grace
        return self._down_since + grace

    def boot(self, now: float) -> Boot:
        """How far the server is."""
        if self._down_since is None:
            return Boot.READY
        if self._booting_since is None:
            return Boot.DEAD if self._spent(now) else Boot.DOWN
        return Boot.BOOTING if now < self._booting_since + self._limits.boot else Boot.DEAD

    def _spent(self, now: float) -> bool:
        while self._restarts and now - self._restarts[0] >= self._limits.window:
            self._restarts.popleft()
        return len(self._restarts) >= self._limits.most
