"""The links of a fallback chain: one target each, with its settings and its health."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, fields
from types import AsyncGeneratorType, GeneratorType
from typing import Any, cast

from holdfast.errors import BadInputError
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Flow, Run, Step
from holdfast.policies.matching import Condition, Test, compile_condition
from holdfast.policies.timeout import Timeout


@dataclass(frozen=True, slots=True)
class Target:
    """How one target of a fallback chain is called and judged."""

    name: str | None = None
    """In errors, events and statistics; None: the function's own name."""
    timeout: float | Timeout | None = None
    """Seconds the target may take, or a whole `Timeout`; None for no limit of its own."""
    circuit_breaker: CircuitBreaker | Mapping[str, Any] | None = None
    """Its health: a breaker that may be shared, or the settings of one; None: the defaults. A
    breaker made here does not count what ``stop_on`` of the chain matches."""
    on: Condition = Exception
    """Which of its failures the next target is tried for; any other ends the chain at once."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        if self.name is not None:
            checks.label("name", self.name)
        if not isinstance(self.timeout, Timeout):
            checks.seconds("timeout", self.timeout, optional=True)
        if not isinstance(self.circuit_breaker, CircuitBreaker | Mapping | None):
            raise BadInputError(
                "circuit_breaker must be a CircuitBreaker, a dict of its settings or None, "
                f"got {self.circuit_breaker!r:.100}"
            )
        compile_condition("on", self.on)

    @classmethod
    def of(cls, config: Target | Mapping[str, Any] | None, field: str = "config") -> Target:
        """Settings from what a user may give.

        Raises:
            BadInputError: it is neither, or has settings that do not exist.
        """
        if config is None:
            return cls()
        if isinstance(config, cls):
            return config
        if not isinstance(config, Mapping):
            raise BadInputError(f"{field} must be a Target, a dict or None, got {config!r:.100}")
        known = [field.name for field in fields(cls)]
        for key in config:
            if key not in known:
                raise BadInputError(f"{field} must have only {', '.join(known)}, got {key!r:.100}")
        return cls(**config)


class Link:
    """One target in its chain."""

    __slots__ = (
        "breaker",
        "calls",
        "failures",
        "fn",
        "last_error",
        "matches",
        "name",
        "skipped",
        "successes",
        "timeout",
    )

    def __init__(
        self,
        chain: str,
        name: str,
        fn: Callable[..., Any] | None,
        settings: Target,
        stop_on: Condition,
    ) -> None:
        self.name = name
        self.fn = fn
        """None for what is inside the chain in a pipeline."""
        self.matches: Test = compile_condition("on", settings.on)
        limit = settings.timeout
        self.timeout = limit if limit is None or isinstance(limit, Timeout) else Timeout(limit)
        own = settings.circuit_breaker
        self.breaker = (
            own if isinstance(own, CircuitBreaker) else _breaker(f"{chain}.{name}", own, stop_on)
        )
        self.calls = self.successes = self.failures = self.skipped = 0
        self.last_error: str | None = None

    @property
    def is_async(self) -> bool:
        """Whether it can be seen to be async without calling it."""
        return self.fn is not None and inspect.iscoroutinefunction(plain(self.fn))

    def run(
        self, call: Call, inner: Step, before: Callable[[], object]
    ) -> Generator[Effect, Any, tuple[Result, bool]]:
        """Call the target if its breaker lets it; the result, and whether it was called.

        ``before`` is told just before that.
        """
        ran = False

        def admitted(call: Call) -> Flow:
            nonlocal ran
            ran = True
            before()
            step = inner if self.fn is None else self._invoke
            return step(call) if self.timeout is None else self.timeout.flow(call, step)

        result = yield from self.breaker.flow(call, admitted)
        return result, ran

    def count(self, result: Result | None) -> None:
        """Remember how a call ended; the chain holds the lock."""
        if result is None:
            self.skipped += 1
            return
        self.calls += 1
        if type(result) is Err:
            self.failures += 1
            self.last_error = describe(result.error)
        else:
            self.successes += 1

    def stats(self) -> dict[str, Any]:
        """Counts and health, as plain data."""
        return {
            "calls": self.calls,
            "successes": self.successes,
            "failures": self.failures,
            "skipped": self.skipped,
            "last_error": self.last_error,
            "state": str(self.breaker.state),
            "retry_after": self.breaker.retry_after,
        }

    def _invoke(self, call: Call) -> Flow:
        """Call the function as the driver calls a pipeline's own."""
        if (refusal := call.may_not_begin()) is not None:
            return refusal
        call.attempts += 1
        # Not counted down on an interruption: the breaker asks what was at work.
        call.running += 1
        action = cast("Callable[..., Any]", self.fn)
        result: Result = yield Run(functools.partial(action, *call.args, **call.kwargs))
        call.running -= 1
        if type(result) is Ok and isinstance(result.value, GeneratorType | AsyncGeneratorType):
            return Err(BadInputError(f"target {self.name!r} returned a generator: {REFUSED}"))
        return result


REFUSED = "nothing would protect its items"


def plain(fn: Callable[..., Any]) -> Any:
    """The function inside partials and callable objects."""
    found: Any = fn
    while isinstance(found, functools.partial):
        found = found.func
    if inspect.isroutine(found) or inspect.isclass(found):
        return found
    return getattr(type(found), "__call__", found)  # noqa: B004  # the class's own method


def _breaker(name: str, settings: Mapping[str, Any] | None, stop_on: Condition) -> CircuitBreaker:
    chosen = {"name": name[:200], "exclude": stop_on} | dict(settings or {})
    try:
        return CircuitBreaker(**chosen)
    except TypeError as error:
        raise BadInputError(f"circuit_breaker has settings that do not exist: {error}") from None
