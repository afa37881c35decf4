"""A fallback chain of a system: its first target is whatever function is called with it.

- The first target has no health of its own in the chain: calls of different functions share a
  chain, and each has the circuit breaker it was called with.
- A request that is wrong says nothing about a target, so it is held against none.
- What fails is recorded, also if a later target gives the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.call import Call
from holdfast.policies.chain import FallbackChain
from holdfast.policies.links import Link, Target

Recorder = Callable[[Exception, Call], object]
NOT_COUNTED = (BadInputError, ErrorCategory.VALIDATION)


def healthy(name: str) -> CircuitBreaker:
    """A breaker that lets everything through and counts nothing."""
    breaker = CircuitBreaker(name[:200])
    breaker.disable()
    return breaker


class NamedChain(FallbackChain):
    """A `FallbackChain` with the health that suits many functions and their callers' mistakes."""

    __slots__ = ("record",)

    def __init__(self, name: str, *, primary: str = "primary", **settings: Any) -> None:
        """Make a chain without targets.

        Args:
            name: in errors and events.
            primary: what the function that is called stands as in statistics.
            **settings: see `FallbackChain`.
        """
        first = Target(name=primary, circuit_breaker=healthy(name))
        super().__init__(name, primary=first, **settings)
        self.record: Recorder | None = None
        """Told of every failure of a target, with its call."""

    def add_fallback(
        self, fn: Callable[..., Any], config: Target | Mapping[str, Any] | None = None
    ) -> NamedChain:
        """Add a target at the end; ``fn`` is sync or async.

        Raises:
            BadInputError: ``fn`` is no function, or a generator function; a setting is wrong.
        """
        target = Target.of(config)
        own = target.circuit_breaker
        if not isinstance(own, CircuitBreaker):
            target = replace(target, circuit_breaker={"exclude": NOT_COUNTED} | dict(own or {}))
        super().add_fallback(fn, target)
        return self

    def _failed(self, call: Call, link: Link, error: Exception, seconds: float) -> None:
        super()._failed(call, link, error, seconds)
        if self.record is not None:
            self.record(error, call)
