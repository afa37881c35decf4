"""Give less when giving all is too much: smaller pictures, fewer steps, no extras.

A service has a level, and so may each of its dependencies. Levels are lowered by hand or by
what the service is told (`observe_...`), and come back by themselves, one at a time, after a
quiet period. Knobs make each request fit the level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from holdfast.errors import ErrorSeverity
from holdfast.policies import checks
from holdfast.system.degradation.adjust import AdjustedParameters, KnobBoard
from holdfast.system.degradation.grades import LEVELS, Cause, DegradationLevel
from holdfast.system.degradation.knobs import Knob, QualityKnob, StepsKnob
from holdfast.system.degradation.memory import MemoryPressure, memory_pressure
from holdfast.system.degradation.resolution import ResolutionKnob
from holdfast.system.degradation.service import ServiceLevels, bounded
from holdfast.system.degradation.settings import DegradationSettings, severity_of
from holdfast.system.degradation.watch import Reading, Watch, judge

_SEVERITIES = tuple(ErrorSeverity)


class GracefulDegradation(ServiceLevels):
    """The levels of a service, what moves them, and the knobs that make requests fit them."""

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
        super().__init__(settings, name=name)
        if knobs is None:
            knobs = (QualityKnob(), ResolutionKnob(), StepsKnob())
        self._board = KnobBoard(knobs)

    # Requests ----------------------------------------------------------------------------

    def adjust_parameters(
        self,
        params: Mapping[str, Any],
        *,
        scope: str | None = None,
        level: DegradationLevel | None = None,
    ) -> AdjustedParameters:
        """The parameters as the level allows them, in a new dict; equal ones at the full level.

        The copy is shallow. What no knob knows stays as it is, and so does what a knob cannot
        read: that stands in `skipped`, and what was turned down in `changes`.

        Args:
            params: by name.
            scope: the dependency they are for; None: the whole service.
            level: for this level instead of the scope's own.

        Raises:
            BadInputError: ``params`` is no mapping.
        """
        return self._board.adjust(params, self.level(scope) if level is None else level)

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
        words = bounded(f"{grave} error: {reason}" if reason else f"{grave} error")

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

    # Accounts ----------------------------------------------------------------------------

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


def _account(watch: Watch) -> dict[str, Any]:
    machine = watch.machine
    return {
        "level": LEVELS[machine.level].value,
        "pinned": machine.pinned,
        "quiet_seconds": machine.quiet,
    }
