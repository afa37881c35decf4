"""Give less when giving all is too much: smaller pictures, fewer steps, no extras.

A service has a level, and so may each of its dependencies. Levels are lowered by hand or by
what the service is told (`observe_...`), and come back by themselves, one at a time, after a
quiet period. Nothing runs in the background: what is due takes place when somebody looks.
Safe across threads; no lock is held while listeners hear of a change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Literal

from holdfast.errors import ErrorSeverity
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.system.degradation.adjust import AdjustedParameters, KnobBoard
from holdfast.system.degradation.changes import LevelChange, announce, log
from holdfast.system.degradation.grades import LEVELS, Cause, DegradationLevel, level_of
from holdfast.system.degradation.knobs import Knob, QualityKnob, StepsKnob
from holdfast.system.degradation.memory import MemoryPressure, memory_pressure
from holdfast.system.degradation.resolution import ResolutionKnob
from holdfast.system.degradation.scopes import Scopes
from holdfast.system.degradation.settings import DegradationSettings, severity_of
from holdfast.system.degradation.watch import Reading, Watch, judge
from holdfast.text import printable

Level = DegradationLevel | Literal["full", "high", "medium", "low", "minimal"]
LONGEST_REASON = 500
_SEVERITIES = tuple(ErrorSeverity)


class GracefulDegradation:
    """The levels of a service, and the knobs that make requests fit them."""

    def __init__(
        self,
        settings: DegradationSettings | None = None,
        *,
        knobs: Iterable[Knob] | None = None,
        name: str = "degradation",
    ) -> None:
        """Start at the full level.

        Args:
            settings: what turns it down by itself, and how it comes back.
            knobs: what there is to turn down, instead of quality, resolution and steps.
            name: in events and logs.

        Raises:
            BadInputError: naming the argument, its value and what is right.
        """
        checks.instance("settings", settings, DegradationSettings)
        checks.label("name", name)
        self.name = name
        self.settings = settings or DegradationSettings()
        if knobs is None:
            knobs = (QualityKnob(), ResolutionKnob(), StepsKnob())
        self._board = KnobBoard(knobs)
        self._lock = threading.Lock()
        self._scopes = Scopes(self.settings)
        self._warned = -inf

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
        announce(self.name, changes)
        return level

    def get_config(self, scope: str | None = None) -> dict[str, Any]:
        """Level, quality and features of a scope, as plain data."""
        level = self.level(scope)
        return {"level": level.value, "quality": level.quality, "features": level.features}

    def adjust_parameters(
        self, params: Mapping[str, Any], *, scope: str | None = None
    ) -> AdjustedParameters:
        """The parameters as the level allows them, in a new dict; equal ones at the full level.

        The copy is shallow. What no knob knows stays as it is, and so does what a knob cannot
        read: that stands in `skipped`, and what was turned down in `changes`.

        Raises:
            BadInputError: ``params`` is no mapping.
        """
        return self._board.adjust(params, self.level(scope))

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
        words = _words(reason)

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
        words = _words(reason)

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
        words = _words(reason)

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
        words = _words(reason)
        now = ambient.now()
        with self._lock:
            self._scopes.look_at_all(now)
            self._scopes.reset(now, words)
            changes = self._scopes.take()
        announce(self.name, changes)
        return DegradationLevel.FULL

    # By what happens ---------------------------------------------------------------------

    def observe_error(
        self,
        severity: ErrorSeverity | Literal["low", "medium", "high", "critical"],
        scope: str | None = None,
        reason: str = "",
    ) -> DegradationLevel:
        """Hear of an error. One that is severe enough takes a level away, once per cool-down.

        Raises:
            BadInputError: there is no severity of that name.
        """
        grave = severity_of("severity", severity)
        least = self.settings.severity
        if least is None or _SEVERITIES.index(grave) < _SEVERITIES.index(ErrorSeverity(least)):
            return self.level(scope)
        words = _words(f"{grave} error: {reason}" if reason else f"{grave} error")

        def act(watch: Watch, now: float) -> None:
            self._scopes.note(scope, watch, watch.machine.strike(now), Cause.SEVERITY, words)

        return self._act(scope, act)

    def observe_call(
        self,
        ok: bool,  # noqa: FBT001 - reads well: observe_call(True, 0.2)
        seconds: float | None = None,
        scope: str | None = None,
    ) -> DegradationLevel:
        """Hear of a finished call: whether it went well, and how long it took.

        Raises:
            BadInputError: ``ok`` is no bool, or ``seconds`` is negative or not finite.
        """
        checks.flag("ok", ok)
        checks.seconds("seconds", seconds, zero=True, optional=True)
        return self._read(scope, lambda watch, now: watch.call(now, ok, seconds))

    def observe_rate(
        self, errors_per_minute: float, *, scope: str | None = None
    ) -> DegradationLevel:
        """Hear how many errors there are in a minute now.

        Raises:
            BadInputError: the rate is negative or not finite.
        """
        checks.number("errors_per_minute", errors_per_minute, at_least=0)
        thresholds = self.settings.error_rate
        if thresholds is None:
            return self.level(scope)
        words = f"{errors_per_minute:.3g} errors a minute"
        reading = judge(Cause.ERROR_RATE, thresholds, errors_per_minute, words)
        return self._read(scope, lambda watch, now: [reading])  # noqa: ARG005

    def observe_memory(
        self, used: float | MemoryPressure | None = None, *, scope: str | None = None
    ) -> DegradationLevel:
        """Hear how scarce memory is: a share in use from 0 to 1, or what `memory_pressure` says.

        With nothing given it asks `memory_pressure` itself, and where that knows nothing, nothing
        happens.

        Raises:
            BadInputError: the share is not from 0 to 1.
        """
        pressure = memory_pressure() if used is None else used
        if pressure is None:
            return self.level(scope)
        if not isinstance(pressure, MemoryPressure):
            checks.number("used", pressure, at_least=0, at_most=1)
            pressure = MemoryPressure(pressure, None, "")
        readings = []
        share, stalled = self.settings.memory, self.settings.memory_stalls
        if share is not None:
            of = f" of {pressure.where}" if pressure.where else ""
            words = f"{pressure.used:.1%} of the memory{of} is in use"
            readings.append(judge(Cause.MEMORY, share, pressure.used, words))
        if stalled is not None and pressure.stalled is not None:
            words = f"{pressure.stalled:.1%} of the time is lost waiting for memory"
            readings.append(judge(Cause.MEMORY_STALLS, stalled, pressure.stalled, words))
        return self._read(scope, lambda watch, now: readings)  # noqa: ARG005

    def tick(self) -> tuple[LevelChange, ...]:
        """Let everything that is due take place now, for services that are seldom asked.

        Returns:
            What has changed by it.
        """
        now = ambient.now()
        with self._lock:
            self._scopes.look_at_all(now)
            changes = self._scopes.take()
        announce(self.name, changes)
        return tuple(changes)

    # Knobs -------------------------------------------------------------------------------

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """In the order in which they act."""
        return self._board.knobs

    def register_knob(self, knob: Knob, *, replace: bool = False) -> None:
        """Have one more thing to turn down.

        Args:
            knob: the new one; it acts after those that are there.
            replace: take away those of the same name or for the same parameters first.

        Raises:
            BadInputError: it is no knob, or another one has its name or its parameters.
        """
        self._board.register(knob, replace=replace)

    def unregister_knob(self, name: str) -> Knob:
        """Take a knob away and return it.

        Raises:
            BadInputError: there is none of that name.
        """
        return self._board.unregister(name)

    # Accounts ----------------------------------------------------------------------------

    def history(self) -> tuple[LevelChange, ...]:
        """The last changes, the oldest first."""
        with self._lock:
            return tuple(self._scopes.history)

    def snapshot(self) -> dict[str, Any]:
        """Where everything stands, as plain data."""
        self.tick()
        with self._lock:
            scopes = self._scopes
            machine = scopes.whole.machine
            each = {}
            for name in scopes.names():
                watch = scopes.find(name)
                if watch is not None and (watch.machine.level or watch.machine.pinned):
                    each[name] = _account(watch)
            return {
                "level": LEVELS[machine.level].value,
                "quality": LEVELS[machine.level].quality,
                "features": LEVELS[machine.level].features,
                "pinned": machine.pinned,
                "quiet_seconds": machine.quiet,
                "scopes": each,
                "known_scopes": len(scopes.names()),
                "refused_scopes": scopes.refused,
                "changes": scopes.changed,
                "last_change": scopes.history[-1].to_dict() if scopes.history else None,
                "knobs": [knob.name for knob in self._board.knobs],
            }

    def __repr__(self) -> str:
        return f"GracefulDegradation({self.name!r}, current_level={self.current_level.value!r})"

    def _adjust_resolution(self, resolution: str, quality_factor: float) -> str:
        """A rung such as `"720p"`: one below the given one for each level, as callers of old do."""
        lower = ResolutionKnob().rung(resolution, quality_factor)
        return resolution if lower is None else lower

    def _read(
        self, scope: str | None, readings: Callable[[Watch, float], list[Reading]]
    ) -> DegradationLevel:
        def act(watch: Watch, now: float) -> None:
            for cause, wanted, held, words in readings(watch, now):
                moves = watch.machine.read(now, cause, wanted, held)
                self._scopes.note(scope, watch, moves, cause, words)

        return self._act(scope, act)

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
        announce(self.name, changes)
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


def _account(watch: Watch) -> dict[str, Any]:
    machine = watch.machine
    return {
        "level": LEVELS[machine.level].value,
        "pinned": machine.pinned,
        "quiet_seconds": machine.quiet,
    }


def _words(reason: object) -> str:
    """A reason as it may be logged: one printable line of bounded length."""
    text = " ".join(str(reason)[: 2 * LONGEST_REASON].split())
    return printable(text)[:LONGEST_REASON]
