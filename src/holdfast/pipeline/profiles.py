"""Settings that suit the length of the work: calls of milliseconds, and jobs of an hour.

- A profile is a frozen value and holds no state: each pipeline made from it has
  a breaker, a bulkhead and a budget of its own.
- No profile has a rule in absolute seconds for what is slow, so none opens the
  circuit of a healthy server because its work is long.
- The order is always: fallback, total timeout, retry, circuit breaker, bulkhead,
  timeout of the attempt. A profile that contradicts itself cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from holdfast.errors import BadInputError
from holdfast.pipeline.config_fields import did_you_mean
from holdfast.pipeline.pipeline import Pipeline
from holdfast.pipeline.transient import transient, transient_or_memory
from holdfast.policies import checks
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.idempotency import Idempotency
from holdfast.policies.matching import Condition
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout

Part = tuple[str, Callable[..., Policy], dict[str, Any]]
"""One policy to be: its kind, its constructor and its settings."""
SETTINGS_OF_BREAKERS = (
    "failure_threshold",
    "failure_rate",
    "window",
    "minimum_calls",
    "success_threshold",
    "half_open_max_calls",
    "open_seconds",
    "open_maximum",
    "probe_seconds",
    "progress_closes",
)
"""The settings of a profile that are its breaker's."""


@dataclass(frozen=True, slots=True)
class Profile:
    """All settings of a pipeline, chosen for one kind of work.

    ::

        pipeline = Profile.http_api.pipeline("search", max_attempts=4)
        patient = Profile.gpu_job.but(idle=120, max_concurrent=4)
    """

    rpc: ClassVar[Profile]
    """Calls of milliseconds within a data centre."""
    http_api: ClassVar[Profile]
    """Requests to somebody's web service: a tenth of a second to ten seconds."""
    llm: ClassVar[Profile]
    """Requests to a language model: seconds to minutes, paid for, with rate limits."""
    gpu_job: ClassVar[Profile]
    """Jobs on a GPU of your own: seconds to hours, one at a time, dear to repeat."""

    total: float | None = 60.0
    """Seconds for everything, waits and queues included; None for no limit."""
    max_attempts: int = 3
    """Calls in total, the first one included; 1 for no retry."""
    backoff: Backoff = field(default_factory=Backoff)
    """Seconds between the attempts."""
    on: Condition = transient
    """What is worth repeating; see `holdfast.pipeline.transient`."""
    budget_ratio: float | None = 0.2
    """Retries per first call, at most; None for no budget, 0 for its floor alone."""
    failure_threshold: int | None = 5
    """Failures in a row that open the circuit; None: do not count these."""
    failure_rate: float | None = None
    """Share of failed calls that opens the circuit; None: do not measure it."""
    window: float | None = None
    """Seconds the share is measured over; None for 60."""
    minimum_calls: int | None = None
    """Calls in the window before the share means anything; None for 20."""
    success_threshold: int = 2
    """Good probes in a row that close the circuit."""
    half_open_max_calls: int = 1
    """Probes at the same time."""
    open_seconds: float = 30.0
    """Seconds the first opening lasts; each further one lasts twice as long."""
    open_maximum: float = 300.0
    """Seconds no opening exceeds."""
    probe_seconds: float = 600.0
    """Seconds without progress after which a probe no longer holds its place."""
    progress_closes: bool = False
    """Whether a probe's first sign of progress is its success."""
    max_concurrent: int | None = 32
    """Calls at once; None for no limit."""
    max_queue: int = 0
    """Calls that may wait for their turn."""
    max_wait: float | None = None
    """Seconds they wait at most; None: as long as the total allows."""
    attempt: float | None = 10.0
    """Seconds for one attempt; None for no limit."""
    idle: float | None = None
    """Seconds of one attempt without a call of `holdfast.progress()`; None for no limit."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, alone or together.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.seconds("total", self.total, optional=True)
        checks.whole("max_attempts", self.max_attempts, at_least=1)
        # Also where nothing is repeated or bounded now: another may take over from here.
        Retry(backoff=self.backoff, on=self.on)
        checks.whole("max_queue", self.max_queue, at_least=0)
        checks.seconds("max_wait", self.max_wait, zero=True, optional=True)
        checks.seconds("attempt", self.attempt, optional=True)
        checks.seconds("open_seconds", self.open_seconds)
        checks.seconds("open_maximum", self.open_maximum)
        if self.open_maximum < self.open_seconds:
            raise BadInputError(
                f"open_maximum must be at least open_seconds ({self.open_seconds}), "
                f"got {self.open_maximum}"
            )
        if self.budget_ratio is not None:
            checks.number("budget_ratio", self.budget_ratio, at_least=0, at_most=10)
        self.pipeline("profile")

    def but(self, **changes: Any) -> Profile:
        """The same profile with other settings.

        Raises:
            BadInputError: a setting is unknown, or cannot work.
        """
        known = settings_of_profiles()
        _refuse_unknown(changes, known)
        return Profile(**{name: getattr(self, name) for name in known} | changes)

    def pipeline(
        self,
        name: str,
        *,
        fallback: Policy | None = None,
        breaker: CircuitBreaker | None = None,
        bulkhead: Bulkhead | None = None,
        budget: RetryBudget | None = None,
        idempotency: Idempotency | None = None,
        **changes: Any,
    ) -> Pipeline:
        """A pipeline with these settings.

        Args:
            name: of the pipeline, its breaker and its bulkhead.
            fallback: what to do when all else fails: a `Fallback` or a `FallbackChain`.
            breaker: one that is shared with other pipelines, instead of a new one.
            bulkhead: one that is shared with other pipelines, instead of a new one.
            budget: one that is shared with other pipelines, instead of a new one.
            idempotency: whether the call may be repeated blindly.
            changes: other settings than the profile's, by the names of its fields.

        Raises:
            BadInputError: a setting is unknown, or cannot work.
        """
        if changes:
            own = ("fallback", "breaker", "bulkhead", "budget", "idempotency")
            _refuse_unknown(changes, [*settings_of_profiles(), *own])
            return self.but(**changes).pipeline(
                name,
                fallback=fallback,
                breaker=breaker,
                bulkhead=bulkhead,
                budget=budget,
                idempotency=idempotency,
            )
        checks.instance("fallback", fallback, Policy)
        checks.instance("breaker", breaker, CircuitBreaker)
        checks.instance("bulkhead", bulkhead, Bulkhead)
        shared = {"circuit_breaker": breaker, "bulkhead": bulkhead}
        policies = [] if fallback is None else [fallback]
        for kind, make, settings in self.parts(name, budget=budget, idempotency=idempotency):
            policies.append(shared.get(kind) or make(**settings))
        return Pipeline(*policies, name=name)

    def breaker(self, name: str) -> CircuitBreaker:
        """A circuit breaker with these settings, alone."""
        return CircuitBreaker(**self._circuit(name))

    def parts(
        self,
        name: str,
        *,
        budget: RetryBudget | None = None,
        idempotency: Idempotency | None = None,
    ) -> list[Part]:
        """The policies to be made, outermost first."""
        parts: list[Part] = []
        if self.total is not None:
            parts.append(("total", Timeout, {"seconds": self.total, "name": "total"}))
        if self.max_attempts != 1:
            if budget is None and self.budget_ratio is not None:
                budget = RetryBudget(self.budget_ratio, floor=10, name=name)
            retry = {
                "max_attempts": self.max_attempts,
                "backoff": self.backoff,
                "on": self.on,
                "budget": budget,
                "idempotency": idempotency,
            }
            parts.append(("retry", Retry, retry))
        parts.append(("circuit_breaker", CircuitBreaker, self._circuit(name)))
        if self.max_concurrent is not None:
            room = {
                "max_concurrent": self.max_concurrent,
                "max_queue": self.max_queue,
                "max_wait": self.max_wait,
                "name": name,
            }
            parts.append(("bulkhead", Bulkhead, room))
        if self.attempt is not None or self.idle is not None:
            limits = {"seconds": self.attempt, "idle": self.idle, "name": "attempt"}
            parts.append(("attempt", Timeout, limits))
        return parts

    def _circuit(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "failure_threshold": self.failure_threshold,
            "success_threshold": self.success_threshold,
            "timeout": self.open_seconds,
            "timeout_maximum": self.open_maximum,
            "half_open_max_calls": self.half_open_max_calls,
            "failure_rate": self.failure_rate,
            "window": self.window,
            "minimum_calls": self.minimum_calls,
            "probe_seconds": self.probe_seconds,
            "progress_closes": self.progress_closes,
        }


def settings_of_profiles() -> list[str]:
    """The names of all settings of a profile."""
    return [one.name for one in fields(Profile)]


def _refuse_unknown(changes: dict[str, Any], known: list[str]) -> None:
    for name, value in changes.items():
        if name not in known:
            raise BadInputError(
                f"{name} is no setting of a profile, got {value!r:.100}; "
                f"{did_you_mean(name, known)}"
            )


Profile.rpc = Profile(
    total=5.0,
    backoff=Backoff.exponential(initial=0.05, maximum=1.0, jitter="full"),
    # In a row, not by share: the hot path then records nothing while all is well, and one
    # failure in ten makes ten in a row once in ten thousand million calls.
    failure_threshold=10,
    open_seconds=5.0,
    open_maximum=60.0,
    max_concurrent=100,
    max_queue=100,
    max_wait=0.5,
    attempt=1.0,
)
Profile.http_api = Profile(
    total=45.0,
    backoff=Backoff.exponential(initial=0.25, maximum=8.0, jitter="full"),
    failure_threshold=10,
    failure_rate=0.5,
    window=30.0,
    minimum_calls=20,
    open_seconds=15.0,
    open_maximum=300.0,
    max_concurrent=32,
    max_queue=64,
    max_wait=5.0,
    attempt=10.0,
)
Profile.llm = Profile(
    total=900.0,
    max_attempts=4,
    backoff=Backoff.exponential(initial=1.0, maximum=60.0, jitter="full"),
    failure_threshold=5,
    open_seconds=15.0,
    open_maximum=300.0,
    max_concurrent=16,
    max_queue=256,
    attempt=180.0,
)
Profile.gpu_job = Profile(
    total=6 * 3600.0,
    # 15 s and 60 s: a server that crashed has loaded its models again by the third attempt.
    backoff=Backoff.exponential(initial=15.0, maximum=300.0, base=4.0, jitter=0.25),
    on=transient_or_memory,
    budget_ratio=None,
    failure_threshold=3,
    # A probe may be an hour's work, so one is enough, and its first progress is proof.
    success_threshold=1,
    progress_closes=True,
    open_seconds=30.0,
    open_maximum=600.0,
    # As long as a job may be silent: a lease that ends earlier would make its success stale.
    probe_seconds=2 * 3600.0,
    max_concurrent=1,
    max_queue=1000,
    attempt=None,
    idle=2 * 3600.0,
)
