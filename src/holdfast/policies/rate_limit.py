"""So many calls in so much time, and no more: refuse the surplus, or let it wait its turn.

The arithmetic is the generic cell rate algorithm (ITU-T I.371) in
`holdfast.machines.tokens`; here it meets calls.

- A turn is booked when the call comes, so turns go in order of arrival and each
  waiter knows at once when its own will be.
- A wait that would outlast the deadline or `max_wait` is refused at once.
- A waiter who gives up gives its turn back, to the next who comes.
- The rate holds over all threads, tasks and event loops that share the object.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, RateLimitedError
from holdfast.events import hub
from holdfast.machines.tokens import Bookings, Gcra
from holdfast.outcome import Err
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Sleep, Step
from holdfast.policies.policy import Bound, Policy
from holdfast.ports import ambient


class RateLimiter(Policy):
    """At most ``rate`` calls per ``per`` seconds in the long run, ``burst`` of them at once.

    Refuses what is too much, unless told to ``wait``.
    """

    __slots__ = (
        "_bookings",
        "_gcra",
        "_lock",
        "_waiting",
        "burst",
        "max_wait",
        "name",
        "per",
        "rate",
        "wait",
    )

    settings = frozenset({"burst", "max_wait", "name", "per", "rate", "wait"})

    def __init__(
        self,
        rate: float,
        per: float = 1.0,
        burst: float | None = None,
        *,
        wait: bool = False,
        max_wait: float | None = None,
        name: str = "rate_limiter",
    ) -> None:
        """Start with the whole burst to spend.

        Args:
            rate: calls per ``per`` seconds.
            per: seconds.
            burst: calls that may come all at once after a quiet time (default: ``rate``, but
                at least 1). In no stretch of t seconds do more than ``burst + t * rate / per``
                calls pass.
            wait: whether surplus calls wait for their turn instead of being refused.
            max_wait: seconds a call waits at most; what would wait longer is refused at once.
                None: as long as its deadline allows. Needs ``wait``.
            name: in errors and events.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.number("rate", rate, above=0)
        checks.seconds("per", per)
        if burst is None:
            burst = max(1.0, float(rate))
        checks.number("burst", burst, at_least=1)
        if not isinstance(wait, bool):
            raise BadInputError(f"wait must be True or False, got {wait!r}")
        checks.seconds("max_wait", max_wait, zero=True, optional=True)
        if max_wait is not None and not wait:
            raise BadInputError(f"max_wait needs wait=True to matter, got {max_wait}")
        checks.label("name", name)
        self.rate, self.per, self.burst = rate, per, burst
        self.wait = wait
        """Whether surplus calls wait instead of being refused."""
        self.max_wait = max_wait
        """Seconds a call waits at most, or None for as long as its deadline allows."""
        self.name = name
        self._gcra = Gcra(rate, per, burst)
        self._bookings = Bookings(self._gcra)
        self._waiting = 0
        self._lock = threading.Lock()

    def try_admit(self) -> bool:
        """Let one call pass now, if the rate allows it and nobody waits; for the hot path."""
        with self._lock:
            return self._gcra.take(ambient.now()) == 0.0

    def try_acquire(self, cost: float = 1.0) -> bool:
        """Take ``cost`` calls' worth of the rate by hand; False if it is not there now.

        Raises:
            BadInputError: ``cost`` is not a number from 0 to ``burst``.
        """
        checks.number("cost", cost, at_least=0, at_most=self.burst)
        with self._lock:
            return self._gcra.take(ambient.now(), cost) == 0.0

    @property
    def available(self) -> float:
        """Calls that would pass at once now."""
        with self._lock:
            return self._gcra.available(ambient.now())

    @property
    def waiting(self) -> int:
        """Calls waiting for their turn now."""
        return self._waiting

    def describe(self) -> str:
        """The rate in one line."""
        surplus = "the rest is refused"
        if self.wait:
            limit = "" if self.max_wait is None else f" for at most {self.max_wait:g} s"
            surplus = f"the rest waits{limit}"
        return (
            f"RateLimiter {self.name!r}: {self.rate:g} per {self.per:g} s, "
            f"{self.burst:g} at once, {surplus}"
        )

    def bound(self, inner: Bound) -> Bound:
        """The wait, too."""
        if not self.wait:
            return inner
        wait = math.inf if self.max_wait is None else self.max_wait
        return replace(inner, seconds=inner.seconds + wait)

    def snapshot(self) -> dict[str, Any]:
        """Settings and what is left."""
        return {
            "rate": self.rate,
            "per": self.per,
            "burst": self.burst,
            "available": self.available,
            "waiting": self.waiting,
        }

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` when it is its turn."""
        if call.adopt(self) is not None:
            return (yield from self._pass(call, inner))
        longest = 0.0
        if self.wait:
            # A turn that comes just when the deadline does is of no use.
            left = math.nextafter(call.left(), -math.inf)
            longest = left if self.max_wait is None else min(left, self.max_wait)
        now = ambient.now()
        with self._lock:
            wait, booked = self._bookings.book(now, longest)
            if booked and wait > 0.0:
                self._waiting += 1
        if not booked:
            return self._refuse(call, wait)
        if wait > 0.0:
            call.say(f"{self.name}: waited {wait:.3g} s for its turn")
            call.parked += 1
            try:
                yield Sleep(wait)
            except BaseException:
                with self._lock:
                    self._bookings.give_back(ambient.now(), now + wait)
                # It never ran: whoever ends it should know.
                call.ended_in_queue()
                raise
            finally:
                call.parked -= 1
                call.waited(ambient.now() - now)
                with self._lock:
                    self._waiting -= 1
        return (yield from self._pass(call, inner))

    def _pass(self, call: Call, inner: Step) -> Flow:
        try:
            return (yield from inner(call))
        except BaseException:
            call.hand_on(self)
            raise

    def _refuse(self, call: Call, wait: float) -> Err:
        reason = f"{self.rate:g} calls per {self.per:g} s are used up"
        call.say(f"{self.name}: refused: {reason}")
        if hub.active:
            hub.emit(events.Rejected(self.name, ambient.now(), reason, wait))
        message = f"rate limiter {self.name!r}: {reason}; next turn in {wait:.3g} s"
        return Err(RateLimitedError(message, retry_after=wait))

    def __repr__(self) -> str:
        return (
            f"RateLimiter({self.rate:g}, per={self.per:g}, burst={self.burst:g}, "
            f"wait={self.wait}, max_wait={self.max_wait}, name={self.name!r})"
        )
