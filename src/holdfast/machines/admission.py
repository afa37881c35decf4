"""Who waits and who is turned away when there is more work than can be done.

A short queue by priority: a better arrival takes the place of the worst.

Laws:

- The lower the number, the more important. Equals are served in order of arrival, and
  the last of them to come is the first to be evicted. Nobody is evicted by an equal.
- Every ticket leaves once: taken, evicted, dropped or removed.
- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- Not safe for concurrent use: callers guard a queue with their own lock.
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
        self,
        priority: int,
        in_service: int,
        limit: int,
        service_seconds: float,
        served_seconds: float = 0.0,
    ) -> float:
        """Seconds that a new ticket of this priority would wait, if nobody better comes.

        Args:
            priority: of the ticket.
            in_service: tickets being served now.
            limit: tickets that are served at the same time.
            service_seconds: how long one takes.
            served_seconds: how long the one that was let in first has been served.
        """
        ahead = in_service
        for level in self._order:
            if level > priority:
                break
            ahead += len(self._levels[level])
        limit = max(1, limit)
        if ahead < limit:
            return 0.0
        step = service_seconds / limit
        first = min(step, max(0.0, service_seconds - served_seconds))
        return first + (ahead - limit) * step

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
