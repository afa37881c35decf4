"""The settings of a circuit: when it opens, for how long, and what closes it again.

- Settings never change; a circuit gets new ones through `Circuit.reconfigure`.
- What could never open, never close, or contradicts itself is refused at once,
  by the name of the field.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TypeGuard

from holdfast.errors import BadInputError
from holdfast.machines.backoff import exponential, spread

_LONGEST_WARMUP = 10_000
_FIRST_SHARE = 0.1
"""Share of the calls admitted at the beginning of a ramp."""


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """When a circuit opens, for how long, and what closes it again.

    Any rule that is switched on may open it: so many failures in a row, a share
    of failures, a share of slow calls. The two shares need a window to be
    measured in, either of seconds or of calls.
    """

    failure_threshold: int | None = 5
    """Consecutive failures that open the circuit; None switches this rule off."""
    success_threshold: int = 1
    """Successful probes that close it, without a failed one in between."""
    open_seconds: float = 60.0
    """Seconds the first opening lasts."""
    open_growth: float = 2.0
    """Each opening lasts this many times the one before, until openings are forgotten."""
    open_maximum: float = 600.0
    """Seconds no opening exceeds, jitter included."""
    half_open_max_calls: int = 1
    """Probes allowed at the same time while half-open."""
    probe_seconds: float = 600.0
    """Seconds after which a probe without outcome or progress no longer counts as running."""
    open_jitter: float = 0.1
    """Share of each opening after the first it may be moved by, either way, so that clients do
    not march in step."""
    open_forget: float | None = None
    """Seconds of being closed after which openings are forgotten; None: 10 times `open_seconds`."""
    failure_rate: float | None = None
    """Share of failed calls in the window that opens the circuit; None switches this rule off."""
    window: float | None = None
    """Seconds the window reaches back, or None. It moves in ten steps."""
    window_calls: int | None = None
    """Calls the window holds, or None."""
    minimum_calls: int = 20
    """Calls that must lie in the window before a share of them says anything."""
    slow_rate: float | None = None
    """Share of slow calls in the window that opens the circuit; None switches this rule off."""
    slow_factor: float = 3.0
    """A call is slow from this many times the learned usual duration."""
    slow_warmup: int = 20
    """Durations to learn from before any call is thought slow."""
    slow_seconds: float | None = None
    """Seconds above which a call is slow, instead of the learned measure; None: learn it."""
    progress_closes: bool = False
    """Whether a probe's first progress counts as its success."""
    ramp_seconds: float = 0.0
    """Seconds over which a closed circuit admits 10 % to 100 % of the calls; 0: all at once."""

    def __post_init__(self) -> None:
        """Refuse settings with which the circuit could never open or never close.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        for name in ("success_threshold", "half_open_max_calls", "minimum_calls", "slow_warmup"):
            whole_number(name, getattr(self, name))
        for name in ("failure_threshold", "window_calls"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name))
        for name in ("open_seconds", "open_maximum", "probe_seconds"):
            _seconds(name, getattr(self, name))
        self._check_shares()
        self._check_times()
        self._check_contradictions()

    @property
    def forget_seconds(self) -> float:
        """Seconds of being closed after which openings are forgotten."""
        return 10.0 * self.open_seconds if self.open_forget is None else self.open_forget

    def opening(self, number: int, chance: float) -> float:
        """Seconds that opening ``number`` lasts, counted from 1 since they were last forgotten.

        The first lasts exactly as set; the jitter is for those who keep coming back together.
        """
        if number <= 1:
            return min(self.open_seconds, self.open_maximum)
        plain = exponential(
            number, initial=self.open_seconds, base=self.open_growth, maximum=self.open_maximum
        )
        return spread(plain, jitter=self.open_jitter, chance=chance, maximum=self.open_maximum)

    def ramp_share(self, closed: float) -> float:
        """Share of the calls to admit so many seconds after closing."""
        if closed >= self.ramp_seconds:
            return 1.0
        return _FIRST_SHARE + (1.0 - _FIRST_SHARE) * closed / self.ramp_seconds

    def ramp_reaches(self, share: float) -> float:
        """Seconds after closing from which at least such a share is admitted."""
        return self.ramp_seconds * max(0.0, (share - _FIRST_SHARE) / (1.0 - _FIRST_SHARE))

    def _check_shares(self) -> None:
        for name in ("failure_rate", "slow_rate"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value <= 1):
                raise BadInputError(f"{name} must be above 0 and at most 1, got {value!r}")
        if not (_is_number(self.open_jitter) and 0 <= self.open_jitter < 1):
            raise BadInputError(
                f"open_jitter must be at least 0 and below 1, got {self.open_jitter!r}"
            )
        if not (_is_number(self.open_growth) and 1 <= self.open_growth < math.inf):
            raise BadInputError(
                f"open_growth must be at least 1 and finite, got {self.open_growth!r}"
            )
        if not (_is_number(self.slow_factor) and 1 < self.slow_factor < math.inf):
            raise BadInputError(f"slow_factor must be above 1 and finite, got {self.slow_factor!r}")
        if not isinstance(self.progress_closes, bool):
            raise BadInputError(
                f"progress_closes must be True or False, got {self.progress_closes!r}"
            )

    def _check_times(self) -> None:
        for name in ("window", "slow_seconds"):
            value = getattr(self, name)
            if value is None:
                continue
            _seconds(name, value)
            if math.isinf(value):
                raise BadInputError(f"{name} must be finite, got {value!r}")
        ramp, forget = self.ramp_seconds, self.open_forget
        if not (_is_number(ramp) and 0 <= ramp < math.inf):
            raise BadInputError(f"ramp_seconds must be at least 0 seconds and finite, got {ramp!r}")
        if forget is not None and not (_is_number(forget) and forget >= 0):
            raise BadInputError(f"open_forget must be at least 0 seconds, got {forget!r}")

    def _check_contradictions(self) -> None:
        if self.window is not None and self.window_calls is not None:
            raise BadInputError(
                f"window_calls must be None beside window={self.window!r}: "
                f"a window counts seconds or calls, got {self.window_calls!r}"
            )
        for name in ("failure_rate", "slow_rate"):
            value = getattr(self, name)
            if value is not None and self.window is None and self.window_calls is None:
                raise BadInputError(
                    f"{name} needs window (seconds) or window_calls, got {value!r} without either"
                )
        if self.window_calls is not None and self.minimum_calls > self.window_calls:
            raise BadInputError(
                f"minimum_calls must be at most window_calls, which is {self.window_calls}, "
                f"got {self.minimum_calls}"
            )
        if self.slow_warmup > _LONGEST_WARMUP:
            raise BadInputError(
                f"slow_warmup must be at most {_LONGEST_WARMUP}, got {self.slow_warmup}"
            )
        if self.slow_seconds is not None and self.slow_rate is None:
            raise BadInputError(
                f"slow_seconds needs slow_rate, got {self.slow_seconds!r} without it"
            )
        if self.failure_threshold is self.failure_rate is self.slow_rate is None:
            raise BadInputError(
                "failure_threshold may be None only beside failure_rate or slow_rate: "
                "the circuit would never open"
            )


def whole_number(name: str, value: object) -> None:
    """Insist on an integer from 1.

    Raises:
        BadInputError: naming the field and its value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInputError(f"{name} must be at least 1, got {value!r}")


def _seconds(name: str, value: object) -> None:
    if not (_is_number(value) and value > 0):
        raise BadInputError(f"{name} must be above 0 seconds, got {value!r}")


def _is_number(value: object) -> TypeGuard[float]:
    """Tell numbers from their lookalikes; a NaN passes here and fails every comparison."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float)
