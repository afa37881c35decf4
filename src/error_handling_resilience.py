"""Takes the place of StoryCore-Engine's module of this name, name for name, over `holdfast`.

Thin adapters and nothing more. What is new in code that changes only the import: retries, breakers
and chains behave under concurrency and cancellation, errors are classified by what they say and
not by their type alone, and no recovery claims a success it has not verified.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import holdfast
from holdfast import (
    Backoff,
    CircuitBreakerOpenError,
    CircuitState,
    ErrorAnalytics,
    ErrorCategory,
    ErrorInfo,
    ErrorSeverity,
    FallbackChainExhaustedError,
    GracefulDegradation,
    RecoveryProcedure,
    Retry,
    classify,
)
from holdfast.machines.permits import Permit
from holdfast.ports import ambient
from holdfast.system.capture import capture
from holdfast.system.chains import NamedChain

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenError",
    "CircuitState",
    "ErrorAnalytics",
    "ErrorCategory",
    "ErrorHandlingSystem",
    "ErrorInfo",
    "ErrorSeverity",
    "FallbackChain",
    "FallbackChainExhaustedError",
    "GracefulDegradation",
    "RecoveryProcedure",
    "RetryConfig",
    "RetryMechanism",
]


@dataclass
class RetryConfig:
    """How often to try, and how long to wait in between (seconds)."""

    max_attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    jitter: bool = True
    retryable_exceptions: set[type[BaseException]] = field(
        default_factory=lambda: {ConnectionError, TimeoutError, OSError}
    )

    def retry(self) -> Retry:
        """The same as a policy of Holdfast's."""
        return Retry(self.max_attempts, self.backoff(), on=tuple(self.retryable_exceptions))

    def backoff(self) -> Backoff:
        """The waits as Holdfast has them."""
        return Backoff.exponential(
            initial=self.initial_delay,
            maximum=self.max_delay,
            base=self.exponential_base,
            jitter=0.25 if self.jitter else 0.0,
        )


@dataclass
class CircuitBreakerConfig:
    """When a breaker opens, and for how long (seconds)."""

    failure_threshold: int = 5
    success_threshold: int = 2
    timeout: float = 60.0
    half_open_max_calls: int = 1


class RetryMechanism:
    """Calls again what may succeed then."""

    def __init__(self, config: RetryConfig | None = None) -> None:
        self.config = config or RetryConfig()
        self.retry_stats: dict[str, dict[str, int]] = {}

    def calculate_delay(self, attempt: int) -> float:
        """Seconds before the next attempt, after ``attempt`` (from 0) has failed."""
        return self.config.backoff().delay(attempt + 1, ambient.chance())

    def is_retryable(self, exception: BaseException) -> bool:
        """Whether the call would be repeated."""
        return isinstance(exception, tuple(self.config.retryable_exceptions))

    async def execute_with_retry(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a sync or async function until it succeeds or is given up."""
        outcome = await self.config.retry().outcome(func, *args, **kwargs)
        self._count(func, outcome)
        return outcome.unwrap()

    def get_stats(self) -> dict[str, dict[str, int]]:
        """By function: attempts, successes, failures."""
        return {name: dict(stats) for name, stats in self.retry_stats.items()}

    def _count(self, func: Callable[..., Any], outcome: holdfast.Outcome[Any]) -> None:
        name = getattr(func, "__name__", type(func).__name__)
        if len(self.retry_stats) >= 1000 and name not in self.retry_stats:
            name = "(others)"
        stats = self.retry_stats.setdefault(name, {"attempts": 0, "successes": 0, "failures": 0})
        stats["attempts"] += outcome.attempts
        stats["successes"] += int(outcome.ok)
        stats["failures"] += outcome.attempts - int(outcome.ok)


class CircuitBreaker(holdfast.CircuitBreaker):
    """A breaker made of a name and a `CircuitBreakerConfig`, whose state can be assigned."""

    __slots__ = ("config", "last_failure_time")

    def __init__(
        self, name: str, config: CircuitBreakerConfig | None = None, **settings: Any
    ) -> None:
        self.config = config or CircuitBreakerConfig(
            **{key: settings.pop(key) for key in list(settings) if key in _CONFIGURED}
        )
        self.last_failure_time: datetime | None = None
        super().__init__(name, **asdict(self.config), **settings)

    @property
    def state(self) -> CircuitState:
        """The state now. It can be assigned."""
        return super().state

    @state.setter
    def state(self, state: CircuitState) -> None:
        state = CircuitState(state)
        if state is CircuitState.CLOSED:
            self.reset()
        elif state is CircuitState.OPEN:
            self.trip()
        elif state is CircuitState.HALF_OPEN:
            self.probe_now()
        else:
            by_hand = {"forced_open": self.force_open, "disabled": self.disable}
            by_hand.get(state.value, self.metrics_only)()

    @property
    def failure_count(self) -> int:
        """Failures in a row."""
        return int(self.snapshot()["failures"])

    @property
    def success_count(self) -> int:
        """Good probes in a row."""
        return self.circuit.good_probes

    def _settle_by_hand(self, *, failed: bool, seconds: float | None) -> None:
        # In the original, whatever is recorded while half-open is a probe.
        permit = self._given_by_hand()
        if permit is None and self.state is CircuitState.HALF_OPEN:
            permit = self.admit()
        self.settle(permit or Permit(self.circuit.era), failed=failed, seconds=seconds)

    def settle(self, permit: Permit, *, failed: bool, seconds: float | None = None) -> None:
        """Record how a call ended."""
        if failed:
            self.last_failure_time = datetime.fromtimestamp(ambient.wall(), UTC)
        super().settle(permit, failed=failed, seconds=seconds)

    def get_state(self) -> dict[str, Any]:  # type: ignore[override]
        """Name, state, counts, time of the last failure."""
        at = self.last_failure_time
        return {
            "name": self.name,
            "state": self.state.value,
            "failure_count": self.failure_count,
            "success_count": self.success_count,
            "last_failure_time": None if at is None else at.isoformat(),
        }


_CONFIGURED = frozenset(CircuitBreakerConfig.__dataclass_fields__)


class FallbackChain(NamedChain):
    """A chain whose targets take their ``config`` as further keyword arguments."""

    __slots__ = ("fallbacks",)

    def __init__(self, name: str) -> None:
        super().__init__(name, primary="(the function called)", stop_on=())
        self.fallbacks: list[tuple[Callable[..., Any], dict[str, Any]]] = []

    def add_fallback(  # type: ignore[override]
        self, func: Callable[..., Any], config: Mapping[str, Any] | None = None
    ) -> FallbackChain:
        """Add a target at the end; ``config`` is passed to it with every call."""
        given = dict(config or {})
        super().add_fallback(functools.partial(func, **given) if given else func)
        self.fallbacks.append((func, given))
        return self

    def get_stats(self) -> dict[str, Any]:
        """By target: attempts and successes."""
        told: dict[str, Any] = super().get_stats()["targets"]
        return {
            name: {"attempts": one["calls"], "successes": one["successes"]}
            for name, one in told.items()
        }


class ErrorHandlingSystem(holdfast.ErrorHandlingSystem):
    """`holdfast.ErrorHandlingSystem` with the parts of this module."""

    breaker_class: ClassVar[type[holdfast.CircuitBreaker]] = CircuitBreaker
    chain_class: ClassVar[type[holdfast.FallbackChain]] = FallbackChain
    breaker_defaults: ClassVar[Mapping[str, Any]] = {}
    degrades_alone: ClassVar[bool] = False

    def __init__(self, config: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(config, **more)
        self.config: Any = config or {}
        self.retry_mechanism = RetryMechanism()

    def _breaker_settings(self, config: Any) -> dict[str, Any]:
        if isinstance(config, CircuitBreakerConfig):
            config = asdict(config)
        return super()._breaker_settings(config)

    def _create_error_info(self, exception: BaseException) -> ErrorInfo:
        return capture(exception)

    def _categorize_error(self, exception: BaseException) -> ErrorCategory:
        return classify(exception).category

    def _assess_severity(self, exception: BaseException) -> ErrorSeverity:
        return classify(exception).severity
