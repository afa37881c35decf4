"""Results kept for a while: fresh at first, stale for a while longer, then gone.

Laws:

- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- Never more than `max_entries` results; the one that was asked for longest ago goes first.
- What is dead is let go at the next `put`, not only when somebody asks for it.
- Whatever is let go is handed back, so that a caller with a lock can drop it outside: dropping
  a result may run code of its owner's.
- Not safe for concurrent use: callers guard a machine with their own lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import inf
from typing import final


@final
class Kept:
    """One result on the shelf."""

    __slots__ = ("at", "key", "value")

    def __init__(self, key: Hashable, value: object, at: float) -> None:
        self.key = key
        """Kept here, too, so that a key that is let go outlives the caller's lock."""
        self.value = value
        self.at = at
        """Monotonic seconds when it was put there."""


class Shelf:
    """Keeps each result `fresh_seconds`, and `stale_seconds` more for hard times."""

    __slots__ = ("_by_age", "_by_use", "_fresh", "_latest", "_most", "_usable")

    def __init__(self, fresh_seconds: float, stale_seconds: float, max_entries: int) -> None:
        self._fresh = fresh_seconds
        self._usable = fresh_seconds + stale_seconds
        self._most = max_entries
        self._latest = -inf
        # All results live equally long, so the oldest is always the first to die. Two orders
        # of the same entries make both ends of life O(1).
        self._by_age: OrderedDict[Hashable, Kept] = OrderedDict()
        self._by_use: OrderedDict[Hashable, None] = OrderedDict()

    def __len__(self) -> int:
        """How many results are kept, dead ones that nobody has looked at included."""
        return len(self._by_age)

    def age(self, kept: Kept, now: float) -> float:
        """Seconds since a result was put on the shelf."""
        return self._passed(now) - kept.at

    def fresh(self, key: Hashable, now: float) -> Kept | None:
        """The result if it can stand for the call, or None."""
        return self._within(key, now, self._fresh)

    def usable(self, key: Hashable, now: float) -> Kept | None:
        """The result if it is better than nothing, fresh or stale, or None."""
        return self._within(key, now, self._usable)

    def put(self, key: Hashable, value: object, now: float) -> list[Kept]:
        """Keep a result from now on, in place of an earlier one.

        Returns:
            What had to go: the earlier one, the dead, and the least used if there was no room.
        """
        at = self._passed(now)
        gone = []
        earlier = self.forget(key)
        if earlier is not None:
            gone.append(earlier)
        while self._by_age:
            oldest = next(iter(self._by_age))
            kept = self._by_age[oldest]
            if at - kept.at < self._usable:
                break
            del self._by_age[oldest], self._by_use[oldest]
            gone.append(kept)
        if len(self._by_age) >= self._most:
            unused, _ = self._by_use.popitem(last=False)
            gone.append(self._by_age.pop(unused))
        self._by_age[key] = Kept(key, value, at)
        self._by_use[key] = None
        return gone

    def forget(self, key: Hashable) -> Kept | None:
        """Let go of one result; None if there is none."""
        kept = self._by_age.pop(key, None)
        if kept is not None:
            del self._by_use[key]
        return kept

    def clear(self) -> list[Kept]:
        """Let go of everything."""
        gone = list(self._by_age.values())
        self._by_age.clear()
        self._by_use.clear()
        return gone

    def _within(self, key: Hashable, now: float, seconds: float) -> Kept | None:
        kept = self._by_age.get(key)
        if kept is None or self._passed(now) - kept.at >= seconds:
            return None
        self._by_use.move_to_end(key)
        return kept

    def _passed(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest
