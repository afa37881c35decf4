"""What happens to a call that has failed for good: remembered, mended if it can be, made again.

Three policies, the first and the last at rest while calls succeed:

- `Mending` stands around the retries of one function. Recovery runs before degradation. What was
  recovered is called once more, inside the same deadline, and out of the same budget.
- `Adjusting` stands around it when a call's parameters may be reduced. It goes down from the level
  of the dependency step by step, as far as this call needs, and says what it changed. The level
  itself stays: that one request is too large says nothing about the next.
- `Remembering` stands around everything, and records what nobody else has.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, cast

from holdfast.error_info import ErrorInfo
from holdfast.errors import (
    BadInputError,
    CircuitBreakerOpenError,
    ErrorCategory,
    FallbackChainExhaustedError,
    RejectedError,
    SuggestedRecovery,
)
from holdfast.machines.permits import CircuitState
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.call import Call
from holdfast.policies.effects import Effect, Flow, Run, Step
from holdfast.policies.frames import leave_on, left_on, note, origin, release
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.retry import Retry
from holdfast.system.capture import capture, name_of
from holdfast.system.causes import Cause, noted
from holdfast.system.classification import classify
from holdfast.system.degradation.grades import LEVELS, DegradationLevel
from holdfast.system.recovery import RecoveryContext

if TYPE_CHECKING:
    from holdfast.system.degradation import GracefulDegradation
    from holdfast.system.episode import Episode, Memory
    from holdfast.system.levels import Levels
    from holdfast.system.recovery import Offer, RecoveryProcedure, RecoveryResult

log = logging.getLogger("holdfast.system")

_RECORDED = "__holdfast_recorded__"
_LESS = frozenset(
    {
        SuggestedRecovery.FREE_MEMORY,
        SuggestedRecovery.REDUCE_BATCH,
        SuggestedRecovery.REDUCE_RESOLUTION,
        SuggestedRecovery.TILE_VAE,
        SuggestedRecovery.LOWER_PRECISION,
        SuggestedRecovery.SWITCH_BACKEND,
    }
)
"""Suggestions that asking for less may stand in for, if the error is one of memory."""


class Mending(Policy):
    """Remember a failure, recover from it, and make the call once more."""

    __slots__ = ("_breaker", "_budget", "_cause", "_levels", "_memory", "_recovery", "dependency")
    settings = frozenset({"dependency"})
    idle_on_success = True

    def __init__(
        self,
        dependency: str,
        memory: Memory,
        recovery: RecoveryProcedure | None,
        levels: Levels,
        budget: RetryBudget | None,
        *,
        breaker: CircuitBreaker | None = None,
        cause: Cause | None = None,
    ) -> None:
        self.dependency = dependency
        self._memory = memory
        self._recovery = recovery
        self._levels = levels
        self._budget = budget
        self._breaker = breaker
        self._cause = cause or Cause()

    def flow(self, call: Call, inner: Step) -> Flow:  # noqa: PLR0911  # as many ends as there are
        """Run ``inner``; see to what failed."""
        began = call.began
        call.noted = None
        result = yield from inner(call)
        if type(result) is Ok or call.ending(result.error):
            return result
        episode, cause = self._remember(call, result.error)
        if cause is None:
            return result
        recovered = yield from self._recover(call, result.error, episode, cause, began)
        if recovered is None:
            self._heed(call, episode)
            return result
        if (offer := recovered.changes.offer) is not None:
            return self._offered(call, episode, recovered.strategy, offer)
        self._let_in(call, recovered)
        again = yield from self._again(call, inner, recovered)
        mended = type(again) is Ok
        self._memory.resolve(episode, strategy=recovered.strategy, successful=mended)
        if type(again) is not Err:
            if again is None:
                self._heed(call, episode)
            return again or result
        if isinstance(again.error, CircuitBreakerOpenError):
            # It opened again in the meantime; what really failed is the better answer.
            self._heed(call, episode)
            return result
        if not call.ending(again.error):
            self._heed(call, remember(self._memory, again.error, self.dependency, call))
        return again

    def _remember(self, call: Call, error: Exception) -> tuple[Episode | None, ErrorInfo | None]:
        """Record a failure, and say what is to be mended.

        A refusal is no error of the dependency, and is not recorded as one. If our own breaker
        refused the call, what is to be mended is what opened it: a failure of this very call if
        there was one, and then that is what is recorded.
        """
        if not isinstance(error, RejectedError):
            episode = remember(self._memory, error, self.dependency, call)
            return episode, None if episode is None else episode.info
        if not isinstance(error, CircuitBreakerOpenError) or not self._refused(error):
            return None, None
        if call.noted is None:
            opened_at = -math.inf if self._breaker is None else self._breaker.circuit.opened_at
            return None, self._cause.of_opening(opened_at)
        episode = self._memory.record(call.noted)
        mark(error, episode, call)
        tell(call, episode.info)
        return episode, episode.info

    def _refused(self, error: CircuitBreakerOpenError) -> bool:
        breaker = self._breaker
        return (
            breaker is not None
            and error.name == breaker.name
            and breaker.state in (CircuitState.OPEN, CircuitState.HALF_OPEN)
        )

    def _let_in(self, call: Call, recovered: RecoveryResult) -> None:
        """Close the breaker that the trouble opened: its end has been seen since."""
        breaker = self._breaker
        if (
            breaker is not None
            and breaker.circuit.opened_at <= recovered.verified_at != self._cause.proof
            and breaker.state in (CircuitState.OPEN, CircuitState.HALF_OPEN)
        ):
            self._cause.proof = recovered.verified_at
            breaker.close()
            call.say(f"{breaker.name}: closed, because what opened it is mended")

    def _heed(self, call: Call, episode: Episode | None) -> None:
        if episode is not None:
            scope = None if self._breaker is None else self.dependency
            self._levels.heed(call, episode.info, scope)

    def _recover(
        self, call: Call, error: Exception, episode: Episode | None, cause: ErrorInfo, began: float
    ) -> Generator[Effect, Any, RecoveryResult | None]:
        """Let the strategies try; what came of it, or None if nothing was mended."""
        procedure = self._recovery
        if procedure is None or isinstance(error, BadInputError):
            return None
        if call.left() <= 0 or not procedure.strategies(cause.category):
            return None
        left = call.left()
        context = RecoveryContext(
            self.dependency[:200],
            call.fn,
            call.args,
            call.kwargs,
            deadline=None if left == math.inf else left,
            began=began,
            exception=error,
        )
        place = origin(error)
        # The frames of what failed hold the memory that a recovery may be about to free.
        release(error)
        if place:
            note(error, "holdfast: raised at ", place)
        act = procedure.recover_sync if call.task is None else procedure.recover
        del error
        answer: Result = yield Run(act, (cause, context))
        if type(answer) is Err:
            call.say(f"recovery failed: {describe(answer.error)}")
            return None
        recovered = cast("RecoveryResult", answer.value)
        for tried in recovered.tried:
            call.say(f"recovery: {tried}")
            if tried.ran:
                self._memory.recovery(cause, tried)
        if recovered.success:
            return recovered
        last = next((one.strategy for one in reversed(recovered.tried) if one.ran), "")
        if last:
            self._memory.resolve(episode, strategy=last, successful=False)
        return None

    def _offered(self, call: Call, episode: Episode | None, strategy: str, offer: Offer) -> Ok:
        told = f"recovery {strategy}: {offer.note}"
        call.change(told)
        log.warning("%s: %s", name_of(call.fn), told)
        self._memory.resolve(episode, strategy=strategy, successful=True)
        return Ok(offer.value)

    def _again(
        self, call: Call, inner: Step, recovered: RecoveryResult
    ) -> Generator[Effect, Any, Result | None]:
        """Make the call once more, with what the recovery changed; None if it may not be."""
        if call.left() <= 0:
            call.say("recovered, but no time is left to make the call again")
            return None
        if self._budget is not None and not self._budget.try_spend():
            call.say("recovered, but the retry budget is used up")
            return None
        before = call.fn, call.args, call.kwargs, call.retrying
        for told in recovered.notes:
            if recovered.changes:
                call.change(f"recovery {recovered.strategy}: {told}")
            else:
                call.say(f"recovery {recovered.strategy}: {told}")
        if recovered.changes:
            log.warning(
                "%s: called again, changed by %s: %s",
                name_of(call.fn),
                recovered.strategy,
                "; ".join(recovered.notes),
            )
        call.fn, call.args, call.kwargs = recovered.changes.retry_of(*before[:3])
        # A retry inside folds into this one call.
        call.retrying = _ONCE
        try:
            return (yield from inner(call))
        finally:
            call.fn, call.args, call.kwargs, call.retrying = before

    def bound(self, inner: Bound) -> Bound:
        """One more call after a recovery, whose own time nobody knows."""
        return inner if self._recovery is None else Bound(math.inf, inner.calls + 1)

    def describe(self) -> str:
        """In one line."""
        return f"Mending of {self.dependency!r}: remember, recover, call once more"


class Adjusting(Policy):
    """Call with parameters that suit the level, and with less when memory was short."""

    __slots__ = ("_degradation", "_memory", "most", "scope")
    settings = frozenset({"most", "scope"})

    def __init__(
        self, scope: str, degradation: GracefulDegradation, memory: Memory, most: int
    ) -> None:
        self.scope = scope
        self.most = most
        self._degradation = degradation
        self._memory = memory

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` with the parameters of the level; go down as far as needed."""
        args, kwargs = call.args, call.kwargs
        asked = _parameters(args, kwargs)
        level = self._degradation.level(self.scope)
        try:
            used, changes = self._adjust(call, args, kwargs, asked, level)
            result = yield from inner(call)
            for _ in range(self.most):
                if type(result) is Ok or call.ending(result.error) or call.left() <= 0:
                    break
                if not _less_may_help(result.error, call):
                    break
                episode, before = _episode(result.error, call), used
                while used == before and level is not LEVELS[-1]:
                    level = LEVELS[LEVELS.index(level) + 1]
                    used, changes = self._adjust(call, args, kwargs, asked, level)
                if used == before:
                    break
                release(result.error)
                result = yield from inner(call)
                if episode is not None:
                    good = type(result) is Ok
                    self._memory.resolve(episode, strategy="degradation", successful=good)
            if type(result) is Ok:
                call.changes.extend(changes)
            return result
        finally:
            call.args, call.kwargs = args, kwargs

    def _adjust(
        self,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        asked: Mapping[str, Any],
        level: DegradationLevel,
    ) -> tuple[dict[str, Any], list[str]]:
        """Put a level's parameters in place; what they are, and what was changed, in words."""
        told = self._degradation.adjust_parameters(asked, level=level)
        call.args, call.kwargs = _with(args, kwargs, told)
        changes = [
            f"degradation ({told.level}): {one.key} {one.before!r:.100} to {one.after!r:.100}"
            for one in told.changes
        ]
        for change in changes:
            call.say(change)
            log.warning("%s: %s", name_of(call.fn), change)
        for left in told.skipped:
            call.say(f"degradation ({told.level}): {left.key} left as it is: {left.reason}")
        return dict(told), changes

    def bound(self, inner: Bound) -> Bound:
        """A further call for each level."""
        return Bound(inner.seconds * (self.most + 1), inner.calls * (self.most + 1))

    def describe(self) -> str:
        """In one line."""
        return f"Adjusting of {self.scope!r}: parameters by level, at most {self.most} steps"


class Remembering(Policy):
    """Record what nobody else has, and count how calls end."""

    __slots__ = ("_memory", "dependency")
    settings = frozenset({"dependency"})
    idle_on_success = True

    def __init__(self, dependency: str, memory: Memory) -> None:
        self.dependency = dependency
        self._memory = memory

    def flow(self, call: Call, inner: Step) -> Flow:
        """Run ``inner`` and remember its failure."""
        operation = name_of(call.fn)
        result = yield from inner(call)
        counts = self._memory.count(operation)
        counts.retried += max(0, call.attempts - 1)
        if type(result) is Ok:
            return result
        error = result.error
        if isinstance(error, RejectedError):
            counts.rejected += 1
            return result
        counts.failed += 1
        if call.ending(error):
            return result
        inside = error.errors.values() if isinstance(error, FallbackChainExhaustedError) else ()
        for one in inside or (error,):
            remember(self._memory, one, self.dependency, call)
        return result

    def describe(self) -> str:
        """In one line."""
        return "Remembering: failures are classified and recorded"


_ONCE = Retry(max_attempts=1)
"""Stands for the retry that governs a call made again after a recovery."""


def remember(memory: Memory, error: BaseException, dependency: str, call: Call) -> Episode | None:
    """Record an error, once for each call however often it passes there; None for a refusal."""
    if isinstance(error, RejectedError):
        return None
    known = _episode(error, call)
    if known is not None:
        return known
    told = noted(error, call)
    if told is None:
        told = capture(error, dependency=dependency, operation=name_of(call.fn))
    episode = memory.record(told)
    mark(error, episode, call)
    tell(call, told)
    return episode


def mark(error: BaseException, episode: Episode, call: Call) -> None:
    """Leave on an error that it is recorded for this call."""
    # The history is the same list in all branches of a call.
    leave_on(error, _RECORDED, (episode, call.history))


def tell(call: Call, told: ErrorInfo) -> None:
    """Say in the story of a call what an error means."""
    call.say(
        f"{told.error_type}: {told.category}, {told.severity}, "
        f"{'transient' if told.transient else 'lasting'}, best mended by "
        f"{told.suggested_recovery}: {told.reason}"
    )


def _episode(error: BaseException, call: Call) -> Episode | None:
    episode, history = left_on(error, _RECORDED, (None, None))
    return episode if history is call.history else None


def _less_may_help(error: BaseException, call: Call) -> bool:
    known = _episode(error, call)
    told = classify(error) if known is None else known.info
    return told.category is ErrorCategory.MEMORY and told.suggested_recovery in _LESS


def _parameters(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What may be adjusted: the keyword arguments, and a first argument that is a table."""
    first = dict(args[0]) if args and isinstance(args[0], Mapping) else {}
    return first | dict(kwargs)


def _with(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], told: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with what was adjusted in its old place."""
    if args and isinstance(args[0], Mapping):
        first = {key: told.get(key, value) for key, value in args[0].items()}
        args = (first, *args[1:])
    return args, {key: told[key] for key in kwargs}
