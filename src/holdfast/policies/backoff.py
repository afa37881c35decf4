"""How the waits between attempts grow, and how they are spread.

Without spread, clients that failed together return together. The four kinds of
jitter are those of Marc Brooker, "Exponential Backoff and Jitter" (AWS, 2015),
plus the plain one: a share of the wait either way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import BadInputError
from holdfast.machines import backoff
from holdfast.policies import checks

Growth = Literal["exponential", "linear", "fixed", "custom"]
Jitter = float | Literal["full", "equal", "decorrelated"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait after each failed attempt, in seconds. Use one of the constructors by name.

    ::

        Backoff.exponential(initial=1.0, maximum=60.0, base=2.0, jitter=0.25)
        Backoff.fixed(5.0)
        Backoff.linear(initial=1.0, step=2.0, maximum=30.0)
        Backoff.custom(lambda attempt: attempt**2)
    """

    initial: float = 1.0
    """Seconds after the first failure."""
    maximum: float = 60.0
    """Seconds no wait exceeds, jitter included."""
    base: float = 2.0
    """Exponential: each wait is this many times the one before."""
    jitter: Jitter = 0.25
    """A share of the wait it is moved by, either way; or `full` (anything from 0 to the wait),
    `equal` (half of it, plus anything up to the other half), `decorrelated` (anything from
    ``initial`` to three times the wait before)."""
    growth: Growth = "exponential"
    step: float = 0.0
    """Linear: seconds added each time."""
    delays: Callable[[int], float] | None = None
    """Custom: seconds after failed attempt n, counted from 1."""

    def __post_init__(self) -> None:
        """Refuse waits that make no sense, NaN included.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.seconds("initial", self.initial, zero=True)
        checks.number("maximum", self.maximum, at_least=0, unit="seconds", finite=False)
        if not self.maximum >= self.initial:
            raise BadInputError(
                f"maximum must be at least initial ({self.initial}), got {self.maximum}"
            )
        checks.number("base", self.base, at_least=1)
        checks.seconds("step", self.step, zero=True)
        if self.growth not in ("exponential", "linear", "fixed", "custom"):
            raise BadInputError(
                f"growth must be exponential, linear, fixed or custom, got {self.growth!r}"
            )
        if (self.growth == "custom") != callable(self.delays):
            raise BadInputError(
                f"delays must be a function exactly when growth is custom, got {self.delays!r}"
            )
        if self.jitter == "decorrelated" and self.growth in ("custom", "linear"):
            raise BadInputError(
                f"jitter must not be decorrelated when growth is {self.growth}: such waits grow "
                "from initial alone, and would ignore it"
            )
        if isinstance(self.jitter, str):
            if self.jitter not in ("full", "equal", "decorrelated"):
                raise BadInputError(
                    "jitter must be between 0 and 1, or full, equal or decorrelated, "
                    f"got {self.jitter!r}"
                )
        else:
            checks.number("jitter", self.jitter, at_least=0, at_most=1)

    @classmethod
    def exponential(
        cls,
        initial: float = 1.0,
        maximum: float = 60.0,
        base: float = 2.0,
        jitter: Jitter = 0.25,
    ) -> Backoff:
        """``initial * base ** (n - 1)``, up to ``maximum``."""
        return cls(initial, maximum, base, jitter)

    @classmethod
    def fixed(cls, delay: float, jitter: Jitter = 0.0) -> Backoff:
        """The same wait each time."""
        checks.seconds("delay", delay, zero=True)
        widest = delay * (1.0 + (jitter if isinstance(jitter, int | float) else 0.0))
        return cls(delay, max(delay, widest), 1.0, jitter, "fixed")

    @classmethod
    def linear(
        cls, initial: float = 1.0, step: float = 1.0, maximum: float = 60.0, jitter: Jitter = 0.25
    ) -> Backoff:
        """``initial + step * (n - 1)``, up to ``maximum``."""
        return cls(initial, maximum, 1.0, jitter, "linear", step)

    @classmethod
    def custom(
        cls, delays: Callable[[int], float], maximum: float = 3600.0, jitter: Jitter = 0.0
    ) -> Backoff:
        """What ``delays(n)`` says, up to ``maximum``; a negative or odd answer counts as 0."""
        return cls(0.0, maximum, 1.0, jitter, "custom", 0.0, delays)

    @classmethod
    def none(cls) -> Backoff:
        """No wait at all."""
        return cls(0.0, 0.0, 1.0, 0.0, "fixed")

    def plain(self, attempt: int) -> float:
        """Seconds after failed attempt ``attempt`` (from 1), before jitter."""
        if self.growth == "custom" and self.delays is not None:
            told: Any = self.delays(attempt)
            if not isinstance(told, int | float) or not told > 0:
                return 0.0
            return min(self.maximum, float(told))
        if self.growth == "linear":
            return min(self.maximum, self.initial + self.step * max(0, attempt - 1))
        return backoff.exponential(
            attempt, initial=self.initial, base=self.base, maximum=self.maximum
        )

    def delay(self, attempt: int, chance: float, previous: float | None = None) -> float:
        """Seconds to wait after failed attempt ``attempt``.

        Args:
            attempt: which attempt failed, counted from 1.
            chance: a random number in [0, 1).
            previous: the wait before this one, in seconds; only decorrelated jitter asks.
        """
        plain = self.plain(attempt)
        match self.jitter:
            case "full":
                return plain * chance
            case "equal":
                return plain / 2.0 + plain / 2.0 * chance
            case "decorrelated":
                low = self.initial
                high = max(low, 3.0 * (low if previous is None else previous))
                return min(self.maximum, low + (high - low) * chance)
            case share:
                return backoff.spread(plain, jitter=share, chance=chance, maximum=self.maximum)

    def least(self, attempt: int) -> float:
        """The shortest the wait after ``attempt`` can be, in seconds."""
        match self.jitter:
            case "full":
                return 0.0
            case "equal":
                return self.plain(attempt) / 2.0
            case "decorrelated":
                return self.initial
            case share:
                return self.plain(attempt) * (1.0 - share)

    def longest(self, attempt: int) -> float:
        """The longest the wait after ``attempt`` can be, in seconds."""
        if self.jitter == "decorrelated":
            return backoff.exponential(
                attempt + 1, initial=self.initial, base=3.0, maximum=self.maximum
            )
        share = self.jitter if isinstance(self.jitter, int | float) else 0.0
        return min(self.maximum, self.plain(attempt) * (1.0 + share))
