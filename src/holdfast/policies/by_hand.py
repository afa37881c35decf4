"""Leave that a breaker gave by hand: `can_execute` gives it, a call or an outcome claims it.

- It lies in the context of whoever asked, so that each thread and task claims its own. Tasks and
  threads that copy that context see it, too, and so it is claimed once: whoever is first has it.
- An outcome told from elsewhere, where no leave lies, claims the oldest probe that is still on its
  way: what asks and what tells are often different tasks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar

from holdfast.machines.circuit import Permit

MOST = 100
"""Leaves remembered in one context, and probes remembered of one breaker."""


class _Leave:
    """One leave to call."""

    __slots__ = ("claimed", "permit")

    def __init__(self, permit: Permit) -> None:
        self.permit = permit
        self.claimed = False


class Leaves:
    """What one breaker gave by hand and nobody has claimed."""

    __slots__ = ("_here", "_lock", "_probes")

    def __init__(self) -> None:
        self._here: ContextVar[tuple[_Leave, ...]] = ContextVar("holdfast_leaves", default=())
        self._probes: OrderedDict[_Leave, None] = OrderedDict()
        """The oldest first."""
        self._lock = threading.Lock()

    def give(self, permit: Permit) -> None:
        """Lay leave down in this context."""
        leave = _Leave(permit)
        mine = [one for one in self._here.get() if one.permit.era == permit.era]
        self._here.set((*mine[1 - MOST :], leave))
        if permit.probe is not None:
            with self._lock:
                self._probes[leave] = None
                if len(self._probes) > MOST:
                    self._probes.popitem(last=False)

    def claim(self) -> Permit | None:
        """The leave that was given here last and that nobody has claimed, of whatever era."""
        mine = self._here.get()
        if not mine:
            return None
        left = list(mine)
        found = None
        while left and found is None:
            found = self._claim(left.pop())
        self._here.set(tuple(left))
        return found

    def claim_any(self, stands: Callable[[Permit], bool]) -> Permit | None:
        """The oldest probe nobody has claimed, if it still ``stands``; wherever it was given."""
        with self._lock:
            waiting = list(self._probes)
        for leave in waiting:
            permit = self._claim(leave)
            if permit is not None and stands(permit):
                return permit
        return None

    def _claim(self, leave: _Leave) -> Permit | None:
        with self._lock:
            self._probes.pop(leave, None)
            if leave.claimed:
                return None
            leave.claimed = True
            return leave.permit
