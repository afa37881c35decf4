"""Who gets in, who waits and who is turned away: the state behind a load shedder.

- The lock guards the machines; whoever waits is woken after it is released.
- Every ticket ends in exactly one way: inside, refused with a reason, or gone.
- Whatever makes room lets in the next at once.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from enum import StrEnum

from holdfast.machines.admission import AdmissionQueue, Refusal
from holdfast.machines.gradient import GradientLimit
from holdfast.machines.service import ServiceTime
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient


class Turned(StrEnum):
    """Why somebody was turned away, in words for people."""

    LATE = "it could not be done before its deadline"
    LONG = "it would wait longer than it may"
    EVICTED = "more important work took its place"
    FULL = "there is no room, and what waits matters as much"
    WAITED = "its turn did not come in time"


class Entrance:
    """A limit on what is inside, and a queue by priority in front of it."""

    __slots__ = (
        "_fixed",
        "_gradient",
        "_learned_at",
        "_lock",
        "_max_queue",
        "_max_wait",
        "_queue",
        "_running",
        "_service",
    )

    def __init__(
        self, limit: int | GradientLimit, max_queue: int | None, max_wait: float | None
    ) -> None:
        """Start with nothing learned and nobody inside.

        Args:
            limit: a fixed one, or one that learns.
            max_queue: tickets that wait at most; None for twice the limit.
            max_wait: seconds a ticket waits at most, or None.
        """
        self._fixed = limit if isinstance(limit, int) else 1
        self._gradient = None if isinstance(limit, int) else limit
        self._max_queue = max_queue
        self._max_wait = max_wait
        self._service = ServiceTime()
        self._queue: AdmissionQueue[Ticket] = AdmissionQueue(0)
        # When each of those inside was let in, the first one first.
        self._running: OrderedDict[Ticket, float] = OrderedDict()
        self._learned_at = -math.inf
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """How many may be inside now."""
        return self._fixed if self._gradient is None else self._gradient.limit

    @property
    def running(self) -> int:
        """How many are inside now."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    @property
    def service_seconds(self) -> float | None:
        """How long one usually takes, or None while that is not known."""
        return self._service.usual if self._service.known else None

    def expected_wait(self, priority: int) -> float | None:
        """Seconds a new ticket of this priority would wait, or None while nobody knows."""
        with self._lock:
            return self._wait(ambient.now(), priority) if self._service.known else None

    def arrive(self, ticket: Ticket, priority: int, deadline: float) -> Turned | None:
        """Let a ticket in, or have it wait; or say why not."""
        now = ambient.now()
        queue = self._queue
        with self._lock:
            limit = self.limit
            free = len(self._running) < limit and not len(queue)
            if free and (deadline == math.inf or not self._hopeless(now, deadline)):
                self._admit(ticket, now)
                return None
            if free:
                return Turned.LATE
            late = self._comes_late(now, priority, deadline)
            if late is not None:
                return late
            queue.capacity = 2 * limit if self._max_queue is None else self._max_queue
            told = queue.offer(ticket, priority, now, None if deadline == math.inf else deadline)
            if isinstance(told, Refusal):
                return Turned.LATE if told is Refusal.LATE else Turned.FULL
            for evicted in told:
                evicted.value = Turned.EVICTED
                evicted.granted = True
        # Waking may run foreign code, so not under the lock.
        for evicted in told:
            evicted.grant(Turned.EVICTED)
        return None

    def serve(self) -> None:
        """Let in who waits, as far as there is room."""
        while len(self._queue):
            with self._lock:
                if len(self._running) >= self.limit:
                    return
                now = ambient.now()
                crowded = len(self._queue) > 1
                needed = self._service.most() if crowded else self._service.usual
                ticket, late = self._queue.take(now, needed)
                for dropped in late:
                    dropped.value = Turned.LATE
                    dropped.granted = True
                if ticket is not None:
                    self._admit(ticket, now)
            for dropped in late:
                dropped.grant(Turned.LATE)
            if ticket is not None and not ticket.grant():
                with self._lock:
                    self._running.pop(ticket, None)

    def finish(
        self, ticket: Ticket, seconds: float, *, good: bool, dropped: bool, cut: bool
    ) -> None:
        """Learn from somebody who leaves, and let in the next.

        Args:
            ticket: of the one who leaves.
            seconds: how long it was inside.
            good: it did what it came for.
            dropped: it failed because there was too much work.
            cut: its time ran out while it was at work.
        """
        now = ambient.now()
        with self._lock:
            inside = len(self._running)
            self._running.pop(ticket, None)
            if good:
                self._service.learn(seconds)
            elif dropped or cut:
                # What was cut short of its usual time says nothing about the load.
                dropped = dropped or seconds > self._service.most()
                self._service.learn_at_least(seconds)
            if good or dropped or cut:
                self._learned_at = now
            if self._gradient is not None and (good or dropped):
                self._gradient.sample(now, seconds, inside, dropped)
        self.serve()

    def leave(self, ticket: Ticket) -> None:
        """Stop waiting, and pass on a place that was granted all the same."""
        with self._lock:
            if not ticket.granted:
                self._queue.remove(ticket)
                return
            self._running.pop(ticket, None)
        self.serve()

    def give_up(self, ticket: Ticket) -> Turned | None:
        """Stop waiting if nothing was granted, and say why; None if something was."""
        with self._lock:
            if ticket.granted:
                return None
            self._queue.remove(ticket)
        return Turned.WAITED

    def _hopeless(self, now: float, deadline: float) -> bool:
        """Whether there is no time for the work even with nobody in the way."""
        usual = self._service.usual
        if now + usual <= deadline:
            return False
        # Or an estimate from a bad time would refuse everything for good.
        old = now - self._learned_at > max(1.0, 10.0 * usual)
        return bool(self._running) or not old

    def _comes_late(self, now: float, priority: int, deadline: float) -> Turned | None:
        """Whether the wait, or the wait and the work, would take longer than there is time."""
        if deadline == math.inf and self._max_wait is None:
            return None
        wait = self._wait(now, priority)
        if self._max_wait is not None and wait > self._max_wait:
            return Turned.LONG
        return Turned.LATE if now + wait + self._service.most() > deadline else None

    def _wait(self, now: float, priority: int) -> float:
        started = next(iter(self._running.values()), now)
        return self._queue.expected_wait(
            priority, len(self._running), self.limit, self._service.usual, now - started
        )

    def _admit(self, ticket: Ticket, now: float) -> None:
        ticket.value = None
        ticket.granted = True
        self._running[ticket] = now
