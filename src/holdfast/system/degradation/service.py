"""The levels of a service and of its dependencies: read, moved by hand, remembered.

Nothing runs in the background: what is due takes place when somebody looks. Safe across
threads; no lock is held while listeners hear of a change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import Any, Literal

from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.degradation.changes import LevelChange, announce, log
from holdfast.system.degradation.grades import LEVELS, Cause, DegradationLevel, level_of
from holdfast.system.degradation.scopes import Scopes
from holdfast.system.degradation.settings import DegradationSettings
from holdfast.system.degradation.watch import Watch
from holdfast.text import printable

Level = DegradationLevel | Literal["full", "high", "medium", "low", "minimal"]
LONGEST_REASON = 500


class ServiceLevels:
    """One level for the whole service, and one for each dependency that needs its own."""

    def __init__(self, settings: DegradationSettings | None = None, *, name: str) -> None:
        checks.instance("settings", settings, DegradationSettings)
        checks.label("name", name)
        self.name = name
        self.settings = settings or DegradationSettings()
        self._lock = threading.Lock()
        self._scopes = Scopes(self.settings)
        self._warned = -inf
        self.on_change: Callable[[LevelChange], object] | None = None
        """Told of every change, in the thread where it is noticed; what it raises is ignored."""

    # What is given -----------------------------------------------------------------------

    @property
    def degradation_levels(self) -> dict[str, dict[str, Any]]:
        """What each level means, as `{"full": {"quality": 1.0, "features": "all"}, ...}`."""
        return {
            level.value: {"quality": level.quality, "features": level.features} for level in LEVELS
        }

    @property
    def current_level(self) -> DegradationLevel:
        """The level of the whole service; assign one, or its name, to set it by hand.

        Raises:
            BadInputError: there is no level of that name.
        """
        return self.level()

    @current_level.setter
    def current_level(self, level: Level) -> None:
        self.set_level(level)

    def level(self, scope: str | None = None) -> DegradationLevel:
        """What a scope gets: the worse of its own level and that of the whole service."""
        scopes = self._scopes
        # Nothing can be due where all is full: the common case takes neither clock nor lock.
        if scopes.rank(scope) == 0:
            return DegradationLevel.FULL
        now = ambient.now()
        with self._lock:
            self._scopes.look(scope, now)
            level = self._scopes.level(scope)
            changes = self._scopes.take()
        announce(self.name, changes, self.on_change)
        return level

    def get_config(self, scope: str | None = None) -> dict[str, Any]:
        """Level, quality and features of a scope, as plain data."""
        level = self.level(scope)
        return {"level": level.value, "quality": level.quality, "features": level.features}

    # By hand -----------------------------------------------------------------------------

    def degrade(
        self, reason: str, *, scope: str | None = None, levels: int = 1
    ) -> DegradationLevel:
        """Give less, from now on: so many levels below what the scope gets.

        Returns:
            What the scope gets now; at the lowest level that is the same as before.

        Raises:
            BadInputError: ``levels`` is no whole number from 1, or ``scope`` cannot be a name.
        """
        checks.whole("levels", levels, at_least=1)
        words = bounded(reason)

        def act(watch: Watch, now: float) -> None:
            rank = min(self._scopes.rank(scope) + levels, len(LEVELS))
            self._scopes.note(scope, watch, watch.machine.set(now, rank), Cause.HAND, words)

        return self._act(scope, act)

    def restore(
        self, *, scope: str | None = None, reason: str = "restored by hand"
    ) -> DegradationLevel:
        """Give more again: one level.

        Returns:
            What the scope gets now. It may be no more than before, when the whole service is
            turned down as well.
        """
        words = bounded(reason)

        def act(watch: Watch, now: float) -> None:
            moves = watch.machine.set(now, watch.machine.level - 1)
            self._scopes.note(scope, watch, moves, Cause.HAND, words)

        return self._act(scope, act, make=False)

    def set_level(
        self, level: Level, *, scope: str | None = None, reason: str = "set by hand"
    ) -> DegradationLevel:
        """Go to a level; what moves it by itself may move it on from there.

        Returns:
            What the scope gets now.

        Raises:
            BadInputError: there is no level of that name.
        """
        rank = level_of("level", level).rank
        words = bounded(reason)

        def act(watch: Watch, now: float) -> None:
            self._scopes.note(scope, watch, watch.machine.set(now, rank), Cause.HAND, words)

        return self._act(scope, act)

    def pin(self, *, scope: str | None = None) -> DegradationLevel:
        """Keep the scope's own level where it is: only a hand moves it, until `unpin`."""

        def act(watch: Watch, now: float) -> None:
            watch.machine.pin(now)

        return self._act(scope, act)

    def unpin(self, *, scope: str | None = None) -> DegradationLevel:
        """Let the level move by itself again; the quiet period begins now."""

        def act(watch: Watch, now: float) -> None:
            watch.machine.unpin(now)

        return self._act(scope, act, make=False)

    def reset(self, *, reason: str = "reset by hand") -> DegradationLevel:
        """Be as new: everything at full, nothing pinned, nothing learned. History is kept."""
        words = bounded(reason)
        now = ambient.now()
        with self._lock:
            self._scopes.look_at_all(now)
            self._scopes.reset(now, words)
            changes = self._scopes.take()
        announce(self.name, changes, self.on_change)
        return DegradationLevel.FULL

    # Accounts ----------------------------------------------------------------------------

    def tick(self) -> tuple[LevelChange, ...]:
        """Let everything that is due take place now, for services that are seldom asked.

        Returns:
            What has changed by it.
        """
        now = ambient.now()
        with self._lock:
            self._scopes.look_at_all(now)
            changes = self._scopes.take()
        announce(self.name, changes, self.on_change)
        return tuple(changes)

    def history(self) -> tuple[LevelChange, ...]:
        """The last changes, the oldest first."""
        with self._lock:
            return tuple(self._scopes.history)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, current_level={self.current_level.value!r})"

    def _act(
        self,
        scope: str | None,
        act: Callable[[Watch, float], None],
        *,
        make: bool = True,
    ) -> DegradationLevel:
        """Do something about one scope, and say what it gets afterwards."""
        if scope is not None:
            checks.label("scope", scope)
        now = ambient.now()
        with self._lock:
            scopes = self._scopes
            scopes.look(scope, now)
            watch = scopes.open(scope, now) if make else scopes.find(scope)
            if watch is not None:
                act(watch, now)
            level = scopes.level(scope)
            changes = scopes.take()
            warn = make and watch is None and now - self._warned >= self.settings.cooldown
            if warn:
                self._warned = now
            refused = scopes.refused
        announce(self.name, changes, self.on_change)
        if warn:
            log.warning(
                "%s: no room for a level of %r: all %d scopes are degraded or pinned "
                "(refused so far: %d); it gets what the whole service gets",
                self.name,
                scope,
                self.settings.max_scopes,
                refused,
            )
        return level


def bounded(reason: object) -> str:
    """A reason as it may be logged: one printable line of bounded length."""
    text = " ".join(str(reason)[: 2 * LONGEST_REASON].split())
    return printable(text)[:LONGEST_REASON]
