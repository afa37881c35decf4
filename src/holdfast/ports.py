"""What the core needs from outside: a clock, a way to wait, a source of chance.

- Nothing here does anything: `holdfast.pipeline` puts the real clock in place,
  `holdfast.testing` a fake one. Whoever needs the time asks `ambient`.
- All times are monotonic seconds; wall clocks and time zones play no part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time that can be read and waited for. `holdfast.testing.FakeClock` is another one."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> float:
        """Seconds since 1970: for dates that others wrote, never for measuring."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for so many seconds."""
        ...

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Block until ``event`` is set or the seconds are over (None: for ever); is it set?"""
        ...


class Ambient:
    """The clock and the chance that everything in this process uses."""

    __slots__ = ("chance", "now", "sleep", "wait", "wall")

    now: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], None]
    wait: Callable[[threading.Event, float | None], bool]
    chance: Callable[[], float]
    """A random number in [0, 1)."""

    def use(self, clock: Clock) -> None:
        """Read time from ``clock`` from now on."""
        self.now, self.wall = clock.now, clock.wall
        self.sleep, self.wait = clock.sleep, clock.wait


ambient = Ambient()
"""The one instance. Read its attributes at every use, because tests replace them."""
