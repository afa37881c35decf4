"""Counts of errors and recoveries by the minute, hour and day, before they reach the database.

A batch of a thousand errors in five groups changes five groups, not a thousand times one.
Bounded: beyond `MOST` different counts the hours, groups and dependencies of the rest are one, so
totals by category and severity stay exact whatever names strangers make up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.stores.rows import Row
from holdfast.stores.tables import HOUR, MINUTE, NAME, WIDTHS

MOST = 10_000
"""Different counts that are kept apart."""
OTHER = "(others)"
"""The group and the dependency of what is no longer told apart."""

_Count = tuple[int, str, str, str, str, str]
"""Minute, service, fingerprint, dependency, category, severity."""


class Counts:
    """What is to be added to the counts of the history."""

    __slots__ = ("groups", "minutes", "recoveries")

    def __init__(self) -> None:
        self.minutes: dict[_Count, int] = {}
        self.groups: dict[tuple[str, str], Row] = {}
        self.recoveries: dict[tuple[int, str], list[int]] = {}

    def add(self, event: Row) -> None:
        """Count an error."""
        minute = int(event["ts"] // MINUTE) * MINUTE
        service, fingerprint = event["service"], event["fingerprint"]
        key = (
            minute,
            service,
            fingerprint,
            event["dependency"],
            event["category"],
            event["severity"],
        )
        if key not in self.minutes and len(self.minutes) >= MOST:
            key = (minute // HOUR * HOUR, service, OTHER, OTHER, *key[4:])
            fingerprint = OTHER
        self.minutes[key] = self.minutes.get(key, 0) + 1
        self._add_group(
            {
                "service": service,
                "fingerprint": fingerprint,
                "type": event["type"] if fingerprint is not OTHER else OTHER,
                "category": event["category"],
                "severity": event["severity"],
                "message": event["message"][: NAME * 5],
                "first_seen": event["ts"],
                "last_seen": event["ts"],
                "count": 1,
            }
        )
        if event["recovery_attempted"]:
            self._add_recovery(minute, event["strategy"], 1, int(event["recovery_successful"]))

    def add_recovery(self, resolution: Row) -> None:
        """Count what became of an error."""
        minute = int(resolution["ts"] // MINUTE) * MINUTE
        self._add_recovery(minute, resolution["strategy"], 1, int(resolution["successful"]))

    def merge(self, other: Counts) -> None:
        """Add what another one has counted."""
        for key, count in other.minutes.items():
            if key not in self.minutes and len(self.minutes) >= MOST:
                minute, service, _, _, category, severity = key
                key = (minute // HOUR * HOUR, service, OTHER, OTHER, category, severity)  # noqa: PLW2901
            self.minutes[key] = self.minutes.get(key, 0) + count
        for group in other.groups.values():
            self._add_group(group)
        for (minute, strategy), (attempted, successful) in other.recoveries.items():
            self._add_recovery(minute, strategy, attempted, successful)

    def rollups(self) -> list[Row]:
        """The rows to add to `rollup`, in an order that is the same in every process."""
        totals: dict[tuple[Any, ...], int] = {}
        for (minute, *rest), count in self.minutes.items():
            for width in WIDTHS:
                key = (width, minute // width * width, *rest)
                totals[key] = totals.get(key, 0) + count
        names = ("width", "start", "service", "fingerprint", "dependency", "category", "severity")
        return [
            {**dict(zip(names, key, strict=True)), "count": totals[key]} for key in sorted(totals)
        ]

    def recovery_rollups(self) -> list[Row]:
        """The rows to add to `recovery_rollup`."""
        totals: dict[tuple[int, int, str], list[int]] = {}
        for (minute, strategy), counted in self.recoveries.items():
            for width in WIDTHS:
                key = (width, minute // width * width, strategy)
                total = totals.setdefault(key, [0, 0])
                total[0] += counted[0]
                total[1] += counted[1]
        return [
            {
                "width": width,
                "start": start,
                "strategy": strategy,
                "attempted": totals[width, start, strategy][0],
                "successful": totals[width, start, strategy][1],
            }
            for width, start, strategy in sorted(totals)
        ]

    def group_rows(self) -> Iterator[Row]:
        """The rows to add to `error_group`."""
        for key in sorted(self.groups):
            yield self.groups[key]

    def __bool__(self) -> bool:
        return bool(self.minutes or self.recoveries)

    def _add_group(self, group: Row) -> None:
        key = group["service"], group["fingerprint"]
        known = self.groups.get(key)
        if known is None and len(self.groups) >= MOST:
            key = group["service"], OTHER
            group = {**group, "fingerprint": OTHER, "type": OTHER}
            known = self.groups.get(key)
        if known is None:
            self.groups[key] = dict(group)
            return
        known["count"] += group["count"]
        known["first_seen"] = min(known["first_seen"], group["first_seen"])
        if group["last_seen"] >= known["last_seen"]:
            for column in ("last_seen", "message", "severity", "category"):
                known[column] = group[column]

    def _add_recovery(self, minute: int, strategy: str, attempted: int, successful: int) -> None:
        key = minute, strategy
        if key not in self.recoveries and len(self.recoveries) >= MOST:
            key = minute // HOUR * HOUR, OTHER
        total = self.recoveries.setdefault(key, [0, 0])
        total[0] += attempted
        total[1] += successful
