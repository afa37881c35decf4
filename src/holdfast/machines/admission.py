"""Who waits and who is turned away when there is more work than can be done.

Two machines for a load shedder. `AdmissionQueue` is a short queue by priority:
a better arrival takes the place of the worst. `OverloadController` turns
arrivals away before they queue, when the queue shows that more comes in than goes out.

Laws:

- The lower the number, the more important. Equals are served in order of arrival, and
  the last of them to come is the first to be evicted. Nobody is evicted by an equal.
- Every ticket leaves once: taken, evicted, dropped or removed.
- Time and chance are arguments; a `now` earlier than the last one seen counts as no time.
- The controller leaves a short queue alone: below `target` nothing is cut, and between
  one and two targets only part of the surplus is.
- Not safe for concurrent use: callers guard these with their own lock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Hashable
from enum import StrEnum
from math import inf
from typing import Generic, TypeVar

from holdfast.errors import BadInputError

TicketT = TypeVar("TicketT", bound=Hashable)

_SMALLEST_FRACTION = 0.02


class Refusal(StrEnum):
    """Why a ticket was not let into the queue."""

    FULL = "full"
    """No room, and nobody waiting is less important."""
    LATE = "late"
    """Its deadline had passed when it came."""


class AdmissionQueue(Generic[TicketT]):
    """A bounded queue by priority. Tickets are the caller's, any hashable thing."""

    __slots__ = ("_latest", "_levels", "_order", "_waiting", "capacity")

    capacity: int
    """Most tickets that wait. May be changed; a queue too long then shrinks by itself."""

    def __init__(self, capacity: int) -> None:
        if not capacity >= 0:
            raise BadInputError(f"capacity must be at least 0, got {capacity}")
        self.capacity = capacity
        self._levels: dict[int, OrderedDict[TicketT, float | None]] = {}
        self._order: list[int] = []
        # All tickets in order of arrival, so that the oldest is found without a search.
        self._waiting: OrderedDict[TicketT, tuple[int, float]] = OrderedDict()
        self._latest = -inf

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._waiting

    def offer(
        self, ticket: TicketT, priority: int, now: float, deadline: float | None = None
    ) -> list[TicketT] | Refusal:
        """Let a ticket wait, if need be in the place of less important ones.

        Returns:
            The tickets that were evicted for it, mostly none; or why it was refused.

        Raises:
            BadInputError: if the ticket is waiting already.
        """
        if ticket in self._waiting:
            raise BadInputError(f"ticket must not wait twice, got {ticket!r}")
        now = self._onwards(now)
        if deadline is not None and deadline <= now:
            return Refusal.LATE
        evicted: list[TicketT] = []
        surplus = len(self._waiting) + 1 - self.capacity
        if surplus > 0:
            while surplus > 0 and self._order and self._order[-1] > priority:
                evicted.append(self._pop(self._order[-1], last=True)[0])
                surplus -= 1
            if not evicted:
                return Refusal.FULL
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            insort(self._order, priority)
        level[ticket] = deadline
        self._waiting[ticket] = (priority, now)
        return evicted

    def take(
        self, now: float, service_seconds: float = 0.0
    ) -> tuple[TicketT | None, list[TicketT]]:
        """Take the first of the most important tickets that can still be served in time.

        Returns:
            The ticket, or None if nobody waits; and the tickets dropped on the way,
            because what is left until their deadline is less than `service_seconds`.
        """
        finish = self._onwards(now) + service_seconds
        dropped: list[TicketT] = []
        while self._order:
            ticket, deadline = self._pop(self._order[0], last=False)
            if deadline is None or finish <= deadline:
                return ticket, dropped
            dropped.append(ticket)
        return None, dropped

    def remove(self, ticket: TicketT) -> bool:
        """Take one ticket out, wherever it is; False if it was not waiting any more."""
        place = self._waiting.pop(ticket, None)
        if place is None:
            return False
        del self._levels[place[0]][ticket]
        self._tidy(place[0])
        return True

    def oldest_wait(self, now: float) -> float:
        """Seconds for which the longest-waiting ticket has waited; 0 if nobody waits."""
        now = self._onwards(now)
        for _, arrived in self._waiting.values():
            return now - arrived
        return 0.0

    def expected_wait(
        self, priority: int, in_service: int, limit: int, service_seconds: float
    ) -> float:
        """Seconds that a new ticket of this priority would wait, if nobody better comes.

        Args:
            priority: of the ticket.
            in_service: tickets being served now.
            limit: tickets that are served at the same time.
            service_seconds: how long one takes.
        """
        ahead = in_service
        for level in self._order:
            if level > priority:
                break
            ahead += len(self._levels[level])
        limit = max(1, limit)
        return max(0, ahead - limit + 1) * service_seconds / limit

    def _pop(self, priority: int, *, last: bool) -> tuple[TicketT, float | None]:
        ticket, deadline = self._levels[priority].popitem(last=last)
        del self._waiting[ticket]
        self._tidy(priority)
        return ticket, deadline

    def _tidy(self, priority: int) -> None:
        # Priorities may be any numbers, so empty levels must not pile up.
        if not self._levels[priority]:
            del self._levels[priority]
            del self._order[bisect_left(self._order, priority)]

    def _onwards(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest


class OverloadController:
    """Turns away the least important share of arrivals when the queue grows old.

    Every `period` it compares arrivals with completions. While the oldest ticket
    waits longer than `target`, the fraction let in moves towards completions per
    arrival; when the queue is short again it recovers step by step.
    """

    __slots__ = (
        "_arrivals",
        "_arriving",
        "_completing",
        "_completions",
        "_counted_since",
        "_edge",
        "_histogram",
        "_level",
        "_next_tick",
        "_period",
        "_target",
        "fraction",
    )

    fraction: float
    """Share of the arrivals let in, from 0.02 to 1."""

    def __init__(self, target: float = 0.05, period: float = 0.1, levels: int = 64) -> None:
        """Start by letting everything in.

        Args:
            target: seconds the oldest ticket may wait without anything being cut.
            period: seconds between two looks.
            levels: priorities told apart, from 0 up; higher ones count as the last.
        """
        for name, value in (("target", target), ("period", period)):
            if not 0 < value < inf:
                raise BadInputError(f"{name} must be above 0 seconds and finite, got {value}")
        if not 1 <= levels <= 4096:
            raise BadInputError(f"levels must be from 1 to 4096, got {levels}")
        self._target = target
        self._period = period
        self._histogram = [0.0] * levels
        self._arrivals = self._completions = 0
        self._arriving = self._completing = 0.0
        self._counted_since = self._next_tick = -inf
        self.fraction = 1.0
        self._level = levels
        self._edge = 1.0

    def admit(self, now: float, priority: int, oldest_wait: float, chance: float) -> bool:
        """Count an arrival and say whether to let it in.

        Args:
            now: the moment it came.
            priority: the lower, the more important.
            oldest_wait: seconds for which the longest-waiting ticket has waited.
            chance: a random number in [0, 1), for the level that is cut in part.
        """
        if now >= self._next_tick:
            self._tick(now, oldest_wait)
        histogram = self._histogram
        if priority >= len(histogram):
            priority = len(histogram) - 1
        elif priority < 0:
            priority = 0
        histogram[priority] += 1.0
        self._arrivals += 1
        level = self._level
        return priority < level or (priority == level and chance < self._edge)

    def completed(self, now: float, oldest_wait: float) -> None:
        """Count a ticket that was served."""
        self._completions += 1
        if now >= self._next_tick:
            self._tick(now, oldest_wait)

    def _tick(self, now: float, oldest_wait: float) -> None:
        if self._counted_since == -inf:
            self._counted_since = now
            self._next_tick = now + self._period
            return
        self._next_tick = now + self._period
        self._estimate_rates(now)
        self._choose_fraction(oldest_wait)
        self._choose_level()
        self._histogram = [count * 0.9 for count in self._histogram]

    def _estimate_rates(self, now: float) -> None:
        # Few completions say little about the rate; slow work is given time to say more.
        lasted = now - self._counted_since
        if self._completions < 8 and lasted < 100 * self._period:
            return
        halves = 0.5 if self._arriving or self._completing else 1.0
        self._arriving += halves * (self._arrivals / lasted - self._arriving)
        self._completing += halves * (self._completions / lasted - self._completing)
        self._arrivals = self._completions = 0
        self._counted_since = now

    def _choose_fraction(self, oldest_wait: float) -> None:
        arriving, completing = self._arriving, self._completing
        if oldest_wait <= self._target:
            recovered = min(1.0, 1.15 * self.fraction + 0.05)
            self.fraction = 1.0 if arriving < 1.05 * completing else recovered
        elif completing > 0.0 and arriving > completing:
            # Without a completion nobody knows the rate: the bounded queue has to do.
            urgency = min(1.0, oldest_wait / self._target - 1.0)
            cut = 1.0 - urgency * (1.0 - completing / arriving)
            self.fraction = max(_SMALLEST_FRACTION, cut)

    def _choose_level(self) -> None:
        """Find the level that, with all better ones, makes up the fraction let in."""
        histogram = self._histogram
        self._level, self._edge = len(histogram), 1.0
        if self.fraction >= 1.0:
            return
        room = self.fraction * sum(histogram)
        for level, count in enumerate(histogram):
            if count > room:
                self._level, self._edge = level, room / count
                return
            room -= count
