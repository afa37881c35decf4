"""What speaks for opening a closed circuit: failures in a row, and shares in a window.

- Judged at every recorded call, in constant time; any rule may convict.
- A call's own weight counts in the row of failures; in the window one call is one call.
- Slow is measured against what is usual, learned from successful calls, and
  against fixed seconds only where the settings name them.
- Window and baseline exist only where a rule reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from holdfast.machines.baseline import SlowBaseline
from holdfast.machines.circuit_settings import CircuitSettings
from holdfast.machines.window import CountWindow, TimeWindow, Window

_BUCKETS = 10
_REPLAYED = 1_000


@dataclass(slots=True)
class Evidence:
    """The record a closed circuit is judged by. Starts empty."""

    settings: CircuitSettings
    failures: int = 0
    """Consecutive failures, by weight."""
    _window: Window | None = None
    _baseline: SlowBaseline | None = None

    @property
    def heeds_success(self) -> bool:
        """Whether a success changes the record."""
        settings = self.settings
        return self.failures > 0 or settings.window is not None or settings.window_calls is not None

    def success(self, now: float, seconds: float | None) -> str | None:
        """Record a good call of so many seconds; the reason to open, if it gave one."""
        self.failures = 0
        return self._weigh(now, seconds, failed=False)

    def failure(self, now: float, seconds: float | None, weight: int) -> str | None:
        """Record a bad call; the reason to open, if it gave one."""
        self.failures += weight
        share = self._weigh(now, seconds, failed=True)
        threshold = self.settings.failure_threshold
        if threshold is not None and self.failures >= threshold:
            return "consecutive failures"
        return share

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls in the window, and how many of them failed and were slow."""
        window = self._window
        if window is None:
            return 0, 0, 0
        return window.calls(now), window.failures(now), window.slow(now)

    def clear(self) -> None:
        """Forget all calls; what a usual duration is stays known."""
        self.failures = 0
        self._window = None

    def forget_durations(self) -> None:
        """Learn anew what a usual duration is."""
        self._baseline = None

    def adopt(self, settings: CircuitSettings, now: float) -> None:
        """Go on under other settings with the counts there are.

        A window of another size gets the old one's counts as if they had
        happened now, in proportion where it holds fewer.
        """
        old, self.settings = self.settings, settings
        if (old.slow_factor, old.slow_warmup) != (settings.slow_factor, settings.slow_warmup):
            self._relearn()
        if (old.window, old.window_calls) == (settings.window, settings.window_calls):
            return
        calls, failures, slow = self.counts(now)
        self._window = None
        most = settings.window_calls or max(_REPLAYED, settings.minimum_calls)
        replayed = min(calls, most)
        for number in range(replayed):
            self._record(
                now,
                failed=number * calls < failures * replayed,
                slow=number * calls < slow * replayed,
            )

    def _weigh(self, now: float, seconds: float | None, *, failed: bool) -> str | None:
        settings = self.settings
        if not self._record(now, failed=failed, slow=self._is_slow(seconds, failed=failed)):
            return None
        calls, failures, slow = self.counts(now)
        if calls < settings.minimum_calls:
            return None
        if settings.failure_rate is not None and failures / calls >= settings.failure_rate:
            return "failure rate"
        if settings.slow_rate is not None and slow / calls >= settings.slow_rate:
            return "slow-call rate"
        return None

    def _record(self, now: float, *, failed: bool, slow: bool) -> bool:
        settings = self.settings
        window = self._window
        if window is None:
            if settings.window is not None:
                window = TimeWindow(settings.window, _BUCKETS)
            elif settings.window_calls is not None:
                window = CountWindow(settings.window_calls)
            else:
                return False
            self._window = window
        window.record(now, failed=failed, slow=slow)
        return True

    def _is_slow(self, seconds: float | None, *, failed: bool) -> bool:
        settings = self.settings
        if settings.slow_rate is None or seconds is None or not 0 <= seconds < math.inf:
            return False
        if settings.slow_seconds is not None:
            return seconds > settings.slow_seconds
        baseline = self._baseline
        if baseline is None:
            self._baseline = baseline = SlowBaseline(settings.slow_factor, settings.slow_warmup)
        slow = baseline.is_slow(seconds)
        if not failed:
            # A failure's duration tells how quickly it failed, not what the work usually takes.
            baseline.learn(seconds)
        return slow

    def _relearn(self) -> None:
        usual = None if self._baseline is None else self._baseline.expected()
        self._baseline = None
        if usual is None:
            return
        self._baseline = SlowBaseline(self.settings.slow_factor, self.settings.slow_warmup)
        for _ in range(self.settings.slow_warmup):
            self._baseline.learn(usual)
