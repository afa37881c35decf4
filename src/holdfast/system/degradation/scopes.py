"""The level of the whole service and those of single dependencies, and how they came about.

- What a dependency gets is the worse of its own level and that of the whole service.
- There are at most so many dependencies. Those at the full level make room for new ones, the
  one heard of longest ago first; when none is at full, new ones are refused and counted.

Not safe for concurrent use: the owner guards it with a lock, and takes with `take` what has
changed, to announce it when the lock is free again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import inf

from holdfast.machines.levels import Move
from holdfast.ports import ambient
from holdfast.system.degradation.changes import LevelChange
from holdfast.system.degradation.grades import LEVELS, Cause, DegradationLevel
from holdfast.system.degradation.settings import DegradationSettings
from holdfast.system.degradation.watch import Watch

_SEARCH_AGAIN = 1.0
"""Seconds between two searches for room, which go through all dependencies."""


class Scopes:
    """All levels there are."""

    __slots__ = (
        "_each",
        "_fresh",
        "_full_until",
        "_settings",
        "changed",
        "history",
        "refused",
        "whole",
    )

    whole: Watch
    """The one of the whole service."""
    changed: int
    """Changes so far, those that are no longer remembered included."""
    refused: int
    """How often a dependency had to do without a level of its own."""

    def __init__(self, settings: DegradationSettings) -> None:
        self._settings = settings
        self.whole = Watch(settings)
        self._each: OrderedDict[str, Watch] = OrderedDict()
        self._full_until = -inf
        self._fresh: list[LevelChange] = []
        self.history: deque[LevelChange] = deque(maxlen=settings.max_history)
        self.changed = self.refused = 0

    def find(self, scope: str | None) -> Watch | None:
        """The one of that scope, or None if it has no level of its own."""
        return self.whole if scope is None else self._each.get(scope)

    def open(self, scope: str | None, now: float) -> Watch | None:
        """The one of that scope, made if there is room for it."""
        if scope is None:
            return self.whole
        watch = self._each.get(scope)
        if watch is not None:
            self._each.move_to_end(scope)
            return watch
        if len(self._each) >= self._settings.max_scopes and not self._make_room(now):
            self.refused += 1
            return None
        watch = self._each[scope] = Watch(self._settings)
        return watch

    def names(self) -> tuple[str, ...]:
        """All dependencies that are known."""
        return tuple(self._each)

    def rank(self, scope: str | None) -> int:
        """The rank of what a scope gets, as of the last look."""
        rank = self.whole.machine.level
        if scope is not None:
            watch = self._each.get(scope)
            if watch is not None and watch.machine.level > rank:
                rank = watch.machine.level
        return rank

    def level(self, scope: str | None) -> DegradationLevel:
        """What a scope gets, as of the last look."""
        return LEVELS[self.rank(scope)]

    def look(self, scope: str | None, now: float) -> None:
        """Restore what is due of this scope and of the whole service."""
        self.note(None, self.whole, self.whole.machine.look(now))
        if scope is not None:
            watch = self._each.get(scope)
            if watch is not None:
                self.note(scope, watch, watch.machine.look(now))

    def look_at_all(self, now: float) -> None:
        """Restore whatever is due."""
        self.look(None, now)
        for scope, watch in self._each.items():
            self.note(scope, watch, watch.machine.look(now))

    def reset(self, now: float, reason: str) -> None:
        """Make everything as new, but for the memory of changes."""
        watches: list[tuple[str | None, Watch]] = [(None, self.whole), *self._each.items()]
        for scope, watch in watches:
            self.note(scope, watch, watch.machine.reset(now), Cause.HAND, reason)
        self.whole = Watch(self._settings)
        self._each.clear()
        self._full_until = -inf

    def note(
        self,
        scope: str | None,
        watch: Watch,
        moves: list[Move],
        cause: Cause = Cause.QUIET,
        reason: str = "",
    ) -> None:
        """Remember what a machine did, and why it was told to."""
        if not moves:
            return
        # Other levels were asked other things.
        watch.begin()
        ago = ambient.wall() - ambient.now()
        for move in moves:
            by_itself = move.quiet is not None
            change = LevelChange(
                at=move.at,
                wall=move.at + ago,
                scope=scope,
                old=LEVELS[move.old],
                new=LEVELS[move.new],
                reason=f"quiet for {move.quiet:g} s" if by_itself else reason,
                cause=Cause.QUIET if by_itself else cause,
            )
            self.changed += 1
            self.history.append(change)
            self._fresh.append(change)

    def take(self) -> list[LevelChange]:
        """What has changed since the last time."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _make_room(self, now: float) -> bool:
        if now < self._full_until:
            return False
        for scope, watch in self._each.items():
            self.note(scope, watch, watch.machine.look(now))
            if watch.machine.level == 0 and not watch.machine.pinned:
                del self._each[scope]
                return True
        # Or a flood of names would search them all each time.
        self._full_until = now + _SEARCH_AGAIN
        return False
