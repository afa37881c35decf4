"""The hot path: one function for a whole pipeline while all is well.

- Nothing is decided here. Each policy is asked whether it is quiet; if one is
  not, or somebody listens to events, or the call is inside another with a
  deadline, the flows do it all.
- A first attempt that fails is handed to the flows as it stands: with what is
  already held, as if they had made it themselves.
- What is read at every call is a variable of the function; all the rest is in
  one `Rest`, because each further variable would cost every call.
- `tests/pipeline/test_fused.py` runs both on the same scenarios and compares.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from holdfast.machines.circuit import Permit
from holdfast.outcome import Result
from holdfast.pipeline.inflight import Inflight
from holdfast.pipeline.plan import Plan
from holdfast.pipeline.stack import governed
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.call import Call
from holdfast.policies.scope import Scope, inherit

Sync = Callable[..., Any]
Async = Callable[..., Awaitable[Any]]
TAKEN = object()
"""Stands for a bulkhead's slot in what is handed over."""


@dataclass(slots=True, eq=False, repr=False)
class Rest:
    """What a hot path needs when it is not, or no longer, hot."""

    plan: Plan
    name: str
    """The pipeline's."""
    inflight: Inflight
    run: Callable[..., Any]
    """Runs (function, arguments, keyword arguments) by flows from the start."""
    resume: Callable[[Call], Any]
    """Runs a call by flows from the end of its first attempt."""
    turn: Callable[..., Any]
    """Sync: deals with a coroutine or generator that came as a result."""

    @property
    def limit(self) -> float:
        """The shortest time limit, in seconds."""
        return math.inf if self.plan.limit is None else self.plan.limit

    @property
    def breaker(self) -> CircuitBreaker:
        """The breaker; to be asked for only where there is one."""
        return cast("CircuitBreaker", self.plan.breaker)

    @property
    def bulkhead(self) -> Bulkhead:
        """The bulkhead; to be asked for only where there is one."""
        return cast("Bulkhead", self.plan.bulkhead)

    def may_pass(self) -> bool:
        """Whether the rate limiter, if there is one, lets the call pass now; or give back."""
        if self.plan.limiter is None or self.plan.limiter.try_admit():
            return True
        if self.plan.bulkhead is not None:
            self.plan.bulkhead.give_back()
        return False

    def pay_in(self, outer: Scope | None) -> None:
        """Count a first call in the retry budget, unless a retry further out governs it.

        For the hot path itself alone: it looks below its caller on the stack.
        """
        if outer is not None and outer.folds:
            return
        below = sys._getframe(1).f_back  # noqa: SLF001  # in every Python that has frames
        if self.plan.budget is not None and not (below is not None and governed(below)):
            self.plan.budget.deposit()

    def passed(self) -> dict[int, object]:
        """The policies that have counted a call for good that the flows are to begin anew."""
        return {} if self.plan.limiter is None else {id(self.plan.limiter): TAKEN}

    def recovered(self, era: int, seconds: float | None) -> None:
        """Record a success in a breaker that is not quiet."""
        self.breaker.settle(Permit(era), failed=False, seconds=seconds)

    def handed_over(
        self,
        first: Result,
        outer: Scope | None,
        began: float | None,
        era: int,
        call: tuple[Sync, tuple[Any, ...], dict[str, Any]],
    ) -> Call:
        """The call, as if the flows had made its first attempt."""
        taken = Call(self.name, inherit(Scope(), outer), *call)
        taken.first = first
        if began is None:
            taken.unmeasured = True
        else:
            taken.began = began
        taken.attempts = 1
        taken.governed, taken.cut_off = governed, self.inflight.given_up
        if self.plan.breaker is not None:
            taken.adopted[id(self.plan.breaker)] = Permit(era)
        if self.plan.bulkhead is not None:
            taken.adopted[id(self.plan.bulkhead)] = TAKEN
        if self.plan.limiter is not None:
            taken.adopted[id(self.plan.limiter)] = TAKEN
        return taken
