"""Try again, later, and not for ever.

Settings are frozen; the decision is a pure function of the attempt, the time
and a random number handed in. Who waits and who calls is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.machines import backoff


@dataclass(frozen=True, slots=True)
class Backoff:
    """How the waits between attempts grow: ``initial * base ** (n - 1)``, spread by jitter."""

    initial: float = 1.0
    """Seconds after the first failure."""
    maximum: float = 60.0
    """Seconds no wait exceeds, jitter included."""
    base: float = 2.0
    """Each wait is this many times the one before."""
    jitter: float = 0.25
    """Share of a wait it may be moved by, either way, so that clients do not march in step."""

    def __post_init__(self) -> None:
        """Refuse waits that make no sense, NaN included.

        Raises:
            ValueError: naming the field, its value and what is right.
        """
        if not self.initial >= 0:
            raise ValueError(f"initial must be at least 0 seconds, got {self.initial}")
        if not self.maximum >= self.initial:
            raise ValueError(f"maximum must be at least initial, got {self.maximum}")
        if not self.base >= 1:
            raise ValueError(f"base must be at least 1, got {self.base}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be between 0 and 1, got {self.jitter}")

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt ``attempt`` (from 1), ``chance`` in [0, 1)."""
        plain = backoff.exponential(
            attempt, initial=self.initial, base=self.base, maximum=self.maximum
        )
        return backoff.spread(plain, jitter=self.jitter, chance=chance, maximum=self.maximum)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to try, and how long to wait in between."""

    max_attempts: int = 3
    """Calls in total, the first one included."""
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        """Refuse fewer than one attempt.

        Raises:
            ValueError: naming the value and what is right.
        """
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, got {self.max_attempts}")

    def wait(
        self,
        attempt: int,
        *,
        chance: float,
        left: float | None = None,
        retry_after: float | None = None,
    ) -> float | None:
        """Seconds to wait after failed attempt ``attempt``, or None for 'give up'.

        Args:
            attempt: which attempt failed, counted from 1.
            chance: a random number in [0, 1).
            left: seconds until the deadline; no wait is begun that would outlast it.
            retry_after: what the server asked for, in seconds; honoured as a minimum.
        """
        if attempt >= self.max_attempts:
            return None
        wait = max(self.backoff.delay(attempt, chance), retry_after or 0.0)
        if left is not None and wait >= left:
            return None
        return wait
