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
from typing import Any

from holdfast.machines.circuit import Circuit, Permit
from holdfast.policies.policy import Policy
from holdfast.ports import ambient

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


class WorkedByHand(Policy):
    """What can be asked of a breaker, and done to it, from outside a call."""

    __slots__ = ("_by_hand", "_lock", "circuit")
    _by_hand: Leaves | None
    _lock: threading.Lock
    circuit: Circuit

    def admit(self) -> Permit | None:
        """A permit for one call, or None."""
        raise NotImplementedError

    def settle(self, permit: Permit, *, failed: bool, seconds: float | None = None) -> None:
        """Record how a permitted call ended."""
        raise NotImplementedError

    def _change(self, reason: str, action: Callable[[float], Any]) -> Any:
        raise NotImplementedError

    def can_execute(self) -> bool:
        """Whether a call may be made; follow it with `record_success` or `record_failure`.

        Or with one call through the breaker: it uses the leave that was given here. An outcome
        may be recorded elsewhere, too: it then settles the oldest probe that was given by hand.
        """
        permit = self.admit()
        if permit is None:
            return False
        with self._lock:
            if self._by_hand is None:
                self._by_hand = Leaves()
            leaves = self._by_hand
        leaves.give(permit)
        return True

    def record_success(self, seconds: float | None = None) -> None:
        """Record that a call made by hand went well; ``seconds`` is how long it took."""
        self._settle_by_hand(failed=False, seconds=seconds)

    def record_failure(self, seconds: float | None = None) -> None:
        """Record that a call made by hand failed; ``seconds`` is how long it took."""
        self._settle_by_hand(failed=True, seconds=seconds)

    def force_open(self) -> None:
        """Refuse every call until told otherwise."""
        self._change("by hand", self.circuit.force_open)

    def disable(self) -> None:
        """Admit every call and count nothing until told otherwise."""
        self._change("by hand", self.circuit.disable)

    def metrics_only(self) -> None:
        """Admit every call, go on counting, and say in `would_be` what it would do."""
        self._change("by hand", self.circuit.measure_only)

    def trip(self) -> None:
        """Open now, for the usual time."""
        self._change("by hand", lambda now: self.circuit.trip(now, ambient.chance()))

    def close(self) -> None:
        """Close now: whoever says so has seen it work."""
        self._change("seen to work", self.circuit.close)

    def reset(self) -> None:
        """Close now and forget what was counted."""
        self._change("by hand", self.circuit.reset)

    def probe_now(self) -> None:
        """Be half-open now: the next calls are probes."""
        self._change("by hand", self.circuit.half_open)

    def _leave_in_hand(self) -> Permit | None:
        permit = None if self._by_hand is None else self._by_hand.claim()
        return permit if permit is not None and permit.era == self.circuit.era else None

    def _settle_by_hand(self, *, failed: bool, seconds: float | None) -> None:
        permit = self._given_by_hand() or Permit(self.circuit.era)
        self.settle(permit, failed=failed, seconds=seconds)

    def _given_by_hand(self) -> Permit | None:
        """The leave given in this context, or else the oldest probe given in another."""
        leaves = self._by_hand
        return None if leaves is None else leaves.claim() or leaves.claim_any(self._stands)

    def _stands(self, permit: Permit) -> bool:
        with self._lock:
            return self.circuit.stands(permit, ambient.now())
