"""One run of a strategy for all who need it at once, and then a pause.

- The first failure of a key leads, the others follow, whatever task, thread or event loop they
  are in. A leader that is cancelled hands the lead to the next follower. A lead is a lease: one
  whose holder has vanished is taken over by the next to come.
- After a run the key rests. A failure whose call began before the last success shares that
  success, because its error is older than the mend.
- A run whose work goes on in a thread after its time was up keeps its key busy until it ends.
- No lock is held over a wait or a wake. (Sharing calls is what Go's `singleflight` does.)
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.policies.ticket import Ticket
from holdfast.system.recovery.context import next_number


class Stray(Protocol):
    """Work that could not be stopped."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        ...


@dataclass(frozen=True, slots=True)
class Landed:
    """How a run ended."""

    success: bool
    at: float
    """Monotonic seconds."""
    detail: str
    notes: tuple[str, ...] = ()
    number: int = field(default_factory=next_number)

    def mended(self, began: float, number: int) -> bool:
        """Whether a failure of a call that began then is older than this success."""
        before = began < self.at or (began == self.at and number < self.number)
        return self.success and before


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """The right and the duty to run."""

    key: Hashable
    lease: float
    """Monotonic seconds after which another may take over."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not now."""

    busy: bool
    reason: str


class _Place:
    __slots__ = ("last", "leader", "line", "stray")

    def __init__(self) -> None:
        self.leader: Lead | None = None
        self.line: OrderedDict[Ticket, float] = OrderedDict()
        """The followers, first come first, and for how many seconds each would lead."""
        self.last: Landed | None = None
        self.stray: Stray | None = None

    def idle(self) -> bool:
        return self.leader is None and not self.line and (not self.stray or not self.stray.alive)


class Flights:
    """All keys of a procedure."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._lock = threading.Lock()
        self.forgotten = 0
        """Keys let go of to stay within the limit; their pauses are forgotten, too."""

    def board(
        self,
        key: Hashable,
        now: float,
        *,
        cooldown: float,
        lease: float,
        began: float,
        number: int,
    ) -> Lead | Ticket | Landed | Refused:
        """Lead, follow, share what has just been done, or go without.

        Args:
            key: what is to be run.
            now: monotonic seconds.
            cooldown: seconds to rest after a run.
            lease: seconds a run may take.
            began: monotonic seconds when the failed call began.
            number: from `next_number`, when it was reported.
        """
        with self._lock:
            place = self._place(key)
            if place.leader is not None:
                if now < place.leader.lease:
                    ticket = Ticket()
                    place.line[ticket] = lease
                    return ticket
            else:
                refused = self._resting(place, now, cooldown, began, number)
                if refused is not None:
                    return refused
            place.leader = Lead(key, now + lease)
            return place.leader

    def resting(self, key: Hashable, now: float, cooldown: float) -> Refused | None:
        """Why a strategy that is not shared cannot run now; None if it can."""
        with self._lock:
            place = self._places.get(key)
            if place is None:
                return None
            found = self._resting(place, now, cooldown, now, next_number())
        return found if isinstance(found, Refused) else None

    def land(self, lead: Lead, landed: Landed, stray: Stray | None = None) -> bool:
        """Give the end of a run to all who follow; False if another has taken over meanwhile."""
        with self._lock:
            place = self._places.get(lead.key)
            if place is None or place.leader is not lead:
                return False
            place.leader, place.last, place.stray = None, landed, stray
            followers = list(place.line)
            place.line.clear()
            for ticket in followers:
                ticket.value, ticket.granted = landed, True
        for ticket in followers:
            ticket.grant(landed)
        return True

    def rest(self, key: Hashable, now: float, detail: str, stray: Stray | None = None) -> None:
        """Remember the run of a strategy that is not shared."""
        with self._lock:
            place = self._place(key)
            place.last = Landed(success=False, at=now, detail=detail)
            if stray is not None:
                place.stray = stray

    def hand_over(self, lead: Lead, now: float) -> bool:
        """Have the next follower run it; False if there is none."""
        while True:
            with self._lock:
                place = self._places.get(lead.key)
                if place is None or place.leader is not lead:
                    return True
                if not place.line:
                    place.leader = None
                    return False
                ticket, lease = place.line.popitem(last=False)
                lead = place.leader = Lead(lead.key, now + lease)
                ticket.value, ticket.granted = lead, True
            # One whose event loop is closed cannot lead.
            if ticket.grant(lead):
                return True

    def leave(self, key: Hashable, ticket: Ticket) -> bool:
        """Stop following; True if the wait had ended all the same."""
        with self._lock:
            if ticket.granted:
                return True
            place = self._places.get(key)
            if place is not None:
                place.line.pop(ticket, None)
            return False

    def counts(self) -> dict[str, int]:
        """Keys, runs under way, waiting calls, keys let go of."""
        with self._lock:
            places = list(self._places.values())
            return {
                "keys": len(places),
                "running": sum(place.leader is not None for place in places),
                "waiting": sum(len(place.line) for place in places),
                "forgotten": self.forgotten,
            }

    def _place(self, key: Hashable) -> _Place:
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= self._most:
                self._let_go()
            place = self._places[key] = _Place()
        self._places.move_to_end(key)
        return place

    def _let_go(self) -> None:
        idle = next((key for key, place in self._places.items() if place.idle()), None)
        if idle is not None:
            del self._places[idle]
            self.forgotten += 1

    @staticmethod
    def _resting(
        place: _Place, now: float, cooldown: float, began: float, number: int
    ) -> Landed | Refused | None:
        if place.stray is not None:
            if place.stray.alive:
                return Refused(
                    busy=True, reason="an earlier run was left behind in a thread and still runs"
                )
            place.stray = None
        last = place.last
        if last is None or now - last.at >= cooldown:
            return None
        if last.mended(began, number):
            return last
        ended = "succeeded" if last.success else "failed"
        return Refused(
            busy=False,
            reason=f"a run {ended} {now - last.at:.3g} s ago; again in "
            f"{cooldown - (now - last.at):.3g} s",
        )
