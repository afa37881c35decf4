"""More work than can be done: do what matters most and what can be done in time, refuse the rest.

Three parts, each a machine of its own: a limit on concurrency that finds itself
(`gradient`), a short queue by priority (`admission`), and an estimate of how long
work takes (`service`).

- Work that cannot be done before its deadline is refused first, and at once.
- When the queue is full, a more important arrival takes the place of the least
  important one that waits; among equals it is first come, first served.
- An estimate that would refuse everything is doubted when nothing has been
  learned for a while: one call is then let in to find out.
- The limit holds over all threads, tasks and event loops that share the object,
  and a caller who gives up, running or waiting, leaves no trace.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, LoadShedError
from holdfast.events import hub
from holdfast.machines.gradient import GradientLimit
from holdfast.outcome import Err, Ok
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Park, Step
from holdfast.policies.entrance import Entrance, Turned
from holdfast.policies.matching import Condition, any_leaf, compile_condition
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient

NORMAL = 5
"""The priority of work that nobody gave one: 0 is the most important, larger matters less."""

_asked: ContextVar[int | None] = ContextVar("holdfast_priority", default=None)


class LoadShedder(Policy):
    """Lets in as much as can be done, the most important first, and refuses the rest at once."""

    __slots__ = (
        "_dropped",
        "_entrance",
        "_lock",
        "_priority_of",
        "_shed",
        "fixed",
        "max_queue",
        "max_wait",
        "name",
    )

    settings = frozenset({"fixed", "max_queue", "max_wait", "name"})

    def __init__(
        self,
        limit: int | None = None,
        *,
        initial: int | None = None,
        minimum: int | None = None,
        maximum: int | None = None,
        max_queue: int | None = None,
        max_wait: float | None = None,
        priority: int | Callable[..., int] = NORMAL,
        dropped: Condition = TimeoutError,
        name: str = "load_shedder",
    ) -> None:
        """Start with nothing learned and nobody inside.

        Args:
            limit: calls at once, fixed, for workers whose number is known, such as GPUs.
                None: it is learned from how long calls take.
            initial: the learned limit at the start (default: 10, within the other two).
            minimum: the learned limit never falls below it (2).
            maximum: the learned limit never rises above it (1000).
            max_queue: calls that wait at most (default: twice the limit, whatever it is).
            max_wait: seconds a call waits at most; what would wait longer is refused at once.
                None: as long as its deadline allows.
            priority: of each call, a whole number, 0 the most important; or a function of the
                call's arguments that says it. `LoadShedder.priority` has the last word.
            dropped: which errors mean that there was too much work: they shrink the limit.
            name: in errors and events.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("limit", limit, at_least=1, optional=True)
        for field, value in (("initial", initial), ("minimum", minimum), ("maximum", maximum)):
            if limit is not None and value is not None:
                raise BadInputError(
                    f"{field} is for a limit that is learned, and limit is fixed at {limit!r}; "
                    f"give one of them, got {field} {value!r}"
                )
        minimum = 2 if minimum is None else minimum
        checks.whole("minimum", minimum, at_least=1)
        checks.whole("maximum", maximum, at_least=minimum, optional=True)
        maximum = max(1000, minimum) if maximum is None else maximum
        initial = min(max(10, minimum), maximum) if initial is None else initial
        checks.whole("initial", initial, at_least=minimum)
        checks.whole("maximum", maximum, at_least=initial)
        checks.whole("max_queue", max_queue, at_least=0, optional=True)
        checks.seconds("max_wait", max_wait, zero=True, optional=True)
        checks.label("name", name)
        if not callable(priority):
            _whole_priority(priority)
        self.fixed = limit
        """The fixed limit, or None if it is learned."""
        self.max_queue = max_queue
        self.max_wait = max_wait
        """Seconds a call waits at most, or None for as long as its deadline allows."""
        self.name = name
        self._priority_of = priority
        self._dropped = compile_condition("dropped", dropped)
        learns = GradientLimit(initial, minimum, maximum)
        self._entrance = Entrance(learns if limit is None else limit, max_queue, max_wait)
        self._shed = 0
        self._lock = threading.Lock()

    @staticmethod
    @contextmanager
    def priority(level: int) -> Iterator[None]:
        """Give every call in this block a priority, 0 the most important.

        ::

            with LoadShedder.priority(0):
                await shedder.execute(checkout)

        Raises:
            BadInputError: ``level`` is not a whole number.
        """
        mark = _asked.set(_whole_priority(level))
        try:
            yield
        finally:
            _asked.reset(mark)

    @property
    def limit(self) -> int:
        """Calls that may be inside at once, now."""
        return self._entrance.limit

    @property
    def running(self) -> int:
        """Calls inside now."""
        return self._entrance.running

    @property
    def waiting(self) -> int:
        """Calls in the queue now."""
        return self._entrance.waiting

    def describe(self) -> str:
        """The limits in one line."""
        limit = f"{self.fixed} at once" if self.fixed else "as many at once as it learns"
        queue = "twice as many" if self.max_queue is None else f"{self.max_queue}"
        wait = "" if self.max_wait is None else f" for at most {self.max_wait:g} s"
        return f"LoadShedder {self.name!r}: {limit}, {queue} may wait{wait}, by priority"

    def bound(self, inner: Bound) -> Bound:
        """The wait, too."""
        wait = math.inf if self.max_wait is None else self.max_wait
        return replace(inner, seconds=inner.seconds + (0.0 if self.max_queue == 0 else wait))

    def snapshot(self) -> dict[str, Any]:
        """Limits, present use, and what was learned."""
        return {
            "limit": self.limit,
            "running": self.running,
            "waiting": self.waiting,
            "service_seconds": self._entrance.service_seconds,
            "shed": self._shed,
        }

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` when it is its turn, if its turn comes in time."""
        ticket = Ticket()
        try:
            priority = self._priority(call)
        except Exception as error:  # noqa: BLE001  # the user's function; failures travel as values
            return Err(error)
        entrance = self._entrance
        refusal = entrance.arrive(ticket, priority, call.scope.deadline)
        if refusal is None and not ticket.granted:
            # A place may have come free between the look and the joining.
            entrance.serve()
            try:
                yield Park(ticket, self.max_wait, self.name)
            except BaseException:
                entrance.leave(ticket)
                raise
            refusal = entrance.give_up(ticket)
        if isinstance(ticket.value, Turned):
            refusal = ticket.value
        if refusal is not None:
            return self._refuse(call, refusal, priority)
        began = ambient.now()
        good = dropped = False
        try:
            result = yield from inner(call)
            good = type(result) is Ok
            dropped = type(result) is Err and any_leaf(self._dropped, result.error)
            return result
        finally:
            # Also when `dropped` raises: it is the user's.
            cut = not good and call.interrupted_while_running()
            entrance.finish(ticket, ambient.now() - began, good=good, dropped=dropped, cut=cut)

    def _priority(self, call: Call) -> int:
        asked = _asked.get()
        if asked is not None:
            return asked
        given = self._priority_of
        return _whole_priority(given(*call.args, **call.kwargs)) if callable(given) else given

    def _refuse(self, call: Call, turned: Turned, priority: int) -> Err:
        now, reason = ambient.now(), str(turned)
        # Without a wait, coming back sooner or later changes nothing.
        after = self._entrance.expected_wait(priority) or None
        with self._lock:
            self._shed += 1
        call.say(f"{self.name}: refused: {reason}")
        if hub.active:
            hub.emit(events.Rejected(self.name, now, reason, after))
        return Err(LoadShedError(f"load shedder {self.name!r}: {reason}", retry_after=after))

    def __repr__(self) -> str:
        limit = f"limit={self.fixed}" if self.fixed else f"limit now {self.limit}"
        return f"LoadShedder({limit}, max_queue={self.max_queue}, name={self.name!r})"


def _whole_priority(level: Any) -> int:
    if not isinstance(level, int) or isinstance(level, bool):
        raise BadInputError(f"priority must be a whole number, got {level!r:.100}")
    return level
