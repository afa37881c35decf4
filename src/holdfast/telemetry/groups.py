"""Errors that are the same trouble, counted together, in bounded memory.

Laws:

- At most ``limit`` groups. A new one takes the place of the one that was recorded least
  recently, whose counts are added to the `Totals` of what is gone; every count stays exact.
- A group tells at most `STRANDS` pairs of severity and dependency apart, what is gone at most
  `NAMES` types and dependencies; beyond that the name is `OTHER`, and the count stays exact.
- Not safe for concurrent use: callers guard it with their own lock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any

from holdfast.errors import ErrorCategory, ErrorSeverity
from holdfast.telemetry.rates import Rates
from holdfast.telemetry.trend import Trend, trend_of

OTHER = "(other)"
"""Stands for names beyond the number that is told apart."""
STRANDS = 32
NAMES = 1_000
MINUTE = 60.0
_HOUR_AND_DAY = ((MINUTE, 60), (3600.0, 24))
_ORDER = {severity: rank for rank, severity in enumerate(ErrorSeverity)}


class Strand:
    """The errors of one group that have the same severity and dependency."""

    __slots__ = ("count", "dependency", "severity")

    def __init__(self, severity: ErrorSeverity, dependency: str) -> None:
        self.severity = severity
        self.dependency = dependency
        self.count = 0


class Group:
    """The errors of one fingerprint."""

    __slots__ = (
        "category",
        "error_type",
        "extra",
        "facts",
        "fingerprint",
        "first_seen",
        "first_when",
        "gone",
        "last_seen",
        "rates",
        "sample",
        "strands",
    )

    def __init__(
        self, fingerprint: str, error_type: str, category: ErrorCategory, sample: str
    ) -> None:
        self.fingerprint = fingerprint
        self.error_type = error_type
        self.category = category
        self.sample = sample
        self.first_seen = self.first_when = inf
        self.last_seen = -inf
        self.strands: list[Strand] = []
        self.rates: Rates | None = None
        """None while there has been one error: most groups of odd errors never have a second."""
        self.gone = False
        self.facts: object = None
        self.extra: object = None
        """The latest facts and extra, which the next error shares if its own are equal."""

    @property
    def count(self) -> int:
        """Errors of this group, ever."""
        return sum(strand.count for strand in self.strands)

    def strand(self, severity: ErrorSeverity, dependency: str) -> Strand:
        """The strand of these two, a new one if there is room."""
        for strand in self.strands:
            if strand.severity is severity and strand.dependency == dependency:
                return strand
        # Places for no dependency and for all others are kept free, one for each severity.
        named = dependency not in {"", OTHER}
        if named and len(self.strands) >= STRANDS - 2 * len(ErrorSeverity):
            return self.strand(severity, OTHER)
        strand = Strand(severity, dependency)
        self.strands.append(strand)
        return strand

    def see(self, at: float, when: float) -> None:
        """Note one error: at ``at`` in seconds since 1970, ``when`` in those of `Rates`."""
        if self.rates is not None:
            self.rates.record(when)
        elif self.first_when < inf:
            self.rates = Rates(_HOUR_AND_DAY)
            self.rates.record(self.first_when)
            self.rates.record(when)
        if at < self.first_seen:
            self.first_seen = at
            self.first_when = min(self.first_when, when)
        self.last_seen = max(self.last_seen, at)

    def told(self, wall: float, now: float) -> ErrorGroup:
        """The group as it is now, for others to keep."""
        rates = self.rates
        if rates is None:
            rates = Rates(_HOUR_AND_DAY)
            rates.record(self.first_when)
        trend = trend_of(
            rates,
            now,
            age=max(now - self.first_when, 0.0),
            quiet=max(wall - self.last_seen, 0.0),
            count=self.count,
        )
        dependencies: Counter[str] = Counter()
        severities: Counter[ErrorSeverity] = Counter()
        for strand in self.strands:
            severities[strand.severity] += strand.count
            if strand.dependency:
                dependencies[strand.dependency] += strand.count
        return ErrorGroup(
            fingerprint=self.fingerprint,
            error_type=self.error_type,
            category=self.category,
            severity=max(severities, key=_ORDER.__getitem__),
            sample=self.sample,
            count=trend.count,
            first_seen=datetime.fromtimestamp(self.first_seen, UTC),
            last_seen=datetime.fromtimestamp(self.last_seen, UTC),
            dependencies=dict(dependencies),
            severities=dict(severities),
            last_hour=tuple(rates.series(MINUTE, now)),
            trend=trend,
        )


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """What is known about one trouble."""

    fingerprint: str
    """16 hexadecimal digits; the same in every process."""
    error_type: str
    category: ErrorCategory
    severity: ErrorSeverity
    """The worst that any error of the group had."""
    sample: str
    """The message of the first one."""
    count: int
    first_seen: datetime
    """In UTC."""
    last_seen: datetime
    """In UTC."""
    dependencies: dict[str, int]
    """How many errors came from which dependency."""
    severities: dict[ErrorSeverity, int]
    last_hour: tuple[int, ...]
    """Errors by the minute, the oldest first; the last one is the minute that has begun."""
    trend: Trend
    """Its `str` is a sentence: ``began 12 minutes ago, 40 an hour, rising``."""

    def to_dict(self) -> dict[str, Any]:
        """The group as JSON can hold it."""
        return {
            "fingerprint": self.fingerprint,
            "error_type": self.error_type,
            "category": self.category.value,
            "severity": self.severity.value,
            "sample": self.sample,
            "count": self.count,
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
            "dependencies": dict(self.dependencies),
            "severities": {severity.value: n for severity, n in self.severities.items()},
            "last_hour": list(self.last_hour),
            "per_hour": round(self.trend.per_hour, 3),
            "direction": self.trend.direction.value,
            "trend": str(self.trend),
        }


@dataclass(slots=True)
class Totals:
    """Counts of errors from all sides."""

    errors: int = 0
    types: Counter[str] = field(default_factory=Counter)
    categories: Counter[ErrorCategory] = field(default_factory=Counter)
    severities: Counter[ErrorSeverity] = field(default_factory=Counter)
    dependencies: Counter[str] = field(default_factory=Counter)
    """Errors of no dependency are left out."""

    def add(self, group: Group, names: float = inf) -> None:
        """Add a group's counts; ``names`` is how many types and dependencies are told apart."""
        for strand in group.strands:
            number = strand.count
            self.errors += number
            _add(self.types, group.error_type, number, names)
            self.categories[group.category] += number
            self.severities[strand.severity] += number
            if strand.dependency:
                _add(self.dependencies, strand.dependency, number, names)


class Groups:
    """All groups, and the counts that follow from them."""

    __slots__ = ("_by_fingerprint", "evicted", "gone", "limit")

    evicted: int
    """Groups that had to make room."""
    gone: Totals
    """What is left of them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._by_fingerprint: OrderedDict[str, Group] = OrderedDict()
        self.evicted = 0
        self.gone = Totals()

    def __len__(self) -> int:
        return len(self._by_fingerprint)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_fingerprint.values())

    def find(
        self, fingerprint: str, error_type: str, category: ErrorCategory, sample: str
    ) -> Group:
        """The group of that fingerprint, a new one if there is none."""
        group = self._by_fingerprint.get(fingerprint)
        if group is None:
            if len(self._by_fingerprint) >= self.limit:
                oldest = self._by_fingerprint.popitem(last=False)[1]
                oldest.gone = True
                self.evicted += 1
                self.gone.add(oldest, NAMES)
            group = Group(fingerprint, error_type, category, sample)
            self._by_fingerprint[fingerprint] = group
        return group

    def touch(self, group: Group) -> None:
        """Let it be the last one that makes room."""
        self._by_fingerprint.move_to_end(group.fingerprint)

    def totals(self) -> Totals:
        """Counts of all errors ever, of groups that are kept and of those that are not."""
        gone = self.gone
        totals = Totals(
            gone.errors,
            gone.types.copy(),
            gone.categories.copy(),
            gone.severities.copy(),
            gone.dependencies.copy(),
        )
        for group in self:
            totals.add(group)
        return totals


def _add(counts: Counter[str], name: str, number: int, names: float) -> None:
    counts[name if name in counts or len(counts) < names else OTHER] += number
