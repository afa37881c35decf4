"""Try again, later, and not for ever.

- A retry repeats what it was told is worth repeating, waits in between, and
  starts no wait that would outlast the deadline.
- Nested retries fold: inside a call that a retry further out already governs,
  a retry runs its function once. Three retries of three make 3 calls, not 27.
- A failed attempt is remembered as text. Its exception, with the frames and
  buffers it holds, is gone before the next attempt begins.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from holdfast import events
from holdfast.errors import RejectedError
from holdfast.events import hub
from holdfast.outcome import Attempt, Err, Ok, Result, describe
from holdfast.policies import checks
from holdfast.policies.backoff import Backoff
from holdfast.policies.budget import RetryBudget
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Flow, Run, Sleep, Step
from holdfast.policies.frames import leave_on, left_on
from holdfast.policies.idempotency import Found, Idempotency, Lookup
from holdfast.policies.matching import (
    Condition,
    Test,
    compile_condition,
    every_leaf,
    may_match_rejections,
    refuse_empty,
)
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.retry_after import retry_after_of
from holdfast.ports import ambient


class Attempts(Protocol):
    """A loop over attempts, for `for` and for `async for`."""

    def __iter__(self) -> Iterator[AbstractContextManager[Any]]: ...
    def __aiter__(self) -> AsyncIterator[AbstractContextManager[Any]]: ...


class Told:
    """A step that is put into words only if somebody asks."""

    __slots__ = ("attempt", "name")

    def __init__(self, name: str, attempt: Attempt) -> None:
        self.name = name
        self.attempt = attempt

    def __str__(self) -> str:
        return f"{self.name}: {self.attempt}"


@dataclass(frozen=True, slots=True)
class Retry(Policy):
    """How often to try, on what, and how long to wait in between."""

    max_attempts: int = 3
    """Calls in total, the first one included."""
    backoff: Backoff = field(default_factory=Backoff)
    """Seconds between the attempts."""
    on: Condition = (ConnectionError, TimeoutError, OSError)
    """What is worth repeating: exception types, a predicate, `ErrorCategory` values, or some of
    them. A group of exceptions is worth it only if all of its leaves are. Never cancellation."""
    budget: RetryBudget | None = None
    """Shared with every other retry and hedge towards the same dependency."""
    idempotency: Idempotency | None = None
    """Whether the call may be repeated blindly; None means yes."""
    retry_on_result: Callable[[Any], bool] | None = None
    """Says whether a returned value is a failure worth repeating."""
    retry_after: Callable[[Any], float | None] | None = None
    """Reads from an error, or from a result that was not accepted, how many seconds its sender
    asked to wait; default: its Retry-After."""
    max_retry_after: float = 3600.0
    """Longest Retry-After, in seconds, that is obeyed; a longer one ends the call at once."""
    allow_nested: bool = False
    """Retry also inside a call that a retry further out governs, multiplying the calls."""
    on_discard: Callable[[Any], Any] | None = None
    """Given each result that is thrown away in order to retry; close it here. May be async."""
    on_retry: Callable[[Attempt], Any] | None = None
    """Told of each failed attempt that will be repeated, before the wait. May be async."""
    name: str = "retry"
    _matches: Test = field(init=False, repr=False, compare=False)

    loop_with: ClassVar[Callable[[Retry], Attempts]]
    """Put in place by `holdfast.pipeline`, which knows how to wait."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.whole("max_attempts", self.max_attempts, at_least=1)
        checks.instance("backoff", self.backoff, Backoff, optional=False)
        checks.instance("budget", self.budget, RetryBudget)
        checks.instance("idempotency", self.idempotency, Idempotency)
        checks.seconds("max_retry_after", self.max_retry_after, zero=True)
        checks.flag("allow_nested", self.allow_nested)
        for hook in ("retry_on_result", "retry_after", "on_discard", "on_retry"):
            checks.hook(hook, getattr(self, hook))
        checks.label("name", self.name)
        refuse_empty("on", self.on)
        object.__setattr__(self, "_matches", compile_condition("on", self.on))
        if self.idempotency is not None and self.max_attempts > 1:
            self.idempotency.require_lookup("Retry")

    def wait(
        self,
        attempt: int,
        *,
        chance: float,
        left: float | None = None,
        retry_after: float | None = None,
        previous: float | None = None,
    ) -> float | None:
        """Seconds to wait after failed attempt ``attempt``, or None for 'give up'.

        Args:
            attempt: which attempt failed, counted from 1.
            chance: a random number in [0, 1).
            left: seconds until the deadline; no wait is begun that would outlast it.
            retry_after: what the server asked for, in seconds; honoured as a minimum.
            previous: the wait before this one, in seconds.
        """
        if attempt >= self.max_attempts:
            return None
        wait = max(self.backoff.delay(attempt, chance, previous), retry_after or 0.0)
        if left is not None and wait >= left:
            return None
        return wait

    def describe(self) -> str:
        """Attempts and waits in one line."""
        waits = [self.backoff.longest(n) for n in range(1, min(self.max_attempts, 6))]
        told = ", ".join(f"{wait:.3g} s" for wait in waits)
        more = ", ..." if self.max_attempts > len(waits) + 1 else ""
        return f"Retry: {self.max_attempts} attempts, waits of at most {told or 'none'}{more}"

    def snapshot(self) -> dict[str, Any]:
        """The state of its budget, if it has one."""
        return {} if self.budget is None else {"budget": self.budget.snapshot()}

    def bound(self, inner: Bound) -> Bound:
        """Every attempt at its worst, and the longest wait after each but the last."""

        def longest(attempt: int) -> float:
            # A server may ask for more than our own waits.
            return max(self.backoff.longest(attempt), self.max_retry_after)

        known = min(self.max_attempts - 1, 1000)
        waits = sum(longest(n) for n in range(1, known + 1))
        waits += (self.max_attempts - 1 - known) * longest(1001)
        return Bound(inner.seconds * self.max_attempts + waits, inner.calls * self.max_attempts)

    @property
    def passes_rejections(self) -> bool:  # type: ignore[override]
        """Whether a rejection from inside is sure not to be repeated."""
        return self.retry_on_result is None and not may_match_rejections(self.on)

    def worth(self, result: Result) -> bool:
        """Whether a result is one this policy would repeat."""
        if type(result) is Err:
            return every_leaf(self._matches, result.error)
        return self.retry_on_result is not None and bool(self.retry_on_result(result.value))

    def attempts(self) -> Attempts:
        """The attempts as a loop, for a block of code instead of a function.

        ::

            for attempt in retry.attempts():          # or: async for
                with attempt:
                    upload(part)
        """
        return Retry.loop_with(self)

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` until it succeeds or is given up."""
        scope, governor, folded = call.scope, call.retrying, call.scope.folds
        governs = self.allow_nested or (governor is None and not folded)
        if not governs and self.idempotency is None:
            return (yield from inner(call))
        if self.idempotency is not None and self.idempotency.key and not call.keyed:
            scope.key, call.keyed = self.idempotency.key(), True
        if governs and self.budget is not None and call.first is None and not call.paid:
            self.budget.deposit()
        call.retrying, scope.folds = governor or self, True
        try:
            return (yield from self._repeat(call, inner, governs=governs))
        finally:
            call.retrying, scope.folds = governor, folded

    def _repeat(self, call: Call, inner: Step, *, governs: bool) -> Flow:
        waited: float | None = None
        for number in itertools.count(1):
            call.scope.attempt = number
            unmeasured = call.unmeasured and number == 1
            began = call.began if call.first is not None else ambient.now()
            result = yield from inner(call)
            worth = self._safely(result, self.worth, result)
            if worth is not True:
                return worth if type(worth) is Err else result
            seconds = None if unmeasured else ambient.now() - began
            found = (yield from self._look_up(call)) if self._ambiguous(result) else None
            if type(found) is Ok:
                return found
            if not governs or (number == 1 and not self.allow_nested and call.governed()):
                # Another retry repeats it, or must not.
                return result if found is None else _not_to_be_repeated(result)
            decided = self._safely(result, self._decide, call, result, number, waited, found)
            if type(decided) is Err:
                return decided
            delay, reason = decided
            attempt = Attempt(number, _told(result), seconds, delay, reason)
            self._tell(call, attempt)
            if delay is None:
                return result
            if type(result) is Ok:
                yield from self._hear(call, self.on_discard, result.value)
            # What failed holds frames, and these hold the buffers of the work.
            del result
            yield from self._hear(call, self.on_retry, attempt)
            if delay > 0:
                yield Sleep(delay)
            waited = delay
        raise AssertionError("counting never ends")  # pragma: no cover

    @staticmethod
    def _safely(result: Result, ask: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or what a predicate or hook of the user's raised, as the call's end."""
        try:
            return ask(*arguments)
        except Exception as bug:  # noqa: BLE001  # failures travel as values
            if type(result) is Err:
                bug.__context__ = result.error
            return Err(bug)

    def _hear(
        self, call: Call, hook: Callable[[Any], Any] | None, told: object
    ) -> Generator[Effect, Any, None]:
        """Tell a hook; that it failed changes nothing, and is said."""
        if hook is not None:
            answer = yield Run(hook, (told,))
            if type(answer) is Err:
                call.say(f"{self.name}: a hook failed: {describe(answer.error)}")

    def _decide(
        self,
        call: Call,
        result: Result,
        number: int,
        previous: float | None,
        unknown: Result | None,
    ) -> tuple[float | None, str]:
        """The wait before the next attempt, or None and why there is none."""
        if type(result) is Err and call.ending(result.error):
            return None, "the caller has asked for the end"
        if call.cut_off:
            return None, "the pipeline is closed"
        if unknown is not None or _must_not_be_repeated(result):
            return None, "nobody can tell whether it took effect"
        if number >= self.max_attempts:
            return None, f"all {self.max_attempts} attempts are used up"
        delay, reason = self._wait_for(call, result, number, previous)
        if delay is not None and self.budget is not None and not self.budget.try_spend():
            if hub.active:
                hub.emit(events.RetrySuppressed(self.name, ambient.now(), number, _told(result)))
            return None, "the retry budget is used up"
        return delay, reason

    def _wait_for(
        self, call: Call, result: Result, number: int, previous: float | None
    ) -> tuple[float | None, str]:
        read = self.retry_after or (lambda told: retry_after_of(told, ambient.wall()))
        asked = read(result.error if type(result) is Err else result.value)
        left = call.left()
        if asked is not None and asked > min(left, self.max_retry_after):
            limit = "the deadline" if asked > left else "max_retry_after"
            return None, f"asked to come back in {asked:.6g} s, which is beyond {limit}"
        delay = self.wait(
            number, chance=ambient.chance(), left=left, retry_after=asked, previous=previous
        )
        if delay is None:
            return None, f"the wait would outlast the deadline in {max(0.0, left):.3g} s"
        return delay, ""

    def _tell(self, call: Call, attempt: Attempt) -> None:
        call.remember(attempt)
        call.say(Told(self.name, attempt))
        if not hub.active:
            return
        now, number, wait = ambient.now(), attempt.number, attempt.waited
        if wait is None:
            hub.emit(events.RetryStopped(self.name, now, number, attempt.reason, attempt.error))
        else:
            hub.emit(events.RetryScheduled(self.name, now, number, wait, attempt.error))

    def _ambiguous(self, result: Result) -> bool:
        """Whether a failed call may have been carried out all the same."""
        if self.idempotency is None or self.idempotency.safe:
            return False
        return type(result) is Ok or not isinstance(result.error, RejectedError)

    def _look_up(self, call: Call) -> Generator[Effect, Any, Result | None]:
        """Ask what became of the call: an `Ok`, None for absent, an `Err` for unknown."""
        policy = self.idempotency
        if policy is None or policy.reconcile is None:
            return Err(LookupError("no reconcile hook"))
        for asked in range(1, self.max_attempts + 1):
            answer = yield Run(policy.reconcile, (call.scope.key,))
            found = answer.value if type(answer) is Ok else Lookup.UNKNOWN
            if isinstance(found, Found):
                call.say(f"{self.name}: the call was found to have been carried out")
                return Ok(found.value)
            if found is Lookup.ABSENT:
                return None
            delay = self.backoff.delay(asked, ambient.chance())
            if asked == self.max_attempts or delay >= call.left():
                break
            yield Sleep(delay)
        return Err(LookupError("unknown"))


_UNKNOWN = "__holdfast_unknown__"


def _not_to_be_repeated(result: Result) -> Result:
    """Mark a failure of which nobody can tell whether it took effect, for retries further out."""
    if type(result) is Err:
        leave_on(result.error, _UNKNOWN, value=True)
    return result


def _must_not_be_repeated(result: Result) -> bool:
    return type(result) is Err and left_on(result.error, _UNKNOWN) is True


def _told(result: Result) -> str:
    if type(result) is Err:
        return describe(result.error)
    return f"the result was not accepted: {type(result.value).__name__}"
