"""What a full registry may forget: what nobody misses.

- Nothing with a call in flight goes, and no breaker that is open or set by hand.
- The one that was asked for the longest time ago is looked at first; one that
  may not go gets a second chance, so that a flood of new names does not look at
  the same ones again and again, and costs each name the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from holdfast.machines.circuit import CircuitState
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.policy import Policy
from holdfast.ports import ambient

LOOKED_AT = 32
"""Entries looked at to make room for one."""


class Kept(Protocol):
    """What a registry keeps."""

    used_at: float
    """Monotonic seconds when somebody last asked for it."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """What would be lost with it."""
        ...

    @property
    def in_flight(self) -> int:
        """Calls on their way through it."""
        ...


class KeptBreaker:
    """A breaker made by name, with the settings it was made with."""

    __slots__ = ("breaker", "settings", "used_at")
    in_flight = 0

    def __init__(self, breaker: CircuitBreaker, settings: Mapping[str, Any]) -> None:
        self.breaker = breaker
        self.settings = settings
        self.used_at = ambient.now()

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The breaker alone."""
        return (self.breaker,)


K = TypeVar("K", bound=Kept)


def make_room(kept: OrderedDict[str, K], room: int, idle_seconds: float) -> bool:
    """Have fewer than ``room`` entries, at the cost of at most one; False if none may go."""
    if len(kept) < room:
        return True
    for _ in range(min(len(kept), LOOKED_AT)):
        name, oldest = next(iter(kept.items()))
        if may_go(oldest, idle_seconds):
            del kept[name]
            return True
        kept.move_to_end(name)
    return False


def may_go(kept: Kept, idle_seconds: float) -> bool:
    """Whether nothing is lost with it."""
    if kept.in_flight:
        return False
    unused = ambient.now() - kept.used_at >= idle_seconds
    return all(_rests(policy, unused=unused) for policy in kept.policies)


def _rests(policy: Policy, *, unused: bool) -> bool:
    if not isinstance(policy, CircuitBreaker):
        return True
    told = policy.snapshot()
    if unused:
        # After so long a time its failures say little, and an opening that is over says less.
        return told["state"] in (CircuitState.CLOSED, CircuitState.HALF_OPEN)
    clean = not told["failures"] and not told["failure_rate"] and not told["openings"]
    return clean and told["state"] is CircuitState.CLOSED
