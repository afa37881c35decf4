"""How often something may be done: a steady rate with room for bursts.

This is the generic cell rate algorithm. It keeps one number, how many seconds
of the steady rate are spent already, where a token bucket keeps a balance and
has to refill it.

Laws:

- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- What was taken in any stretch of time never exceeds `burst` plus what the rate earns in it.
- A refusal takes nothing. A booking is taken at once, though its turn comes later.
- A booking given back in time goes to the next who books; nobody else's turn moves.
- Not safe for concurrent use: callers guard a machine with their own lock.
"""

from __future__ import annotations

from bisect import insort
from math import inf

from holdfast.errors import BadInputError

# Whoever waits as long as told must get through, though sums of floats are off by a little.
# It never adds up: what was taken early stays on the books.
_ROUNDING_SECONDS = 1e-9


class Gcra:
    """Lets `rate` units pass every `per` seconds, and up to `burst` of them at once.

    Starts with the whole burst to spend.
    """

    __slots__ = ("_burst", "_latest", "_spent", "_tolerance", "interval")

    interval: float
    """Seconds of the steady rate that one unit costs."""

    def __init__(self, rate: float, per: float, burst: float) -> None:
        for name, value in (("rate", rate), ("per", per), ("burst", burst)):
            if not 0 < value < inf:
                raise BadInputError(f"{name} must be above 0 and finite, got {value}")
        self._burst = float(burst)
        self.interval = per / rate
        self._tolerance = self.interval * burst
        if not (0 < self.interval < inf and 0 < self._tolerance < inf):
            raise BadInputError(f"rate, per and burst are too far apart: {rate}, {per}, {burst}")
        self._spent = 0.0
        self._latest = -inf

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take `cost` units if they are there.

        Returns:
            0.0 if they were taken; else the seconds after which they would be,
            and nothing was taken. `inf` if that never happens.
        """
        spent = self._spent
        if now > self._latest:
            spent -= now - self._latest
            if spent < 0.0:  # noqa: PLR1730 - max() costs a call
                spent = 0.0
            self._spent = spent
            self._latest = now
        if not 0 <= cost <= self._burst:
            return _never(cost)
        spent += cost * self.interval
        wait = spent - self._tolerance
        if wait > _ROUNDING_SECONDS:
            return wait
        self._spent = spent
        return 0.0

    def reserve(self, now: float, cost: float = 1.0, longest: float = inf) -> float | None:
        """Book `cost` units ahead of their time, if that takes `longest` seconds at most.

        Returns:
            Seconds to wait before acting; the booking stands until `cancel`. None if
            the wait would be longer, or has no end, and nothing was booked.
        """
        spent = self._passed(now)
        if not 0 <= cost <= self._burst:
            _never(cost)
            return None
        spent += cost * self.interval
        wait = spent - self._tolerance
        if wait <= _ROUNDING_SECONDS:
            wait = 0.0
        if not wait <= longest:
            return None
        self._spent = spent
        return wait

    def cancel(self, cost: float = 1.0) -> None:
        """Give a booking back that will not be used."""
        if not 0 <= cost <= self._burst:
            raise BadInputError(f"cost must be from 0 to burst ({self._burst}), got {cost}")
        self._spent = max(0.0, self._spent - cost * self.interval)

    def available(self, now: float) -> float:
        """Units that can be taken at once; 0 while bookings wait for their turn."""
        return max(0.0, (self._tolerance - self._passed(now)) / self.interval)

    def _passed(self, now: float) -> float:
        if now > self._latest:
            self._spent = max(0.0, self._spent - (now - self._latest))
            self._latest = now
        return self._spent


class Bookings:
    """Turns booked ahead at the rate of a `Gcra`, one unit each."""

    __slots__ = ("_freed", "_gcra", "_last")

    def __init__(self, gcra: Gcra) -> None:
        self._gcra = gcra
        # Turns given back that lie before turns still booked, the earliest first. They cannot
        # go back to the rate: it would hand them out again at the end, beside another turn.
        self._freed: list[float] = []
        self._last = -inf

    def book(self, now: float, longest: float = inf) -> tuple[float, bool]:
        """Book the next turn, if it comes within `longest` seconds.

        Returns:
            Seconds until the turn, and whether it was booked.
        """
        freed = self._freed
        while freed and freed[0] < now:
            del freed[0]
        if freed:
            wait = freed[0] - now
            if wait > longest:
                return wait, False
            del freed[0]
            return wait, True
        wait = self._gcra.take(now)
        if wait > 0.0:
            if wait > longest:
                return wait, False
            self._gcra.reserve(now)
            self._last = now + wait
        return wait, True

    def give_back(self, now: float, turn: float) -> None:
        """Give back a turn that will not be used; one that has come already is lost.

        Args:
            now: the present moment.
            turn: the moment of the turn, which is the `now` it was booked at plus its wait.
        """
        if turn <= now:
            return
        insort(self._freed, turn)
        step = self._gcra.interval
        # Half a step, because moments are sums of floats.
        while self._freed and self._freed[-1] > self._last - step / 2:
            self._freed.pop()
            self._gcra.cancel()
            self._last -= step


def _never(cost: float) -> float:
    if not cost >= 0:
        raise BadInputError(f"cost must be at least 0, got {cost}")
    return inf
