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
from holdfast.telemetry.groups import ErrorGroup, Group, Groups, Totals
from holdfast.telemetry.intake import (
    Draft,
    Key,
    cut,
    draft_of,
    extra_of,
    flags_of,
    key_of,
    moments_of,
    worth_watching,
)
from holdfast.telemetry.kept import ATTEMPTED, SUCCESSFUL, Extra, Kept, KeptErrors, Line
from holdfast.telemetry.rates import Rates
from holdfast.telemetry.summary import Material, ranked, summarise
from holdfast.telemetry.tallies import Latencies, Recoveries

WATCHED = 64
"""So many of the latest `ErrorInfo`s are looked at again, in case their recovery has ended."""
REPORTED_GROUPS = 20
_LINES = 256
_ENDED = ATTEMPTED | SUCCESSFUL
_NO_GROUP = Group("", "", ErrorCategory.UNKNOWN, "")


class ErrorAnalytics:
    """Counts and keeps errors; safe across threads.

    What became of an error's recovery is told with `resolve`, by the number that
    `record_error` returned. Setting ``recovery_attempted`` and ``recovery_successful`` on the
    recorded `ErrorInfo` works too, while it is one of the last `WATCHED`: those are looked
    at again before anything is answered, and before they leave that window. What `resolve`
    said stands.
    """

    __slots__ = (
        "_attempted",
        "_groups",
        "_kept",
        "_latencies",
        "_latest",
        "_lines",
        "_lock",
        "_rates",
        "_recoveries",
        "_restored",
        "_started",
        "_successful",
        "_unresolved",
        "_watched",
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
        self._kept = Kept(max_history)
        self._groups = Groups(max_groups)
        self._rates = Rates()
        self._latencies = Latencies()
        self._recoveries = Recoveries()
        self._lines: dict[Key, Line] = {}
        """Lines of recent errors by what they were made from: spares reading their messages."""
        self._latest = _NO_GROUP
        """The group that was recorded last; it needs not be moved to the end."""
        self._watched: list[ErrorInfo | None] = [None] * min(WATCHED, max_history)
        self._attempted = self._successful = 0
        self._restored = self._unresolved = 0
        self._started = ambient.wall()

    def record_error(self, info: ErrorInfo) -> int:
        """Count and keep one error.

        Returns:
            The error's number, from 1 on.

        Raises:
            BadInputError: if its category, severity or suggested recovery is none of ours.
        """
        at, when = moments_of(info)
        line = self._recall(info)
        draft = draft_of(info) if line is None else None
        flags = flags_of(info)
        extra = extra_of(info)
        watched = info if draft is None or worth_watching(info) else None
        with self._lock:
            line = self._count(line, draft, at, when, flags)
            kept = self._kept
            number = kept.next
            place = number % len(self._watched)
            earlier = self._watched[place]
            if earlier is not None and (earlier.recovery_attempted or earlier.strategy):
                self._look_again(number - len(self._watched), earlier)
            self._watched[place] = watched
            kept.put(number, line, at, flags, self._shared(line, extra))
            kept.next = number + 1
        return number

    def resolve(self, number: int, *, strategy: str = "", successful: bool) -> bool:
        """Say how the recovery of a recorded error ended.

        Args:
            number: what `record_error` returned.
            strategy: what helped, or else the last that was tried.
            successful: whether it had a verified effect.

        Returns:
            False if the error is no longer kept. Such cases are counted, as
            ``late_resolutions`` of the report.

        Raises:
            BadInputError: if there was no error of that number.
        """
        with self._lock:
            if not 1 <= number < self._kept.next:
                raise BadInputError(f"number must be one that record_error gave, got {number!r}")
            if number < self._kept.first:
                self._unresolved += 1
                return False
            if number >= self._kept.next - len(self._watched):
                self._watched[number % len(self._watched)] = None
            self._end(number, ATTEMPTED | (SUCCESSFUL if successful else 0), strategy)
        return True

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
            self._recoveries.add(cut(strategy, 200), kind, bool(successful), seconds)

    def record_latency(self, dependency: str, seconds: float) -> None:
        """Count how long one call to a dependency took.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        if not 0.0 <= seconds < 1e300:
            checks.seconds("seconds", seconds, zero=True)
        with self._lock:
            self._latencies.add(cut(dependency, 200), seconds)

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
            line = self._recall(info)
            draft = draft_of(info) if line is None else None
            flags, extra = flags_of(info), extra_of(info)
            with self._lock:
                self._restored += 1
                line = self._count(line, draft, at, when, flags)
                entry = (at, number, line, flags, self._shared(line, extra))
            if len(newest) < self.max_history:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
        newest.sort(reverse=True, key=lambda entry: entry[:2])
        with self._lock:
            room = self.max_history - (self._kept.next - self._kept.first)
            for at, _, line, flags, extra in newest[:room]:
                self._kept.put_before(line, at, flags, extra)
        return number

    @property
    def error_history(self) -> KeptErrors:
        """The kept errors as they are now, the oldest first: a sequence of `ErrorInfo`."""
        with self._lock:
            self._look_again_at_all()
            return self._kept.view()

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
            return self._rates.rate(seconds, ambient.now()) * 60.0

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
            return self._told_groups(limit)

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
        with self._lock:
            if strategy is not None:
                return self._recoveries.rate(strategy)
            self._look_again_at_all()
            return self._successful / self._attempted if self._attempted else 0.0

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
            return self._latencies.percentiles(dependency)

    def generate_report(self) -> dict[str, Any]:
        """Everything in one dict of plain data; `docs/analytics.md` says what is in it."""
        with self._lock:
            self._look_again_at_all()
            now = ambient.now()
            material = Material(
                wall=ambient.wall(),
                started=self._started,
                totals=self._groups.totals(),
                kept=self._kept.view(),
                groups=self._told_groups(REPORTED_GROUPS),
                group_count=len(self._groups),
                evicted_groups=self._groups.evicted,
                evicted_errors=self._groups.gone.errors,
                restored=self._restored,
                attempted=self._attempted,
                successful=self._successful,
                late_resolutions=self._unresolved,
                recoveries=self._recoveries.told(),
                latencies=self._latencies.told(),
                last_hour=self._rates.count(3600.0, now),
                minutes=self._rates.series(60.0, now),
                hours=self._rates.series(3600.0, now),
            )
        return summarise(material)

    # What follows is called with the lock held, but for `_recall` and `_totals`.

    def _recall(self, info: ErrorInfo) -> Line | None:
        try:
            return self._lines.get(key_of(info))
        except TypeError:
            return None  # a list for frames, or no text for a message: the draft sets it right

    def _count(
        self, line: Line | None, draft: Draft | None, at: float, when: float, flags: int
    ) -> Line:
        if line is None:
            line = self._drawn(draft)
        elif line.group.gone:
            self._renew(line)
        group = line.group
        if group is not self._latest:
            self._groups.touch(group)
            self._latest = group
        line.strand.count += 1
        rates = self._rates
        if rates.since <= when < rates.until:
            rates.total += 1
        else:
            rates.record(when)
        group.see(at, when)
        if flags & ATTEMPTED:
            self._attempted += 1
            self._successful += flags & _ENDED == _ENDED
        return line

    def _drawn(self, draft: Draft | None) -> Line:
        assert draft is not None, "a line is remembered, or drafted"  # noqa: S101 - for the reader
        group = self._groups.find(
            draft.fingerprint, draft.error_type, draft.category, draft.message
        )
        facts = draft.facts
        if facts == group.facts:
            facts = group.facts
        else:
            group.facts = facts
        line = Line(group, group.strand(draft.severity, facts[0]), draft.message, facts)
        if draft.key is not None:
            if len(self._lines) >= _LINES:
                self._lines.clear()  # those in use are soon back, at one reading each
            self._lines[draft.key] = line
        return line

    def _renew(self, line: Line) -> None:
        """Let a line whose group had to make room count for that group's successor."""
        old = line.group
        line.group = self._groups.find(old.fingerprint, old.error_type, old.category, line.message)
        line.strand = line.group.strand(line.strand.severity, line.facts[0])

    def _shared(self, line: Line, extra: Extra | None) -> Extra | None:
        if extra is None:
            return None
        if extra == line.group.extra:
            return line.group.extra
        line.group.extra = extra
        return extra

    def _look_again_at_all(self) -> None:
        kept = self._kept
        for number in range(max(1, kept.next - len(self._watched)), kept.next):
            info = self._watched[number % len(self._watched)]
            if info is not None:
                self._look_again(number, info)

    def _look_again(self, number: int, info: ErrorInfo) -> None:
        slot = number % self._kept.size
        extra = self._kept.extras[slot]
        flags = flags_of(info) & _ENDED
        strategy = cut(info.strategy, 200)
        if self._kept.flags[slot] & _ENDED != flags or (extra[0] if extra else "") != strategy:
            self._end(number, flags, strategy)

    def _end(self, number: int, flags: int, strategy: str) -> None:
        kept = self._kept
        slot = number % kept.size
        before = kept.flags[slot] & _ENDED
        kept.flags[slot] = kept.flags[slot] & ~_ENDED | flags
        self._attempted += bool(flags & ATTEMPTED) - bool(before & ATTEMPTED)
        self._successful += (flags == _ENDED) - (before == _ENDED)
        line, extra = kept.lines[slot], kept.extras[slot]
        if line is not None and strategy != (extra[0] if extra else ""):
            _, traceback, context = extra or ("", None, None)
            kept.extras[slot] = self._shared(line, (cut(strategy, 200), traceback, context))

    def _told_groups(self, limit: int) -> list[ErrorGroup]:
        wall, now = ambient.wall(), ambient.now()
        greatest = heapq.nlargest(limit, self._groups, key=lambda group: group.count)
        return [group.told(wall, now) for group in greatest]

    def _totals(self) -> Totals:
        with self._lock:
            return self._groups.totals()


def _category(category: ErrorCategory | str) -> ErrorCategory:
    try:
        return ErrorCategory(category)
    except ValueError as error:
        raise BadInputError(f"category: {error}") from error
