"""A pipeline by its name: it stays the same object while its settings change.

- Every call asks for the pipeline of this moment and goes through it to its
  end. Calls in flight at a change go on with what they started with.
- What was decorated follows, too.
- Closed stays closed, whatever the settings become.
- Inside another pipeline it stands for the policies it has at the moment of each call.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from holdfast.errors import RejectedError
from holdfast.outcome import Err, Outcome
from holdfast.pipeline.compose import compose
from holdfast.pipeline.inflight import Closed
from holdfast.pipeline.order import worst_case
from holdfast.pipeline.pipeline import Pipeline
from holdfast.pipeline.streams import kind_of
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Step
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.scope import Scope
from holdfast.policies.sealed import Sealed
from holdfast.ports import ambient

P = ParamSpec("P")
T = TypeVar("T")


class NamedPipeline(Sealed):
    """Does what a `Pipeline` does, with the settings in force. Get one from a `Registry`."""

    __slots__ = ("__weakref__", "_closed", "_earlier", "_lock", "current", "name", "used_at")

    settings = frozenset({"current", "name"})

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.current = pipeline
        """The pipeline in force. It may be another one at the next look: `switch` changes it."""
        self.used_at = ambient.now()
        """Monotonic seconds when somebody last asked the registry for it."""
        self._earlier: tuple[Pipeline, ...] = ()
        self._closed = False
        self._lock = threading.Lock()
        """Held while it is decided which pipelines there are to close."""

    def switch(self, pipeline: Pipeline) -> None:
        """Go on with other settings from the next call on."""
        with self._lock:
            if pipeline is self.current:
                return
            busy = (*self._earlier, self.current)
            self._earlier = tuple(one for one in busy if one.in_flight and one is not pipeline)
            if self._closed:
                pipeline.close(0)
            object.__setattr__(self, "current", pipeline)  # sealed for everybody else

    # -- calling ---------------------------------------------------------------------------

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate ``fn``, a `def` or an `async def`; see `Pipeline`."""
        if isinstance(fn, staticmethod):
            return cast("Callable[P, T]", staticmethod(self(fn.__func__)))
        latest = (self.current, self.current(fn))
        following = _followed(self, fn, Pipeline.__call__, latest)
        if kind_of(fn) != "async":
            return cast("Callable[P, T]", functools.wraps(fn)(following))

        @functools.wraps(fn)
        async def follow(*args: Any, **kwargs: Any) -> Any:
            return await following(*args, **kwargs)

        return cast("Callable[P, T]", follow)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a sync function; see `Pipeline.call`."""
        return self.current.call(fn, *args, **kwargs)

    @overload
    async def execute(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T: ...
    @overload
    async def execute(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T: ...
    async def execute(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a sync or async function; see `Pipeline.execute`."""
        return await self.current.execute(fn, *args, **kwargs)

    def call_outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """Like `call`, but a failure is returned, not raised."""
        return self.current.call_outcome(fn, *args, **kwargs)

    @overload
    async def outcome(
        self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Outcome[T]: ...
    @overload
    async def outcome(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Outcome[T]: ...
    async def outcome(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome[Any]:
        """Like `execute`, but a failure is returned, not raised."""
        return await self.current.outcome(fn, *args, **kwargs)

    def stream(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate a generator function; see `Pipeline.stream`."""
        latest = (self.current, self.current.stream(fn))
        following = _followed(self, fn, Pipeline.stream, latest)
        return cast("Callable[P, T]", functools.wraps(fn)(following))

    # -- closing ---------------------------------------------------------------------------

    def close(self, limit: float = 30.0) -> Closed:
        """Refuse new calls, and wait for those on their way; see `Pipeline.close`."""
        checks.seconds("limit", limit, zero=True)
        until = ambient.now() + limit
        told = [one.close(max(0.0, until - ambient.now())) for one in self._to_close()]
        return _summed(told)

    async def aclose(self, limit: float = 30.0) -> Closed:
        """Like `close`, for code in an event loop."""
        checks.seconds("limit", limit, zero=True)
        until = ambient.now() + limit
        told = []
        for one in self._to_close():
            told.append(await one.aclose(max(0.0, until - ambient.now())))  # noqa: PERF401
        return _summed(told)

    def _to_close(self) -> tuple[Pipeline, ...]:
        """Be closed from now on; the pipelines that have calls or may still get some."""
        with self._lock:
            self._closed = True
            return (self.current, *self._earlier)

    # -- looking at it ---------------------------------------------------------------------

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies in force."""
        return self.current.policies

    def as_policy(self) -> Policy:
        """What stands for it inside another pipeline."""
        return Followed(self)

    @property
    def in_flight(self) -> int:
        """Calls on their way now, under whatever settings they began."""
        return self.current.in_flight + sum(one.in_flight for one in self._earlier)

    def explain(self) -> str:
        """The order, and the worst case in seconds and calls, as a text."""
        return self.current.explain()

    def snapshot(self) -> dict[str, Any]:
        """The state of all policies, as plain data."""
        return self.current.snapshot() | {"in_flight": self.in_flight}

    def __repr__(self) -> str:
        return f"<NamedPipeline {self.name!r}: {self.current!r}>"


class Followed(Policy):
    """A named pipeline as one policy of another: the settings in force at each call."""

    __slots__ = ("_handle", "_latest")

    def __init__(self, handle: NamedPipeline) -> None:
        self._handle = handle
        self._latest: tuple[Pipeline | None, Step | None, Step | None] = (None, None, None)

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` in the way of the policies of this moment."""
        pipeline = self._handle.current
        entries = pipeline.flow_entries()
        if entries is None:
            return Err(RejectedError(f"pipeline {self._handle.name!r} is closed"))
        known, around, step = self._latest
        if step is None or known is not pipeline or around is not inner:
            step = compose(pipeline.policies, inner)
            self._latest = (pipeline, inner, step)
        # Not the call's scope: a pipeline may stand in another more than once.
        entry = Scope()
        entries[entry] = call.task
        try:
            return (yield from step(call))
        finally:
            del entries[entry]

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The policies in force."""
        return self._handle.policies

    def describe(self) -> str:
        """The policies in force, in one line."""
        told = ", then ".join(policy.describe() for policy in self._handle.policies) or "nothing"
        return f"the pipeline {self._handle.name!r}, now: {told}"

    def bound(self, inner: Bound) -> Bound:
        """The worst case of the policies in force."""
        return worst_case(self.policies, inner)

    def as_policy(self) -> Policy:
        """What stands for it inside another pipeline."""
        return self

    def snapshot(self) -> dict[str, Any]:
        """The state of the policies in force."""
        return self._handle.snapshot()


def _followed(
    handle: NamedPipeline,
    fn: Callable[..., Any],
    protect: Callable[[Pipeline, Callable[..., Any]], Callable[..., Any]],
    latest: tuple[Pipeline, Callable[..., Any]],
) -> Callable[..., Any]:
    """``fn`` under the pipeline of the moment, protected anew only when that has changed."""

    def following(*args: Any, **kwargs: Any) -> Any:
        nonlocal latest
        # One tuple, so that another thread never sees a pipeline with the other's function.
        pipeline, protected = latest
        if pipeline is not handle.current:
            pipeline = handle.current
            protected = protect(pipeline, fn)
            latest = (pipeline, protected)
        return protected(*args, **kwargs)

    return following


def _summed(told: list[Closed]) -> Closed:
    return Closed(
        sum(one.finished for one in told),
        sum(one.cancelled for one in told),
        sum(one.left for one in told),
    )
