"""Every change of a level: remembered, told to listeners, and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from holdfast import events
from holdfast.events import hub
from holdfast.system.degradation.grades import Cause, DegradationLevel

log = logging.getLogger("holdfast.degradation")


@dataclass(frozen=True, slots=True)
class LevelChange:
    """One change of one scope's own level."""

    at: float
    """Monotonic seconds at which it took place."""
    wall: float
    """The same in seconds since 1970."""
    scope: str | None
    """The dependency, or None for the whole service."""
    old: DegradationLevel
    new: DegradationLevel
    reason: str
    cause: Cause

    @property
    def degrades(self) -> bool:
        """Whether there was more before it."""
        return self.new.rank > self.old.rank

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {
            "old": self.old.value,
            "new": self.new.value,
            "cause": self.cause.value,
        }


def announce(
    name: str, changes: list[LevelChange], on_change: Callable[[LevelChange], object] | None
) -> None:
    """Log the changes and tell listeners; under no lock, for listeners may take their time."""
    for change in changes:
        if on_change is not None:
            with suppress(Exception):
                on_change(change)
        log.log(
            logging.WARNING if change.degrades else logging.INFO,
            "%s: %s %s from %s to %s: %s (%s)",
            name,
            "the whole service" if change.scope is None else repr(change.scope),
            "degraded" if change.degrades else "restored",
            change.old,
            change.new,
            change.reason,
            change.cause,
        )
        if hub.active:
            hub.emit(
                events.DegradationChanged(
                    name,
                    change.at,
                    change.scope,
                    change.old.value,
                    change.new.value,
                    change.reason,
                    change.cause.value,
                )
            )
