"""What recoveries have come to: the last so many in full, and how often each strategy helped."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from datetime import UTC, datetime
from typing import Any

from holdfast.error_info import ErrorInfo
from holdfast.ports import ambient
from holdfast.system.recovery.plan import Account
from holdfast.system.recovery.result import Ending, RecoveryResult

MOST_NAMES = 1_000
"""Strategies counted one by one; the one that ran longest ago is counted among the others."""
OTHERS = "(others)"

_RAN = (Ending.MENDED, Ending.NOT_VERIFIED, Ending.FAILED, Ending.LATE)


class _Tally:
    __slots__ = ("endings", "seconds")

    def __init__(self) -> None:
        self.endings: Counter[Ending] = Counter()
        self.seconds = 0.0

    def add(self, other: _Tally) -> None:
        self.endings.update(other.endings)
        self.seconds += other.seconds

    def told(self) -> dict[str, Any]:
        """Figures of one strategy. A run that was shared is one run."""
        runs = sum(self.endings[ending] for ending in _RAN)
        successes = self.endings[Ending.MENDED]
        return {
            "runs": runs,
            "successes": successes,
            "rate": successes / runs if runs else None,
            "shared": self.endings[Ending.SHARED],
            "seconds": self.seconds,
        } | {
            ending.value: self.endings[ending]
            for ending in Ending
            if ending not in (Ending.MENDED, Ending.SHARED)
        }


class Ledger(Account):
    """Safe across threads, and bounded."""

    def __init__(self, most: int) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=most)
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()
        self._recoveries = self._successes = 0
        self._lock = threading.Lock()

    def ran(self, name: str, ending: Ending, seconds: float) -> None:
        """Count how a strategy ended in one recovery; its time only where it acted."""
        with self._lock:
            tally = self._tallies.get(name)
            if tally is None:
                tally = self._tallies[name] = _Tally()
                if len(self._tallies) - (OTHERS in self._tallies) > MOST_NAMES:
                    oldest = next(key for key in self._tallies if key != OTHERS)
                    gone = self._tallies.pop(oldest)
                    self._tallies.setdefault(OTHERS, _Tally()).add(gone)
            self._tallies.move_to_end(name)
            tally.endings[ending] += 1
            if ending in _RAN:
                tally.seconds += seconds

    def record(self, error: ErrorInfo, dependency: str, result: RecoveryResult) -> None:
        """Remember one recovery."""
        helped = next((t for t in result.tried if t.strategy == result.strategy), None)
        entry = {
            "timestamp": datetime.fromtimestamp(ambient.wall(), UTC).isoformat(),
            "error_type": error.error_type,
            "category": error.category.value,
            "dependency": dependency,
            "strategy": result.strategy or None,
            "success": result.success,
            "verified": result.success,
            "shared": result.shared,
            "seconds": result.seconds,
            "detail": (
                "; ".join(result.notes) or (helped.reason if helped else "")
                if result.success
                else result.reason
            ),
            "strategies_attempted": [t.strategy for t in result.tried if t.ran],
        }
        with self._lock:
            self._recoveries += 1
            self._successes += result.success
            self._entries.append(entry)

    def history(self) -> list[dict[str, Any]]:
        """The last recoveries, oldest first."""
        with self._lock:
            return [
                dict(e, strategies_attempted=[*e["strategies_attempted"]]) for e in self._entries
            ]

    def rates(self) -> dict[str, dict[str, Any]]:
        """Figures of each strategy, by name."""
        with self._lock:
            return {name: tally.told() for name, tally in self._tallies.items()}

    def totals(self) -> dict[str, Any]:
        """How many recoveries, how many helped, and the share of them."""
        with self._lock:
            share = self._successes / self._recoveries if self._recoveries else None
            return {
                "recoveries": self._recoveries,
                "successes": self._successes,
                "rate": share,
                "remembered": len(self._entries),
            }
