"""So many at once and no more, with a fair queue for the rest.

- First come, first served; a caller who gives up leaves the queue without a
  trace, and a slot granted to one who is gone goes to the next.
- The count holds over all threads, tasks and event loops that share the object.
- Waiting has its own limit and its own error: a call that only waited never ran.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, BulkheadFullError, QueueTimeoutError
from holdfast.events import hub
from holdfast.outcome import Err
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Park, Step
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient

MOST = 10_000_000
"""Slots a bulkhead may have; each takes eight bytes."""


class Bulkhead(Policy):
    """At most ``max_concurrent`` calls at once; up to ``max_queue`` more wait their turn."""

    __slots__ = ("_lock", "free", "line", "max_concurrent", "max_queue", "max_wait", "name")

    settings = frozenset({"max_concurrent", "max_queue", "max_wait", "name"})

    def __init__(
        self,
        max_concurrent: int,
        max_queue: int = 0,
        max_wait: float | None = None,
        *,
        name: str = "bulkhead",
    ) -> None:
        checks.whole("max_concurrent", max_concurrent, at_least=1)
        checks.number("max_concurrent", max_concurrent, at_most=MOST)
        checks.whole("max_queue", max_queue, at_least=0)
        checks.seconds("max_wait", max_wait, zero=True, optional=True)
        checks.label("name", name)
        if max_wait is not None and max_queue == 0:
            raise BadInputError(
                f"max_queue must be at least 1 for max_wait ({max_wait}) to matter, got 0"
            )
        self.max_concurrent = max_concurrent
        self.max_queue = max_queue
        self.max_wait = max_wait
        """Seconds a call waits at most, or None for as long as its deadline allows."""
        self.name = name
        # A slot is a token in a list, because `list.pop` and `list.append` are atomic in every
        # Python, with a global lock or without: the hot path needs no lock of its own.
        self.free: list[None] = [None] * max_concurrent
        self.line: OrderedDict[Ticket, None] = OrderedDict()
        """Who waits, first come first."""
        self._lock = threading.Lock()

    @property
    def running(self) -> int:
        """Slots taken now."""
        return self.max_concurrent - len(self.free)

    @property
    def waiting(self) -> int:
        """Calls in the queue now."""
        return len(self.line)

    def describe(self) -> str:
        """The limits in one line."""
        wait = "" if self.max_wait is None else f" for at most {self.max_wait:g} s"
        queue = f", {self.max_queue} may wait{wait}" if self.max_queue else ", nobody waits"
        return f"Bulkhead {self.name!r}: {self.max_concurrent} at once{queue}"

    def bound(self, inner: Bound) -> Bound:
        """The wait, too."""
        wait = 0.0 if not self.max_queue else math.inf if self.max_wait is None else self.max_wait
        return replace(inner, seconds=inner.seconds + wait)

    def snapshot(self) -> dict[str, Any]:
        """Limits and present use."""
        return {
            "max_concurrent": self.max_concurrent,
            "max_queue": self.max_queue,
            "max_wait": self.max_wait,
            "running": self.running,
            "waiting": self.waiting,
        }

    def try_take(self) -> bool:
        """Take a slot if one is free and nobody waits; give it back with `give_back`."""
        if self.line:
            return False
        try:
            self.free.pop()
        except IndexError:
            return False
        return True

    def give_back(self) -> None:
        """Give a slot back, to the first in the queue if there is one."""
        self.free.append(None)
        if self.line:
            self.serve()

    def serve(self) -> None:
        """Hand free slots to those who wait."""
        while self.line:
            with self._lock:
                if not self.line or not self._pop_free():
                    return
                ticket, _ = self.line.popitem(last=False)
                ticket.granted = True
            # Waking may run foreign code, so not under the lock.
            if not ticket.grant():
                with self._lock:
                    # Its loop is closed. Should its coroutine be closed yet, it holds nothing.
                    ticket.granted = False
                self.free.append(None)

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` in a slot."""
        if call.adopt(self) is None and not self.try_take():
            ticket = self._join()
            if ticket is None:
                return self._refuse(call)
            # A slot may have come free between the look and the joining.
            self.serve()
            try:
                yield Park(ticket, self.max_wait, self.name)
            except BaseException:
                self._leave(ticket)
                raise
            if not ticket.granted and not self._leave(ticket, keep=True):
                return self._time_out(call)
        try:
            return (yield from inner(call))
        finally:
            self.give_back()

    def _pop_free(self) -> bool:
        try:
            self.free.pop()
        except IndexError:
            return False
        return True

    def _join(self) -> Ticket | None:
        with self._lock:
            if len(self.line) >= self.max_queue:
                return None
            ticket = Ticket()
            self.line[ticket] = None
            return ticket

    def _leave(self, ticket: Ticket, *, keep: bool = False) -> bool:
        """Stop waiting; True if the slot was granted after all (and is kept if ``keep``)."""
        with self._lock:
            if not ticket.granted:
                self.line.pop(ticket, None)
                return False
        if not keep:
            self.give_back()
        return True

    def _refuse(self, call: Call) -> Err:
        reason = f"all {self.max_concurrent} slots are taken"
        if self.max_queue:
            reason += f" and {self.max_queue} calls wait already"
        call.say(f"{self.name}: refused: {reason}")
        if hub.active:
            hub.emit(events.Rejected(self.name, ambient.now(), reason, None))
        return Err(BulkheadFullError(f"bulkhead {self.name!r}: {reason}"))

    def _time_out(self, call: Call) -> Err:
        waited = "time" if self.max_wait is None else f"{self.max_wait:.6g} s"
        reason = f"no slot came free in {waited}"
        call.say(f"{self.name}: refused: {reason}")
        if hub.active:
            hub.emit(events.Rejected(self.name, ambient.now(), reason, None))
        return Err(QueueTimeoutError(f"bulkhead {self.name!r}: {reason}"))

    def __repr__(self) -> str:
        return (
            f"Bulkhead({self.max_concurrent}, max_queue={self.max_queue}, "
            f"max_wait={self.max_wait}, name={self.name!r})"
        )
