"""How a recovery ended: what was tried, why it did or did not count, and what to retry with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.system.recovery.context import Changes


class Ending(StrEnum):
    """What came of one strategy in one recovery."""

    MENDED = "mended"
    """It acted, and its effect was verified."""
    SHARED = "shared"
    """Another failure had it run, and its effect was verified then."""
    SHARED_FAILURE = "shared_failure"
    """Another failure had it run, and it did not help."""
    NOT_APPLICABLE = "not_applicable"
    """It said that it does not apply."""
    COOLING = "cooling"
    """It ran only a moment ago."""
    BUSY = "busy"
    """A run of it that was left behind, or that this very call is part of, has not ended."""
    NOT_VERIFIED = "not_verified"
    """It acted, and its effect was not seen."""
    FAILED = "failed"
    """It raised an error."""
    LATE = "late"
    """It took longer than it may."""
    INTERRUPTED = "interrupted"
    """The call was ended from outside, by a cancellation for one, while this was at work."""
    OUT_OF_TIME = "out_of_time"
    """The deadline came first."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One strategy in one recovery."""

    strategy: str
    ending: Ending
    reason: str
    """In words."""
    seconds: float = 0.0

    @property
    def ran(self) -> bool:
        """Whether it acted, for this failure or for one it was shared with."""
        return self.ending not in _WITHOUT_ACTING

    def __str__(self) -> str:
        return f"{self.strategy or 'recovery'}: {self.ending.value}: {self.reason}"


_WITHOUT_ACTING = {
    Ending.NOT_APPLICABLE,
    Ending.COOLING,
    Ending.BUSY,
    Ending.OUT_OF_TIME,
    Ending.INTERRUPTED,
}


INTERRUPTED = Tried("", Ending.INTERRUPTED, "the call was ended from outside")


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """The end of one recovery."""

    success: bool
    """Whether a strategy's effect was verified, and so a retry makes sense."""
    strategy: str = ""
    """The one that helped; empty if none did."""
    tried: tuple[Tried, ...] = ()
    """All that were considered, in order."""
    changes: Changes = field(default_factory=Changes)
    """What is to be different in the retry."""
    notes: tuple[str, ...] = ()
    """All that the successful strategy said and changed."""
    seconds: float = 0.0
    shared: bool = False
    """Whether the strategy was run for another failure."""
    verified_at: float = -math.inf
    """Monotonic seconds at which the effect was seen."""

    @property
    def degraded(self) -> bool:
        """Whether the call's result will be less than what was asked for."""
        return self.success and (self.changes.offer is not None or bool(self.changes.lesser))

    @property
    def reason(self) -> str:
        """In one line."""
        if not self.tried:
            return "no strategy is registered for it"
        return "; ".join(str(one) for one in self.tried)
