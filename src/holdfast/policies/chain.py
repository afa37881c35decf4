"""Several ways to the same end, tried in order.

- Each target has a breaker of its own, and one that is out is skipped at once.
- What no target can cure (``stop_on``) ends the chain at its first occurrence, as it is.
- Before the next target runs, the failure of the last one lets go of its frames.
- Cancellation passes through and counts for nobody.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from holdfast import events
from holdfast.errors import BadInputError, FallbackChainExhaustedError
from holdfast.events import hub
from holdfast.machines.circuit import CircuitState
from holdfast.outcome import Attempt, Err, Ok, Outcome, describe
from holdfast.policies import checks
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Sleep, Step
from holdfast.policies.frames import origin, release
from holdfast.policies.links import REFUSED, Link, Target, plain
from holdfast.policies.matching import Condition, any_leaf, compile_condition, every_leaf
from holdfast.policies.policy import Bound, Policy
from holdfast.ports import ambient

SHORTEST_WAIT, LONGEST_WAIT = 0.05, 1.0
"""Seconds between looks at a target whose probe is under way: nobody knows when it ends."""


class FallbackChain(Policy):
    """The first target that succeeds gives the result.

    ::

        chain = FallbackChain("render").add_fallback(big_gpu).add_fallback(small_gpu)
        image = await chain.execute(prompt)       # or: chain.call(prompt)

        @chain                                    # the decorated function comes first,
        async def render(prompt): ...             # then the others with the same arguments
    """

    __slots__ = ("_links", "_lock", "_primary", "_stops", "_tally", "name", "stop_on", "wait_limit")

    settings = frozenset({"name", "stop_on", "wait_limit"})

    def __init__(
        self,
        name: str,
        *,
        stop_on: Condition = BadInputError,
        wait_for_recovery: float | None = None,
        primary: Target | Mapping[str, Any] | None = None,
    ) -> None:
        """Make a chain without targets.

        Args:
            name: in errors and events.
            stop_on: failures that are the same at every target, such as a wrong request; they
                are raised as they are, and no breaker made by the chain counts them.
            wait_for_recovery: when every target is out, wait up to so many seconds (and within
                the deadline) for the first one to come back; None: fail at once.
            primary: settings of the function that a pipeline or a decorator puts first.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.label("name", name)
        checks.seconds("wait_for_recovery", wait_for_recovery, optional=True)
        self.name = name
        self.stop_on = stop_on
        self.wait_limit = wait_for_recovery
        self._stops = compile_condition("stop_on", stop_on)
        first = Target.of(primary, "primary")
        self._primary = Link(name, first.name or "primary", None, first, stop_on)
        self._links: tuple[Link, ...] = ()
        self._tally = dict.fromkeys(("calls", "fallbacks_used", "stopped", "exhausted"), 0)
        self._lock = threading.Lock()

    @property
    def targets(self) -> tuple[Link, ...]:
        """The targets in their order, each with `name`, `breaker` and counts."""
        return self._links

    def add_fallback(
        self, fn: Callable[..., Any], config: Target | Mapping[str, Any] | None = None
    ) -> FallbackChain:
        """Add a target at the end; ``fn`` is sync or async.

        Raises:
            BadInputError: ``fn`` is no function, or a generator function; a setting is wrong.
        """
        if not callable(fn):
            raise BadInputError(f"fn must be a function, got {fn!r:.100}")
        inside = plain(fn)
        if inspect.isgeneratorfunction(inside) or inspect.isasyncgenfunction(inside):
            raise BadInputError(f"fn must not be a generator function, got {fn!r:.100}: {REFUSED}")
        settings = Target.of(config)
        with self._lock:
            taken = {link.name for link in (self._primary, *self._links)}
            name = settings.name
            if name is None:
                name = _unused(str(getattr(inside, "__name__", type(fn).__name__))[:150], taken)
            elif name in taken:
                raise BadInputError(f"name must be new to chain {self.name!r}, got {name!r}")
            self._links = (*self._links, Link(self.name, name, fn, settings, self.stop_on))
        return self

    # -- calling ---------------------------------------------------------------------------

    def execute(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Try the targets with these arguments; await the result.

        Raises:
            FallbackChainExhaustedError: every target failed or was skipped.
        """
        return self._alone().execute(_no_function, *args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Like `execute`, for sync code and sync targets.

        Raises:
            FallbackChainExhaustedError: every target failed or was skipped.
            BadInputError: a target is async.
        """
        self._refuse_async()
        return self._alone().call(_no_function, *args, **kwargs)

    def outcome(self, *args: Any, **kwargs: Any) -> Awaitable[Outcome[Any]]:
        """Like `execute`, but a failure is returned, not raised."""
        return self._alone().outcome(_no_function, *args, **kwargs)

    def call_outcome(self, *args: Any, **kwargs: Any) -> Outcome[Any]:
        """Like `call`, but a failure is returned, not raised."""
        self._refuse_async()
        return self._alone().call_outcome(_no_function, *args, **kwargs)

    # -- looking at it ---------------------------------------------------------------------

    def get_stats(self) -> dict[str, Any]:
        """What has happened so far, for the chain and each target, as plain data."""
        with self._lock:
            links = (self._primary, *self._links)
            used = [link for link in links if link.fn is not None or link.calls or link.skipped]
            told: dict[str, Any] = {"name": self.name} | self._tally
        return told | {"targets": {link.name: link.stats() for link in used}}

    def snapshot(self) -> dict[str, Any]:
        """Like `get_stats`."""
        return self.get_stats()

    def describe(self) -> str:
        """The targets in one line."""
        names = ", then ".join(link.name for link in self._links) or "none"
        return f"FallbackChain {self.name!r}: on failure {names}"

    def bound(self, inner: Bound) -> Bound:
        """Every target at its worst, one after the other."""
        worst, links = inner, (self._primary, *self._links)
        for link in links:
            alone = inner if link.fn is None else Bound()
            alone = alone if link.timeout is None else link.timeout.bound(alone)
            worst = alone if link.fn is None else _sum(worst, alone)
        return _sum(worst, Bound(self.wait_limit or 0.0, 0))

    # -- in a pipeline ---------------------------------------------------------------------

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner``, then the targets, until one succeeds."""
        links = self._links if call.fn is _no_function else (self._primary, *self._links)
        until = ambient.now() + (self.wait_limit or 0.0)
        failures: dict[str, Exception] = {}
        again = False
        while True:
            any_ran = False
            for number, link in enumerate(links):
                if call.left() <= 0:
                    return call.blame_deadline()
                began = ambient.now()
                result, ran = yield from link.run(call, inner, lambda: _release(failures))
                any_ran = any_ran or ran
                if ran:
                    with self._lock:
                        link.count(result)
                if type(result) is Ok:
                    self._won(call, link, number, failures)
                    return result
                if not ran:
                    failures[link.name] = result.error
                    if not again:
                        self._skip(call, link, result.error)
                    continue
                self._failed(call, link, result.error, ambient.now() - began)
                if any_leaf(self._stops, result.error) or not every_leaf(
                    link.matches, result.error
                ):
                    self._count("stopped")
                    call.say(f"{self.name}: no other target is tried for that")
                    return result
                failures.pop(link.name, None)
                failures[link.name] = result.error
            pause = None if any_ran else self._pause(call, links, until)
            if pause is None:
                return self._exhausted(failures)
            call.say(f"{self.name}: every target is out; waits {pause:.3g} s")
            yield Sleep(pause)
            again = True

    def _skip(self, call: Call, link: Link, error: Exception) -> None:
        with self._lock:
            link.count(None)
        call.say(f"{self.name}: target {link.name!r} is out and was skipped")
        if hub.active:
            told = describe(error)
            hub.emit(events.TargetFailed(self.name, ambient.now(), link.name, told, skipped=True))

    def _failed(self, call: Call, link: Link, error: Exception, seconds: float) -> None:
        told, place = describe(error), origin(error)
        call.history.append(Attempt(call.attempts, f"target {link.name!r}: {told}", seconds, None))
        at = f" ({place})" if place else ""
        call.say(f"{self.name}: target {link.name!r} failed after {seconds:.3g} s: {told}{at}")
        if hub.active:
            hub.emit(events.TargetFailed(self.name, ambient.now(), link.name, told, skipped=False))

    def _won(self, call: Call, link: Link, number: int, failures: dict[str, Exception]) -> None:
        if number == 0:
            self._count()
            return
        self._count("fallbacks_used")
        why = "; ".join(f"{name}: {describe(error)}" for name, error in failures.items())
        call.change(f"{self.name}: target {link.name!r} gave the result")
        if hub.active:
            hub.emit(events.FallbackUsed(self.name, ambient.now(), link.name, why))

    def _exhausted(self, failures: dict[str, Exception]) -> Err:
        self._count("exhausted")
        error = FallbackChainExhaustedError(self.name, failures)
        traced = [failure for failure in failures.values() if failure.__traceback__ is not None]
        if traced:
            error.__cause__ = traced[-1]
        return Err(error)

    def _pause(self, call: Call, links: Sequence[Link], until: float) -> float | None:
        """Seconds until some target may be back; None if none will in time."""
        if self.wait_limit is None or not links:
            return None
        waits = [
            min(link.breaker.retry_after, LONGEST_WAIT)
            if link.breaker.state is CircuitState.HALF_OPEN
            else link.breaker.retry_after
            for link in links
        ]
        pause = max(min(waits), SHORTEST_WAIT)
        left = min(until - ambient.now(), call.left())
        return pause if pause <= left else None

    def _count(self, what: str | None = None) -> None:
        with self._lock:
            self._tally["calls"] += 1
            if what is not None:
                self._tally[what] += 1

    def _refuse_async(self) -> None:
        for link in self._links:
            if link.is_async:
                raise BadInputError(
                    f"call is for sync targets, and {link.name!r} is async: "
                    "use `await chain.execute(...)`"
                )

    def __repr__(self) -> str:
        return f"FallbackChain({self.name!r}, {[link.name for link in self._links]})"


def _no_function() -> None:
    """Stands where a pipeline's own function would be."""


def _release(failures: Mapping[str, Exception]) -> None:
    for error in failures.values():
        release(error)


def _unused(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


def _sum(one: Bound, other: Bound) -> Bound:
    return Bound(one.seconds + other.seconds, one.calls + other.calls)
