"""What errors there were, how often, in which groups, and what became of them.

Laws:

- Everything is bounded: ``max_history`` errors are kept one by one, ``max_groups`` groups, and
  every text is cut. Counts go on exactly for what is no longer kept, and what was left out is
  counted.
- One short lock, held over no listener, no I/O and no reading of a message.
- An error's time is its `timestamp`, for rates only as its age: a wall clock that is set
  anew, or an error from the future, moves no rate. One from the future counts as now.
- Recording does not raise for anything in a message, a traceback or a context.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, overload

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.telemetry.groups import ErrorGroup, Totals
from holdfast.telemetry.intake import (
    draft_of,
    extra_of,
    flags_of,
    moments_of,
    name_of,
    worth_watching,
)
from holdfast.telemetry.kept import Extra, KeptErrors, Line
from holdfast.telemetry.ledger import WATCHED, Ledger
from holdfast.telemetry.summary import Material, ranked, summarise
from holdfast.telemetry.tallies import Latencies, Recoveries

REPORTED_GROUPS = 20

__all__ = ["REPORTED_GROUPS", "WATCHED", "ErrorAnalytics"]


class ErrorAnalytics:
    """Counts and keeps errors; safe across threads.

    What became of an error's recovery is told with `resolve`, by the number that
    `record_error` returned. Setting ``recovery_attempted`` and ``recovery_successful`` on the
    recorded `ErrorInfo` works too, while it is one of the last `WATCHED`: those are looked
    at again before anything is answered, and before they leave that window. What `resolve`
    said stands.
    """

    __slots__ = (
        "_latencies",
        "_ledger",
        "_lock",
        "_recoveries",
        "_restored",
        "_started",
        "max_groups",
        "max_history",
    )

    def __init__(self, max_history: int = 1000, *, max_groups: int = 1000) -> None:
        """Make an empty one.

        Args:
            max_history: how many errors are kept one by one.
            max_groups: how many groups are kept.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.whole("max_history", max_history, at_least=1)
        checks.whole("max_groups", max_groups, at_least=1)
        self.max_history = max_history
        self.max_groups = max_groups
        self._lock = threading.Lock()
        self._ledger = Ledger(max_history, max_groups)
        self._latencies = Latencies()
        self._recoveries = Recoveries()
        self._restored = 0
        self._started = ambient.wall()

    def record_error(self, info: ErrorInfo) -> int:
        """Count and keep one error.

        Returns:
            The error's number, from 1 on.

        Raises:
            BadInputError: if its category, severity or suggested recovery is none of ours.
        """
        at, when = moments_of(info)
        line = self._ledger.recall(info)
        draft = draft_of(info) if line is None else None
        extra, ends = extra_of(info)
        flags = flags_of(info) | ends
        watched = info if draft is None or worth_watching(info) else None
        with self._lock:
            line = self._ledger.count(line, draft, at, when, flags)
            return self._ledger.keep(line, at, flags, extra, watched)

    def resolve(self, number: int, *, strategy: str = "", successful: bool) -> bool:
        """Say how the recovery of a recorded error ended.

        Args:
            number: what `record_error` returned.
            strategy: what helped, or else the last that was tried; empty if that is known already.
            successful: whether it had a verified effect.

        Returns:
            False if the error is no longer kept. Such cases are counted, as
            ``late_resolutions`` of the report.

        Raises:
            BadInputError: if there was no error of that number.
        """
        with self._lock:
            if not 1 <= number < self._ledger.kept.next:
                raise BadInputError(f"number must be one that record_error gave, got {number!r}")
            return self._ledger.resolve(number, strategy, successful=successful)

    def record_recovery(
        self,
        strategy: str,
        category: ErrorCategory,
        successful: bool,  # noqa: FBT001 - the one thing it says
        seconds: float,
    ) -> None:
        """Count one attempt of one strategy, whichever error it was for.

        Args:
            strategy: its name.
            category: what it was tried on.
            successful: whether it had a verified effect.
            seconds: how long it took.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.seconds("seconds", seconds, zero=True)
        kind = _category(category)
        with self._lock:
            self._recoveries.add(name_of(strategy), kind, bool(successful), seconds)

    def record_latency(self, dependency: str, seconds: float) -> None:
        """Count how long one call to a dependency took.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        if not 0.0 <= seconds < 1e300:
            checks.seconds("seconds", seconds, zero=True)
        with self._lock:
            self._latencies.add(name_of(dependency), seconds)

    def restore(self, rows: Iterable[ErrorInfo]) -> int:
        """Count what a history has, in any order, and keep the latest of it.

        Restored errors lie before those recorded here, with numbers below 1. Meant for
        the start; it reads ``rows`` once and holds at most ``max_history`` of them.

        Returns:
            How many there were.

        Raises:
            BadInputError: if a row's category, severity or suggested recovery is none of ours. What
                came before it is counted, and not kept.
        """
        newest: list[tuple[float, int, Line, int, Extra | None]] = []
        number = 0
        for number, info in enumerate(rows, start=1):
            at, when = moments_of(info)
            line = self._ledger.recall(info)
            draft = draft_of(info) if line is None else None
            extra, ends = extra_of(info)
            flags = flags_of(info) | ends
            with self._lock:
                self._restored += 1
                line = self._ledger.count(line, draft, at, when, flags)
                entry = (at, number, line, flags, self._ledger.shared(line, extra))
            if len(newest) < self.max_history:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
        newest.sort(reverse=True, key=lambda entry: entry[:2])
        with self._lock:
            room = self.max_history - (self._ledger.kept.next - self._ledger.kept.first)
            for at, _, line, flags, extra in newest[:room]:
                self._ledger.kept.put_before(line, at, flags, extra)
        return number

    @property
    def error_history(self) -> KeptErrors:
        """The kept errors as they are now, the oldest first: a sequence of `ErrorInfo`."""
        with self._lock:
            return self._ledger.view()

    def get_error_rate(self, time_window: timedelta | float = 3600.0) -> float:
        """Errors per minute over the last ``time_window``.

        Args:
            time_window: seconds, or a `timedelta`, up to 400 hours. What happened up to one
                second before it may be counted too; one minute if it is above two minutes,
                one hour if it is above three hours.

        Raises:
            BadInputError: if it is not above 0 and at most 400 hours.
        """
        seconds = time_window.total_seconds() if isinstance(time_window, timedelta) else time_window
        with self._lock:
            # Multiplied first: 5 in an hour are 5 / 60 exactly.
            return self._ledger.rates.count(seconds, ambient.now()) * 60.0 / seconds

    def get_most_common_errors(self, limit: int = 10) -> list[tuple[str, int]]:
        """Exception classes with how many errors there were of each, the most first.

        Raises:
            BadInputError: if ``limit`` is not a whole number from 0 on.
        """
        checks.whole("limit", limit, at_least=0)
        return ranked(self._totals().types)[:limit]

    def top_groups(self, limit: int = 10) -> list[ErrorGroup]:
        """The groups with the most errors, the greatest first.

        Raises:
            BadInputError: if ``limit`` is not a whole number from 0 on.
        """
        checks.whole("limit", limit, at_least=0)
        with self._lock:
            return self._ledger.greatest(limit)

    @overload
    def get_errors_by_category(self, category: None = None) -> dict[str, int]: ...
    @overload
    def get_errors_by_category(self, category: ErrorCategory | str) -> list[ErrorInfo]: ...
    def get_errors_by_category(
        self, category: ErrorCategory | str | None = None
    ) -> list[ErrorInfo] | dict[str, int]:
        """The kept errors of a category, the oldest first; without one, how many there ever were.

        Raises:
            BadInputError: if there is no such category.
        """
        if category is None:
            return dict(ranked(self._totals().categories))
        wanted = _category(category)
        return self.error_history.where(lambda line: line.group.category is wanted)

    @overload
    def get_errors_by_severity(self, severity: None = None) -> dict[str, int]: ...
    @overload
    def get_errors_by_severity(self, severity: ErrorSeverity | str) -> list[ErrorInfo]: ...
    def get_errors_by_severity(
        self, severity: ErrorSeverity | str | None = None
    ) -> list[ErrorInfo] | dict[str, int]:
        """The kept errors of a severity, the oldest first; without one, how many there ever were.

        Raises:
            BadInputError: if there is no such severity.
        """
        if severity is None:
            return dict(ranked(self._totals().severities))
        try:
            wanted = ErrorSeverity(severity)
        except ValueError as error:
            raise BadInputError(f"severity: {error}") from error
        return self.error_history.where(lambda line: line.strand.severity is wanted)

    @overload
    def get_errors_by_dependency(self, dependency: None = None) -> dict[str, int]: ...
    @overload
    def get_errors_by_dependency(self, dependency: str) -> list[ErrorInfo]: ...
    def get_errors_by_dependency(
        self, dependency: str | None = None
    ) -> list[ErrorInfo] | dict[str, int]:
        """The kept errors of a dependency, the oldest first; without one, how many of each."""
        if dependency is None:
            return dict(ranked(self._totals().dependencies))
        return self.error_history.where(lambda line: line.facts[0] == dependency)

    def get_recovery_rate(self, strategy: str | None = None) -> float:
        """The share of recoveries that had a verified effect; 0.0 if none was attempted.

        Args:
            strategy: of this strategy's attempts, as told by `record_recovery`; without one, of
                all errors whose recovery was attempted.
        """
        ledger = self._ledger
        with self._lock:
            if strategy is not None:
                return self._recoveries.rate(name_of(strategy))
            ledger.look_again()
            return ledger.successful / ledger.attempted if ledger.attempted else 0.0

    def recovery_by_strategy(self) -> dict[str, dict[str, Any]]:
        """For each strategy ``attempted``, ``successful``, ``rate``, ``by_category``, `seconds`."""
        with self._lock:
            return self._recoveries.told()

    def percentiles(self, dependency: str) -> dict[str, float]:
        """``p50``, ``p90``, ``p95``, ``p99`` and ``max`` of a dependency's latency in seconds.

        They are right to within 1 %, and of everything since the start. Empty if nothing was
        recorded.
        """
        with self._lock:
            return self._latencies.percentiles(name_of(dependency))

    def generate_report(self) -> dict[str, Any]:
        """Everything in one dict of plain data; `docs/analytics.md` says what is in it."""
        ledger = self._ledger
        with self._lock:
            now = ambient.now()
            kept = ledger.view()
            material = Material(
                wall=ambient.wall(),
                started=self._started,
                totals=ledger.groups.totals(),
                kept=kept,
                groups=ledger.greatest(REPORTED_GROUPS),
                group_count=len(ledger.groups),
                evicted_groups=ledger.groups.evicted,
                evicted_errors=ledger.groups.gone.errors,
                restored=self._restored,
                attempted=ledger.attempted,
                successful=ledger.successful,
                late_resolutions=ledger.late,
                recoveries=self._recoveries.told(),
                latencies=self._latencies.told(),
                last_hour=ledger.rates.count(3600.0, now),
                minutes=ledger.rates.series(60.0, now),
                hours=ledger.rates.series(3600.0, now),
            )
        return summarise(material)

    def _totals(self) -> Totals:
        with self._lock:
            return self._ledger.groups.totals()


def _category(category: ErrorCategory | str) -> ErrorCategory:
    try:
        return ErrorCategory(category)
    except ValueError as error:
        raise BadInputError(f"category: {error}") from error
