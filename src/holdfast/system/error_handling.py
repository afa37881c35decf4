"""The whole error-handling system of a service behind one object.

::

    system = ErrorHandlingSystem()
    result = await system.execute_with_resilience(
        render, shot, circuit_breaker_name="gpu1", fallback_chain_name="render"
    )

A call goes through, from the outside in: memory, the total time limit, the fallback chain (the
given function is its first target), reduced parameters if allowed, recovery, retry, circuit
breaker. While all goes well only the last two cost anything.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from holdfast.errors import BadInputError, ErrorCategory, RejectedError
from holdfast.outcome import Outcome
from holdfast.pipeline import Pipeline
from holdfast.pipeline.streams import kind_of
from holdfast.pipeline.transient import transient
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.chain import FallbackChain
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.system.capture import name_of
from holdfast.system.causes import Noting, Sparing
from holdfast.system.chains import NamedChain
from holdfast.system.classification import classify
from holdfast.system.degradation import GracefulDegradation, LevelChange
from holdfast.system.episode import Counts, Memory
from holdfast.system.health import breaker_health, verdict
from holdfast.system.integrations import install
from holdfast.system.levels import Levels, Observing, observes
from holdfast.system.mending import Adjusting, Mending, Remembering, remember
from holdfast.system.parts import Key, NamedParts
from holdfast.system.recovery import RecoveryProcedure, standard_strategies
from holdfast.system.settings import SystemSettings, settings_from
from holdfast.telemetry.analytics import ErrorAnalytics

if TYPE_CHECKING:
    from holdfast.stores import ErrorHistory

log = logging.getLogger("holdfast.system")
T = TypeVar("T")


def worth_repeating(error: BaseException) -> bool:
    """Whether the very same call may succeed in a moment: what `execute_with_resilience` retries.

    Memory errors are not: they are for recovery, which makes room first.
    """
    if isinstance(error, RejectedError):
        return False
    told = classify(error)
    if told.category is ErrorCategory.UNKNOWN:
        return transient(error)
    return told.transient and told.category in (ErrorCategory.NETWORK, ErrorCategory.SYSTEM)


class ErrorHandlingSystem(NamedParts):
    """Retry, breakers, fallback chains, classification, recovery, degradation, analytics, history.

    Safe for all threads, tasks and event loops. Close it at the end if it has a history; as a
    block (`with`, `async with`) it closes itself.
    """

    degrades_alone: ClassVar[bool] = True
    """Whether a severe error of one dependency leaves the level of the others alone."""

    graceful_degradation: GracefulDegradation
    error_analytics: ErrorAnalytics
    recovery_procedure: RecoveryProcedure

    def __init__(
        self,
        config: SystemSettings | Mapping[str, Any] | None = None,
        *,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin, with an empty memory or with what the history has kept.

        Args:
            config: settings, or a table with the shape of ``holdfast.toml``.
            names: functions, exception types and profiles that its pipelines may call by name.

        Raises:
            BadInputError: naming the path of what is wrong, its value and what would be right.
        """
        settings = SystemSettings.of(config)
        super().__init__(settings, names)
        self.graceful_degradation = GracefulDegradation(settings.degradation)
        self.error_analytics = ErrorAnalytics(
            settings.analytics.max_history, max_groups=settings.analytics.max_groups
        )
        self.recovery_procedure = RecoveryProcedure()
        for category, strategy in standard_strategies():
            self.recovery_procedure.register(category, strategy)
        self.history = _history(settings)
        """Where errors are kept over a restart, or None."""
        if self.history is not None and settings.history.restore:
            _restore(self.error_analytics, self.history, settings.history.restore)
        self._memory = Memory(self.error_analytics, self.history)
        self._levels = Levels(
            self.graceful_degradation, self.error_analytics, scoped=self.degrades_alone
        )
        if self.history is not None:
            self.graceful_degradation.on_change = self._level_changed
        self.closed = False
        if settings.integrations:
            install(self)

    def _level_changed(self, change: LevelChange) -> None:
        scope = change.scope or "all"
        self._memory.change("degradation", scope, change.old, change.new, change.reason)

    def _watch_chain(self, chain: FallbackChain) -> None:
        if isinstance(chain, NamedChain):
            chain.record = lambda error, call: remember(self._memory, error, chain.name, call)

    def _watch(self, breaker: CircuitBreaker) -> None:
        if self.history is not None:
            breaker.on_change = functools.partial(self._memory.change, "breaker", breaker.name)

    @classmethod
    def from_toml(
        cls, path: str | os.PathLike[str], *, names: Mapping[str, Any] | None = None
    ) -> Self:
        """A system with the settings of a file.

        Raises:
            BadInputError: naming the path of what is wrong, its value and what would be right.
            OSError: the file cannot be read.
        """
        return cls(settings_from(path, names), names=names)

    # -- calling ---------------------------------------------------------------------------

    async def execute_with_resilience(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        adjust_parameters: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call a sync or async function with everything there is.

        Args:
            fn: the function; with a fallback chain, the chain's first target.
            *args: its arguments.
            circuit_breaker_name: the breaker to go through, made if there is none.
            fallback_chain_name: the chain whose targets come after ``fn``.
            enable_retry: whether to repeat what is worth repeating.
            adjust_parameters: whether parameters that a knob knows (keyword arguments, and those
                in a first argument that is a dict) may be reduced: to the level of the
                dependency, and further when memory runs out.
            **kwargs: its keyword arguments.

        Raises:
            Exception: what the call failed with in the end; `holdfast.report_of` tells the story.
        """
        pipeline, counts = self._entry(
            fn, circuit_breaker_name, fallback_chain_name, enable_retry, adjust_parameters
        )
        value = await pipeline.execute(fn, *args, **kwargs)
        counts.succeeded += 1
        return value

    def call_with_resilience(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        adjust_parameters: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Like `execute_with_resilience`, for sync functions in code without an event loop."""
        pipeline, counts = self._entry(
            fn, circuit_breaker_name, fallback_chain_name, enable_retry, adjust_parameters
        )
        value = pipeline.call(fn, *args, **kwargs)
        counts.succeeded += 1
        return value

    async def outcome_with_resilience(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        adjust_parameters: bool = False,
        **kwargs: Any,
    ) -> Outcome[Any]:
        """Like `execute_with_resilience`, but gives an `Outcome`.

        It has the value or the error, every attempt, what was done, and in ``changes`` what was
        changed to get the result.
        """
        pipeline, counts = self._entry(
            fn, circuit_breaker_name, fallback_chain_name, enable_retry, adjust_parameters
        )
        # Never in a variable here: the frame of what failed holds this one.
        return _counted(counts, await pipeline.outcome(fn, *args, **kwargs))

    def call_outcome_with_resilience(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        circuit_breaker_name: str | None = None,
        fallback_chain_name: str | None = None,
        enable_retry: bool = True,
        adjust_parameters: bool = False,
        **kwargs: Any,
    ) -> Outcome[Any]:
        """Like `outcome_with_resilience`, for sync functions in code without an event loop."""
        pipeline, counts = self._entry(
            fn, circuit_breaker_name, fallback_chain_name, enable_retry, adjust_parameters
        )
        return _counted(counts, pipeline.call_outcome(fn, *args, **kwargs))

    def resilient(self, **options: Any) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorate a `def` or an `async def`; takes the options of `execute_with_resilience`.

        ::

            @system.resilient(circuit_breaker_name="gpu1")
            async def render(shot): ...

        Raises:
            BadInputError: an option is unknown, or the function is a generator.
        """
        for key in options:
            if key not in _OPTIONS:
                raise BadInputError(f"{key} is no option; there are {', '.join(_OPTIONS)}")

        def decorate(fn: Callable[..., T]) -> Callable[..., T]:
            kind = kind_of(fn)
            if "generator" in kind:
                raise BadInputError(
                    f"{name_of(fn)} is a generator function, whose items nothing would protect"
                )
            if kind == "async":

                @functools.wraps(fn)
                async def resilient(*args: Any, **kwargs: Any) -> Any:
                    return await self.execute_with_resilience(fn, *args, **options, **kwargs)

                return resilient  # type: ignore[return-value]

            @functools.wraps(fn)
            def protected(*args: Any, **kwargs: Any) -> Any:
                return self.call_with_resilience(fn, *args, **options, **kwargs)

            return protected

        return decorate

    def _entry(
        self, fn: Callable[..., Any], breaker: str | None, chain: str | None, *how: object
    ) -> tuple[Pipeline, Counts]:
        """The pipeline of a call that begins, and the counts of its function."""
        retry, adjust = map(bool, how)
        pipeline = self._pipeline((breaker, chain, retry, adjust))
        counts = self._memory.count(name_of(fn))
        counts.calls += 1
        return pipeline, counts

    def _pipeline(self, key: Key) -> Pipeline:
        breaker, chain = key[:2]
        for option, name in (("circuit_breaker_name", breaker), ("fallback_chain_name", chain)):
            if name is not None and type(name) is not str:
                raise BadInputError(f"{option} must be a name, got {name!r:.100}")
        ready = self._ready.get(breaker)
        found = None if ready is None else ready.get(key)
        if found is not None:
            return found
        if self.closed:
            raise RejectedError(f"the error-handling system {self.settings.name!r} is closed")
        made = self._make_pipeline(key)
        with self._lock:
            if breaker is not None and breaker not in self._breakers:
                return made  # there was no room for its breaker, so it is made anew each time
            return self._ready.setdefault(breaker, {}).setdefault(key, made)

    def _make_pipeline(self, key: Key) -> Pipeline:
        breaker, chain, retry, adjust = key
        settings, memory, degradation = self.settings, self._memory, self.graceful_degradation
        dependency = breaker or chain or settings.name
        budget = self._budget(dependency)
        policies: list[Policy] = [Remembering(dependency, memory)]
        if settings.total is not None:
            policies.append(Timeout(settings.total))
        if chain is not None:
            policies.append(self.get_fallback_chain(chain))
        if adjust:
            policies.append(Adjusting(dependency, degradation, memory, settings.degraded_attempts))
        guard = None if breaker is None else self.get_circuit_breaker(breaker)
        recovery = self.recovery_procedure if settings.recover else None
        cause = self._cause(dependency)
        policies.append(
            Mending(dependency, memory, recovery, self._levels, budget, breaker=guard, cause=cause)
        )
        if retry and settings.retry.max_attempts > 1:
            chosen = settings.retry
            waits = chosen.backoff()
            policies.append(Retry(chosen.max_attempts, waits, on=worth_repeating, budget=budget))
        policies.append(Noting(dependency, cause, guard))
        if observes(degradation.settings):
            policies.append(Observing(dependency, degradation))
        if guard is not None:
            policies.append(Sparing(guard) if adjust else guard)
        return Pipeline(*policies, name=dependency[:200])

    # -- looking at it ---------------------------------------------------------------------

    def get_system_health(self) -> dict[str, Any]:
        """How everything is, now; cheap enough for every scrape.

        Keys: ``status`` (``healthy``, ``degraded``, ``unhealthy``), ``degradation_level``,
        ``error_rate`` (per minute, over the last hour), ``recovery_rate`` (0 to 1),
        ``circuit_breakers``, ``retry_stats``, ``fallback_stats``, ``history``.
        """
        breakers = {
            name: breaker_health(kept.breaker) for name, kept in list(self._breakers.items())
        }
        level = str(self.graceful_degradation.current_level)
        return {
            "status": verdict(breakers.values(), level),
            "degradation_level": level,
            "error_rate": self.error_analytics.get_error_rate(),
            "recovery_rate": self.error_analytics.get_recovery_rate(),
            "circuit_breakers": breakers,
            "retry_stats": {name: one.told() for name, one in list(self._memory.counts.items())},
            "fallback_stats": {name: one.get_stats() for name, one in list(self._chains.items())},
            "history": None if self.history is None else self.history.state(),
        }

    def generate_resilience_report(self) -> dict[str, Any]:
        """Health, analytics and what was recovered, as plain data for JSON."""
        return {
            "system_health": self.get_system_health(),
            "error_analytics": self.error_analytics.generate_report(),
            "recovery_history": self.recovery_procedure.get_recovery_history()[-50:],
            "degradation": self.graceful_degradation.snapshot(),
            "timestamp": datetime.fromtimestamp(ambient.wall(), UTC).isoformat(),
        }

    # -- closing ---------------------------------------------------------------------------

    def close(self, limit: float = 30.0) -> None:
        """Let no more calls in, wait up to ``limit`` seconds, and write what is to be kept."""
        checks.seconds("limit", limit, zero=True)
        self.closed = True
        until = ambient.now() + limit
        for pipeline in self._pipelines():
            pipeline.close(max(0.0, until - ambient.now()))
        if self.history is not None:
            self.history.close(max(0.0, until - ambient.now()))

    async def aclose(self, limit: float = 30.0) -> None:
        """Like `close`, for code in an event loop."""
        checks.seconds("limit", limit, zero=True)
        self.closed = True
        until = ambient.now() + limit
        for pipeline in self._pipelines():
            await pipeline.aclose(max(0.0, until - ambient.now()))
        if self.history is not None:
            # It may wait for a disk, which the event loop must not.
            left = max(0.0, until - ambient.now())
            await asyncio.to_thread(self.history.close, left)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _counted(counts: Counts, outcome: Outcome[Any]) -> Outcome[Any]:
    counts.succeeded += outcome.ok
    return outcome


_OPTIONS = (
    "circuit_breaker_name",
    "fallback_chain_name",
    "enable_retry",
    "adjust_parameters",
)


def _history(settings: SystemSettings) -> Any:
    chosen = settings.history
    if chosen.url is None:
        return None
    from holdfast.stores import ErrorHistory  # noqa: PLC0415  # needs the extra `sql`

    return ErrorHistory(
        chosen.url,
        retention_days=chosen.retention_days,
        max_bytes=chosen.max_bytes,
        flush_seconds=chosen.flush_seconds,
    )


def _restore(analytics: ErrorAnalytics, history: ErrorHistory, number: int) -> None:
    from holdfast.stores import HistoryUnavailableError  # noqa: PLC0415  # needs the extra `sql`

    try:
        analytics.restore(one.info for one in history.recent(number))
    except HistoryUnavailableError as error:
        # A service must start without it; what happens from now on is written when it is back.
        log.warning("the last errors cannot be read back: %s", error)
