"""What turns a service down by itself, how fast, and when it comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from holdfast.errors import BadInputError, ErrorSeverity
from holdfast.machines.levels import LevelRules
from holdfast.machines.thresholds import Thresholds
from holdfast.policies import checks
from holdfast.system.degradation.grades import LEVELS

_WORST = len(LEVELS) - 1
_FAILURES = Thresholds((0.3, 0.5, 0.7, 0.9), (0.15, 0.25, 0.35, 0.45))
_MEMORY = Thresholds((0.90, 0.94, 0.97, 0.99), (0.80, 0.85, 0.90, 0.95))
_STALLS = Thresholds((0.1, 0.2, 0.4, 0.6), (0.05, 0.1, 0.2, 0.3))


@dataclass(frozen=True, slots=True)
class DegradationSettings:
    """What turns a service down by itself. Each driver can be switched off with None.

    A driver acts on what it is told, by `observe_call` and its sisters; with nothing told, only
    a hand moves a level.
    """

    severity: ErrorSeverity | Literal["low", "medium", "high", "critical"] | None = (
        ErrorSeverity.CRITICAL
    )
    """Errors at least this severe take a level away, once per `cooldown`."""
    cooldown: float = 60.0
    """Seconds after a severe error that took a level in which another one does not."""
    failures: Thresholds | None = _FAILURES
    """Shares of the recent calls that failed: 30, 50, 70 and 90 %, and half of each to restore."""
    error_rate: Thresholds | None = None
    """Errors a minute. Off: what is much depends on how much is asked."""
    latency: Thresholds | None = None
    """How many times as long as it should a recent call takes. Off: a change of the work looks
    like slowness. `Thresholds((2, 3, 5, 8))` is a beginning."""
    latency_target: float | None = None
    """Seconds that a call should take; None: what it usually takes at the full level, learned."""
    latency_quantile: float = 0.5
    """Which of the recent calls is compared: 0.5 is the middle one, 0.9 a slow one."""
    memory: Thresholds | None = _MEMORY
    """Shares of the memory in use: 90, 94, 97 and 99 %; 80, 85, 90 and 95 % to restore."""
    memory_stalls: Thresholds | None = _STALLS
    """Shares of the last 10 seconds in which some task waited for memory: 10, 20, 40 and 60 %, and
    half of each to restore."""
    window_seconds: float = 300.0
    """How far back recent calls reach, at most to the last change of the level. Long jobs need
    more: `minimum_calls` must fit in."""
    minimum_calls: int = 10
    """Calls that must be known before a share of them, or their latency, says anything."""
    step_seconds: float = 30.0
    """Seconds after any change in which none comes by itself."""
    quiet_seconds: float = 300.0
    """Seconds in which nothing holds the level before one level is restored. At least as long as
    one job takes, or levels come back before anything has been tried on them."""
    quiet_maximum: float = 3600.0
    """What these seconds are never doubled beyond, when restores prove to be early."""
    reading_seconds: float = 60.0
    """Seconds for which something told is believed when nothing newer is told."""
    max_scopes: int = 1_000
    """Dependencies with a level of their own; those at full make room for others."""
    max_history: int = 1_000
    """Changes that are remembered."""

    def __post_init__(self) -> None:
        """Refuse settings under which nothing could work, or levels would flap.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        if self.severity is not None:
            object.__setattr__(self, "severity", severity_of("severity", self.severity))
        for name in ("failures", "error_rate", "latency", "memory", "memory_stalls"):
            self._check_thresholds(name, getattr(self, name))
        checks.seconds("latency_target", self.latency_target, optional=True)
        if self.latency_target is not None and self.latency is None:
            raise BadInputError(
                f"latency_target needs latency, got {self.latency_target!r} without it"
            )
        checks.number("latency_quantile", self.latency_quantile, above=0, at_most=1)
        checks.seconds("window_seconds", self.window_seconds)
        checks.whole("minimum_calls", self.minimum_calls, at_least=1)
        checks.whole("max_scopes", self.max_scopes, at_least=1)
        checks.whole("max_history", self.max_history, at_least=1)
        self.rules()

    def rules(self) -> LevelRules:
        """The part that each level's machine goes by."""
        return LevelRules(
            worst=_WORST,
            step_seconds=self.step_seconds,
            cooldown=self.cooldown,
            quiet_seconds=self.quiet_seconds,
            quiet_maximum=self.quiet_maximum,
            reading_seconds=self.reading_seconds,
        )

    def _check_thresholds(self, name: str, value: Thresholds | None) -> None:
        checks.instance(name, value, Thresholds)
        if value is None:
            return
        if len(value.degrade) > _WORST:
            raise BadInputError(
                f"{name} must have at most {_WORST} thresholds, one for each level below full, "
                f"got {len(value.degrade)}"
            )
        if name in ("failures", "memory", "memory_stalls") and value.degrade[-1] > 1:
            raise BadInputError(f"{name} must hold shares of at most 1, got {value.degrade!r}")
        if name == "latency" and value.degrade[0] <= 1:
            raise BadInputError(
                f"latency must hold multiples above 1 of the expected time, got {value.degrade!r}"
            )
        if name == "latency" and self.latency_target is None and value.restore[0] <= 1:
            raise BadInputError(
                f"latency must restore above 1 beside a learned time, which calls reach when all "
                f"is well, got {value.restore!r}"
            )


def severity_of(field: str, value: object) -> ErrorSeverity:
    """The severity of that name.

    Raises:
        BadInputError: there is none; the message names those there are.
    """
    try:
        return ErrorSeverity(value)  # type: ignore[arg-type]
    except ValueError:
        names = ", ".join(ErrorSeverity)
        raise BadInputError(f"{field} must be one of {names}, got {value!r:.100}") from None
