"""A budget of extra calls, shared by all retries and hedges towards one dependency.

When a dependency is down, every call to it is retried, and the retries are what
keeps it down. The budget lets extra calls be at most a share of the first ones
(the idea of Finagle's and Envoy's retry budgets), with a floor so that a client
with little traffic can still retry. An empty budget suppresses only the extra
call; the first one ends as it would have without a retry.
"""

from __future__ import annotations

import threading
from typing import Any

from holdfast.machines.budget import BudgetMachine
from holdfast.policies import checks
from holdfast.policies.sealed import Sealed
from holdfast.ports import ambient


class RetryBudget(Sealed):
    """At most ``ratio`` extra calls per first call within ``seconds``, but always ``floor``.

    One instance per dependency, given to every `Retry` and `Hedge` towards it.
    Safe to share between threads, tasks and event loops.
    """

    __slots__ = ("_lock", "_machine", "floor", "name", "ratio", "seconds")
    settings = frozenset({"floor", "name", "ratio", "seconds"})

    def __init__(
        self, ratio: float = 0.2, *, floor: int = 3, seconds: float = 10.0, name: str = "budget"
    ) -> None:
        checks.number("ratio", ratio, at_least=0, at_most=10)
        checks.whole("floor", floor, at_least=0)
        checks.seconds("seconds", seconds)
        checks.label("name", name)
        self.ratio, self.floor, self.seconds, self.name = ratio, floor, seconds, name
        self._machine = BudgetMachine(ratio=ratio, floor=floor, seconds=seconds)
        self._lock = threading.Lock()

    def deposit(self) -> None:
        """Count a first call."""
        with self._lock:
            self._machine.deposit(ambient.now())

    def try_spend(self) -> bool:
        """Take leave for one extra call; False if there is none."""
        with self._lock:
            return self._machine.try_spend(ambient.now())

    def snapshot(self) -> dict[str, Any]:
        """Settings and balance."""
        with self._lock:
            balance = self._machine.balance(ambient.now())
        return {
            "name": self.name,
            "ratio": self.ratio,
            "floor": self.floor,
            "seconds": self.seconds,
            "balance": balance,
        }

    def __repr__(self) -> str:
        return f"RetryBudget(ratio={self.ratio}, floor={self.floor}, seconds={self.seconds})"
