"""Which pipeline guards which host: one for all of them, or one each, in a bounded registry.

- One host's failures must not open the breaker of another: give each its own.
- A million host names cannot exhaust memory. When the registry is full, the host
  longest unused goes that has nothing in flight and no breaker that refuses calls.
  If there is none, further hosts share one pipeline.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from holdfast.errors import BadInputError
from holdfast.pipeline import Pipeline
from holdfast.pipeline.named import NamedPipeline
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.policy import Policy

AnyPipeline = Pipeline | NamedPipeline
Guard = AnyPipeline | Policy
Guards = Guard | Callable[[str], Guard]
"""A pipeline, or a function that makes one for a host such as `https://example.org`."""
SHARED = "(other hosts)"
"""The name under which a pipeline is made for the hosts the registry has no place for."""


class Hosts:
    """The pipelines of a client."""

    __slots__ = ("_known", "_lock", "_make", "_max", "_shared", "_single")

    def __init__(self, guards: Guards, *, per_host: bool, max_hosts: int) -> None:
        checks.whole("max_hosts", max_hosts, at_least=1)
        self._max = max_hosts
        self._lock = threading.Lock()
        self._known: OrderedDict[str, AnyPipeline] = OrderedDict()
        self._shared: AnyPipeline | None = None
        self._single: AnyPipeline | None = None
        if isinstance(guards, Pipeline | NamedPipeline | Policy):
            if per_host:
                raise BadInputError(
                    "pipeline must be a function that makes one for a host if per_host is on, "
                    f"got {guards!r:.100}"
                )
            self._single = pipeline_of(guards)
            return
        if not per_host or not callable(guards):
            raise BadInputError(f"pipeline must be a Pipeline or a policy, got {guards!r:.100}")
        self._make = guards

    def __len__(self) -> int:
        """How many hosts have a pipeline of their own."""
        return len(self._known)

    def pipeline(self, host: str) -> AnyPipeline:
        """The pipeline for calls to ``host``."""
        if self._single is not None:
            return self._single
        with self._lock:
            known = self._known.get(host)
            if known is not None:
                self._known.move_to_end(host)
                return known
            if len(self._known) >= self._max and not self._evict():
                if self._shared is None:
                    self._shared = pipeline_of(self._make(SHARED))
                return self._shared
            made = self._known[host] = pipeline_of(self._make(host))
            return made

    def _evict(self) -> bool:
        for host, pipeline in self._known.items():
            if idle(pipeline):
                del self._known[host]
                return True
        return False


def pipeline_of(guard: Guard) -> AnyPipeline:
    """A pipeline as it is, or a policy as a pipeline of one.

    Raises:
        BadInputError: it is neither.
    """
    return guard if isinstance(guard, Pipeline | NamedPipeline) else Pipeline(guard)


def idle(pipeline: AnyPipeline) -> bool:
    """Whether nothing would be lost that matters: no call in flight, no breaker that refuses."""
    return pipeline.in_flight == 0 and not any(
        policy.retry_after > 0 for policy in pipeline.policies if isinstance(policy, CircuitBreaker)
    )
