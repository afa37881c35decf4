"""The front door: policies put together, as a decorator or to call through."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar, cast, overload
from weakref import WeakSet

from holdfast.errors import BadInputError, RejectedError
from holdfast.events import hub
from holdfast.outcome import Err, Ok, Outcome, Result
from holdfast.pipeline import aio, sync
from holdfast.pipeline.compose import compose, finish, outcome_of, raise_error, under_deadline
from holdfast.pipeline.fused import Rest
from holdfast.pipeline.fused_async import fuse_async
from holdfast.pipeline.fused_sync import fuse_sync
from holdfast.pipeline.inflight import Closed, Inflight
from holdfast.pipeline.order import acting, check, worst_case
from holdfast.pipeline.plan import plan
from holdfast.pipeline.stack import governed
from holdfast.pipeline.streams import (
    TurnedAsyncError,
    drop,
    generator_refused,
    is_generator,
    kind_of,
    protect,
    undecorated,
)
from holdfast.policies import checks
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.call import Call
from holdfast.policies.policy import Performer, Policy
from holdfast.policies.scope import Scope, child, current_scope, enter, leave, leave_anywhere
from holdfast.policies.sealed import Sealed
from holdfast.ports import ambient

SyncMaker = Callable[[Callable[..., Any]], Callable[..., Any]]
P = ParamSpec("P")
T = TypeVar("T")


def _async_refused(fn: Any, used: str, right: str) -> BadInputError:
    return BadInputError(
        f"{used} is for sync functions, and {getattr(fn, '__name__', fn)!r:.100} is async: "
        f"use `await pipeline.{right}(...)`"
    )


def _first_to_refuse(policies: Sequence[Policy]) -> CircuitBreaker | None:
    """The breaker whose rejection is the whole pipeline's, whatever stands around it."""
    for policy in policies:
        if isinstance(policy, CircuitBreaker):
            return policy
        if not policy.passes_rejections:
            return None
    return None


class Pipeline(Sealed):
    """Policies around a call, the first one outermost.

    ::

        pipeline = Pipeline(Timeout(60), Retry(max_attempts=3), CircuitBreaker("api"), Timeout(10))

        @pipeline
        async def fetch(url: str) -> bytes: ...

        await pipeline.execute(fetch_once, url)

    One object serves all threads, tasks and event loops.
    """

    name: str
    policies: tuple[Policy, ...]
    """All of them, the outermost first."""

    __slots__ = (
        "_fast_async",
        "_fast_call",
        "_fast_sync",
        "_gate",
        "_inflight",
        "_step",
        "_turned",
        "name",
        "policies",
    )

    settings = frozenset({"name", "policies"})

    def __init__(self, *policies: Policy | Performer, name: str | None = None) -> None:
        """Put policies together; a pipeline among them stands for its own policies.

        One from a `Registry` stands for those that it has at the moment of each call.

        Raises:
            BadInputError: the order makes no sense, for instance retries that can never happen.
        """
        if name is not None:
            checks.label("name", name)
        flat: list[Policy] = []
        seen: list[Policy] = []
        for policy in policies:
            as_policy = getattr(policy, "as_policy", None)
            inside: Any = getattr(policy, "policies", (policy,))
            flat.extend(inside if as_policy is None else (as_policy(),))
            seen.extend(acting(inside))
        check(seen)
        self.name = name or "pipeline"
        self.policies = tuple(flat)
        self._step = compose(flat)
        self._inflight = Inflight()
        self._turned: WeakSet[Callable[..., Any]] = WeakSet()
        """Functions that looked sync and returned coroutines."""
        self._gate = _first_to_refuse(flat)
        """The breaker whose rejection is the whole pipeline's, if there is one."""
        known = plan(flat)
        if known is None:
            self._fast_sync: SyncMaker = self._slowly(self._run_decorated)
            self._fast_call: SyncMaker = self._slowly(self._run_call)
            self._fast_async: Callable[[Callable[..., Any], bool], Callable[..., Any]] = (
                self._slow_async
            )
            return

        def rest(*ways: Callable[..., Any]) -> Rest:
            return Rest(known, self.name, self._inflight, *ways)

        self._fast_sync = fuse_sync(rest(self._run_decorated, self._resume_sync, self._turn))
        self._fast_call = fuse_sync(rest(self._run_call, self._resume_sync, self._turn_down))
        self._fast_async = fuse_async(rest(self._run_async, self._resume_async, self._turn))

    # -- calling ---------------------------------------------------------------------------

    def __call__(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate ``fn``, a `def` or an `async def`.

        Raises:
            BadInputError: ``fn`` is a generator function, see `stream`; or makes a context manager.
        """
        if isinstance(fn, staticmethod):
            return cast("Callable[P, T]", staticmethod(self(fn.__func__)))
        if not callable(fn):
            raise BadInputError(f"fn must be a function, got {fn!r:.100}")
        kind = kind_of(fn)
        if kind == "async":
            return cast("Callable[P, T]", functools.wraps(fn)(self._fast_async(fn, True)))
        if kind == "sync":
            return cast("Callable[P, T]", functools.wraps(fn)(self._fast_sync(fn)))
        raise undecorated(fn)

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a sync function.

        Raises:
            BadInputError: ``fn`` is async; await `execute` instead.
            Exception: what ``fn`` raised in the end, with its report; or a rejection.
        """
        return cast("T", self._fast_call(fn)(*args, **kwargs))

    @overload
    async def execute(self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any) -> T: ...
    @overload
    async def execute(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> T: ...
    async def execute(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a sync or async function.

        Raises:
            Exception: what ``fn`` raised in the end, with its report; or a rejection.
        """
        return await self._fast_async(fn, False)(*args, **kwargs)

    def call_outcome(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[T]:
        """Like `call`, but a failure is returned, not raised. Rejections are at their cheapest."""
        gate = self._gate
        if gate is not None and not self._inflight.shut:
            kept = gate.rejected
            if kept is not None and ambient.now() < kept[0] and not hub.active:
                return kept[1]
            if not hub.active and ambient.now() < gate.circuit.open_until:
                return gate.rejection(ambient.now())
        call = self._begin(fn, args, kwargs)
        try:
            return outcome_of(self._drive_sync(call), call)
        except TurnedAsyncError as turned:
            drop(turned.awaitable)
            raise _async_refused(fn, "call_outcome", "outcome") from None

    @overload
    async def outcome(
        self, fn: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Outcome[T]: ...
    @overload
    async def outcome(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Outcome[T]: ...
    async def outcome(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Outcome[Any]:
        """Like `execute`, but a failure is returned, not raised."""
        gate = self._gate
        if gate is not None and not self._inflight.shut:
            kept = gate.rejected
            if kept is not None and ambient.now() < kept[0] and not hub.active:
                return kept[1]
            if not hub.active and ambient.now() < gate.circuit.open_until:
                return gate.rejection(ambient.now())
        call = self._begin(fn, args, kwargs)
        return outcome_of(await self._drive_async(call), call)

    def stream(self, fn: Callable[P, T], /) -> Callable[P, T]:
        """Decorate a generator function: its start is protected, up to the first item.

        What comes after the first item is passed through as it is, because what was
        delivered cannot be taken back.
        """
        return cast("Callable[P, T]", protect(self, fn))

    # -- closing ---------------------------------------------------------------------------

    def close(self, limit: float = 30.0) -> Closed:
        """Refuse new calls, and wait up to ``limit`` seconds for those on their way.

        Async calls that are left then are cancelled; sync ones cannot be, and are counted. They
        begin no further attempt.
        """
        checks.seconds("limit", limit, zero=True)
        return self._inflight.close(limit)

    async def aclose(self, limit: float = 30.0) -> Closed:
        """Like `close`, for code in an event loop."""
        checks.seconds("limit", limit, zero=True)
        return await self._inflight.aclose(limit)

    @property
    def in_flight(self) -> int:
        """Calls on their way through this pipeline now."""
        return self._inflight.count

    def flow_entries(self) -> dict[Scope, asyncio.Task[object] | None] | None:
        """Where a flow that runs its policies inside another call is entered; None if closed."""
        return None if self._inflight.shut else self._inflight.entries

    # -- looking at it ---------------------------------------------------------------------

    def explain(self) -> str:
        """The order, and the worst case in seconds and calls, as a text."""
        worst = worst_case(self.policies)
        lines = [f"{self.name}:"]
        lines += [f"  {n}. {policy.describe()}" for n, policy in enumerate(self.policies, 1)]
        lines.append(f"  {len(self.policies) + 1}. the call")
        seconds = "no limit" if worst.seconds == math.inf else f"{worst.seconds:.6g} s"
        calls = "1 call" if worst.calls == 1 else f"{worst.calls:g} calls"
        lines.append(f"worst case: {seconds}, {calls}")
        return "\n".join(lines)

    def snapshot(self) -> dict[str, Any]:
        """The state of all policies, as plain data."""
        told = {}
        for number, policy in enumerate(self.policies, 1):
            state = policy.snapshot()
            if state:
                told[f"{number}. {type(policy).__name__}"] = state
        return {"name": self.name, "policies": told}

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.policies))}, name={self.name!r})"

    # -- the way of the flows --------------------------------------------------------------

    def _begin(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Call:
        call = Call(self.name, child(current_scope()), fn, args, kwargs)
        call.governed, call.cut_off = governed, self._inflight.given_up
        return call

    def _drive_sync(self, call: Call) -> Result:
        if self._inflight.shut and call.first is None:
            return finish(self._closed(), call)
        scope, entries = call.scope, self._inflight.entries
        mark = enter(scope)
        entries[scope] = None
        try:
            # Never in a variable: the frame of what failed holds this one.
            return finish(sync.perform(under_deadline(self._step, call), call), call)
        finally:
            del entries[scope]
            scope.live = False
            leave(mark)

    async def _drive_async(self, call: Call) -> Result:
        if self._inflight.shut and call.first is None:
            return finish(self._closed(), call)
        scope, entries = call.scope, self._inflight.entries
        if call.task is None:
            call.task = asyncio.current_task()
            call.before = 0 if call.task is None else call.task.cancelling()
        call.cancellation = asyncio.CancelledError
        mark = enter(scope)
        entries[scope] = call.task
        try:
            return finish(await aio.perform(under_deadline(self._step, call), call), call)
        finally:
            # The task holds its failure, whose traceback holds frames that hold the call.
            call.task = None
            del entries[scope]
            scope.live = False
            leave_anywhere(mark)

    def _closed(self) -> Err:
        return Err(RejectedError(f"pipeline {self.name!r} is closed"))

    def _turn(
        self, fn: Callable[..., Any], args: Any, kwargs: Any, result: Any, passed: dict[int, object]
    ) -> Any:
        """What a decorated sync function gives back that returned no plain result.

        ``passed`` are the policies that have counted the call already.
        """
        if is_generator(result):
            raise generator_refused(result)
        with suppress(TypeError):  # not everything can be remembered weakly
            self._turned.add(fn)
        call = self._begin(fn, args, kwargs)
        call.at_hand.append(result)
        call.adopted |= passed
        # The sync attempt that turned out to be async has been counted in the budget.
        call.paid = True
        return self._run_turned(call)

    def _turn_down(self, fn: Callable[..., Any], _: Any, __: Any, result: Any, ___: Any) -> Any:
        """What `call` does with a function that returned no plain result."""
        if is_generator(result):
            raise generator_refused(result)
        drop(result)
        raise _async_refused(fn, "call", "execute")

    async def _run_turned(self, call: Call) -> Any:
        try:
            return await self._resume_async(call)
        finally:
            # Nobody came to want it.
            while call.at_hand:
                drop(call.at_hand.pop())

    def _run_decorated(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            known_async = fn in self._turned
        except TypeError:
            known_async = False
        if known_async:
            return self._run_async(fn, args, kwargs)
        call = self._begin(fn, args, kwargs)
        try:
            return self._resume_sync(call)
        except TurnedAsyncError as turned:
            awaitable = turned.awaitable
        return self._turn(fn, args, kwargs, awaitable, call.adopted)

    def _run_call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return self._resume_sync(self._begin(fn, args, kwargs))
        except TurnedAsyncError as turned:
            awaitable = turned.awaitable
        return self._turn_down(fn, args, kwargs, awaitable, None)

    def _resume_sync(self, call: Call) -> Any:
        result: Result | None = self._drive_sync(call)
        try:
            if type(result) is Ok:
                return result.value
            return raise_error(cast("Err", result))
        finally:
            # The frame of what failed holds this one.
            del result

    async def _run_async(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return await self._resume_async(self._begin(fn, args, kwargs))

    async def _resume_async(self, call: Call) -> Any:
        result: Result | None = await self._drive_async(call)
        try:
            if type(result) is Ok:
                return result.value
            return raise_error(cast("Err", result))
        finally:
            # The error's own traceback holds this frame.
            del result

    @staticmethod
    def _slowly(run: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(fn: Callable[..., Any]) -> Callable[..., Any]:
            def slow(*args: Any, **kwargs: Any) -> Any:
                return run(fn, args, kwargs)

            return slow

        return make

    def _slow_async(self, fn: Callable[..., Any], sure: bool) -> Callable[..., Any]:  # noqa: ARG002, FBT001
        async def slow(*args: Any, **kwargs: Any) -> Any:
            return await self._run_async(fn, args, kwargs)

        return slow
