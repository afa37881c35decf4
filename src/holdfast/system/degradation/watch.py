"""What one scope has been through lately, and what that calls for.

- Calls are judged since the last change of the level, so that failures of one level are not
  held against the next.
- The usual time of a call is learned at the full level alone: work that was turned down is
  quicker, and a service that has become slow must not become the measure.

Not safe for concurrent use: callers guard it with their own lock.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.machines.baseline import SlowBaseline
from holdfast.machines.levels import LevelMachine
from holdfast.machines.quantile import LiveQuantile
from holdfast.machines.thresholds import Thresholds
from holdfast.machines.window import TimeWindow
from holdfast.system.degradation.grades import Cause
from holdfast.system.degradation.settings import DegradationSettings

_LONGEST = 1e9
"""Seconds; longer ones are somebody's mistake, and are counted as this."""


class Reading(NamedTuple):
    """What one measured value calls for."""

    cause: Cause
    wanted: int
    held: int
    words: str


class Watch:
    """The level of one scope, and the calls it is judged by."""

    __slots__ = ("_calls", "_settings", "_times", "_usual", "machine")

    def __init__(self, settings: DegradationSettings) -> None:
        self._settings = settings
        self.machine = LevelMachine(settings.rules())
        self._usual: SlowBaseline | None = None
        self.begin()

    def begin(self) -> None:
        """Judge by nothing that has been so far."""
        self._calls: TimeWindow | None = None
        self._times: LiveQuantile | None = None

    def call(self, now: float, ok: bool, seconds: float | None) -> list[Reading]:  # noqa: FBT001 - hot path
        """Count one finished call, and say what the recent ones call for."""
        settings = self._settings
        readings = []
        if settings.failures is not None:
            if self._calls is None:
                self._calls = TimeWindow(settings.window_seconds)
            self._calls.record(now, not ok, slow=False)
            count = self._calls.calls(now)
            if count >= settings.minimum_calls:
                share = self._calls.failures(now) / count
                words = f"{share:.0%} of {count} calls failed"
                readings.append(judge(Cause.FAILURES, settings.failures, share, words))
        if settings.latency is not None and ok and seconds is not None:
            slowness = self._slowness(now, min(seconds, _LONGEST))
            if slowness is not None:
                words = f"calls take {slowness:.3g} times as long as they should"
                readings.append(judge(Cause.LATENCY, settings.latency, slowness, words))
        return readings

    def _slowness(self, now: float, seconds: float) -> float | None:
        """How many times as long as it should a call takes, or None while that is unknown."""
        settings = self._settings
        if self._times is None:
            self._times = LiveQuantile(settings.window_seconds)
        self._times.add(now, seconds)
        expected = settings.latency_target
        if expected is None:
            if self._usual is None:
                self._usual = SlowBaseline(warmup=settings.minimum_calls)
            if self.machine.level == 0:
                self._usual.learn(seconds)
            expected = self._usual.expected()
        if expected is None or self._times.count(now) < settings.minimum_calls:
            return None
        recent = self._times.quantile(now, settings.latency_quantile)
        return None if recent is None else recent / expected


def judge(cause: Cause, thresholds: Thresholds, value: float, words: str) -> Reading:
    """What a value calls for."""
    return Reading(cause, thresholds.wanted(value), thresholds.held(value), words)
