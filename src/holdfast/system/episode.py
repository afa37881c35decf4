"""Where an error goes once it has happened: counted, kept, and its end told.

One `Memory` belongs to one system. It never raises into the call that failed and never waits for
a disk: the history has a thread of its own for that.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.error_info import ErrorInfo
from holdfast.system.recovery.result import Ending, Tried
from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.fingerprint import fingerprint

if TYPE_CHECKING:
    from holdfast.stores import ErrorHistory

MOST_OPERATIONS = 1_000
"""Functions that are counted apart."""
REST = "(others)"


@dataclass(slots=True)
class Counts:
    """What came of the calls of one function."""

    calls: int = 0
    succeeded: int = 0
    failed: int = 0
    """Calls that ended with an error."""
    rejected: int = 0
    """Calls that were refused: they never ran, or not to their end."""
    retried: int = 0
    """Attempts that failed and were followed by another."""

    def told(self) -> dict[str, int]:
        """As plain data: attempts, and how they ended."""
        return {
            "calls": self.calls,
            "attempts": self.calls + self.retried,
            "successes": self.succeeded,
            "failures": self.failed + self.retried,
            "rejected": self.rejected,
        }


@dataclass(slots=True)
class Episode:
    """One error, from its record to its end."""

    info: ErrorInfo
    number: int
    event: str | None
    """Its id in the history, if there is one."""


class Memory:
    """Remembers errors in the analytics and, if there is one, in the history."""

    __slots__ = ("analytics", "counts", "history")

    def __init__(self, analytics: ErrorAnalytics, history: ErrorHistory | None) -> None:
        self.analytics = analytics
        self.history = history
        self.counts: OrderedDict[str, Counts] = OrderedDict()

    def count(self, operation: str) -> Counts:
        """The counts of a function; those beyond the limit share one."""
        found = self.counts.get(operation)
        if found is None:
            if len(self.counts) >= MOST_OPERATIONS:
                operation = REST
            found = self.counts.setdefault(operation, Counts())
        return found

    def record(self, info: ErrorInfo) -> Episode:
        """Remember an error that has just happened."""
        number = self.analytics.record_error(info)
        event = None
        if self.history is not None:
            mark = fingerprint(info.error_type, info.error_message, info.frames, info.category)
            event = self.history.append(info, mark)
        return Episode(info, number, event)

    def resolve(self, episode: Episode | None, *, strategy: str, successful: bool) -> None:
        """Tell how the recovery of an error ended."""
        if episode is None:
            return
        info = episode.info
        info.recovery_attempted, info.recovery_successful = True, successful
        info.strategy = strategy
        self.analytics.resolve(episode.number, strategy=strategy, successful=successful)
        if self.history is not None and episode.event is not None:
            self.history.resolve(episode.event, strategy=strategy, successful=successful)

    def recovery(self, info: ErrorInfo, tried: Tried) -> None:
        """Remember one strategy's run."""
        good = tried.ending in (Ending.MENDED, Ending.SHARED)
        self.analytics.record_recovery(tried.strategy, info.category, good, tried.seconds)
        if self.history is not None:
            self.history.record_recovery(
                strategy=tried.strategy,
                category=info.category,
                successful=good,
                seconds=tried.seconds,
                error_type=info.error_type,
                detail=tried.reason,
            )

    def change(self, kind: str, name: str, old: str, new: str, reason: str) -> None:
        """Remember that a breaker or a degradation level went from one state to another."""
        if self.history is not None:
            self.history.record_change(kind=kind, name=name, old=old, new=new, reason=reason)
