"""Orders of policies that cannot do what they are for, refused when a pipeline is built.

Refused is only what can never do its work, or does the opposite of it; what is
merely unusual is allowed. Two retries are allowed: the inner one folds.

Policies other than the most used ones are known here by the name of their class,
so that building a pipeline imports none that it does not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.errors import BadInputError
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.fallback import Fallback
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout


def check(policies: Sequence[Policy]) -> None:
    """Refuse a senseless order.

    Raises:
        BadInputError: saying which policies, and why.
    """
    for policy in policies:
        if not isinstance(policy, Policy):
            raise BadInputError(f"policies must be policies of holdfast, got {policy!r:.100}")
    _check_twice(policies)
    _check_times(policies)
    for outer, inner in _pairs(policies):
        _check_substitute(outer, inner)
        _check_cache(outer, inner)
        _check_chaos(outer, inner)
        _check_hedge(outer, inner)


def _check_twice(policies: Sequence[Policy]) -> None:
    """The same state asked twice in one call."""
    seen: set[int] = set()
    for policy in policies:
        if id(policy) in seen and not isinstance(policy, Retry | Timeout | Fallback):
            raise BadInputError(
                f"policies must not contain the same object twice: each call would pass it "
                f"twice, and count twice: {policy!r:.200}"
            )
        seen.add(id(policy))


@dataclass(slots=True)
class _Limit:
    """The tightest time limit around what is looked at."""

    seconds: float = math.inf
    retried: bool = False
    """Whether a retry lies between the limit and here."""


def _check_times(policies: Sequence[Policy]) -> None:
    """Time limits within time limits, and retries that have no time."""
    limit = _Limit()
    for policy in policies:
        if isinstance(policy, Retry) and policy.max_attempts > 1:
            limit.retried = True
            least = policy.backoff.least(1)
            if least >= limit.seconds:
                raise BadInputError(
                    f"retries can never happen: the first wait is at least {least:g} s, and "
                    f"the timeout around them ends everything after {limit.seconds:g} s"
                )
        if isinstance(policy, Timeout):
            _check_limit(policy, limit)
            if policy.seconds is not None:
                limit = _Limit(policy.seconds)


def _check_limit(policy: Timeout, around: _Limit) -> None:
    seconds = policy.seconds
    if seconds is not None and around.retried and seconds >= around.seconds:
        raise BadInputError(
            f"retries can never happen: the total timeout ({around.seconds:g} s) must "
            f"be above the attempt timeout ({seconds:g} s)"
        )
    if seconds is not None and seconds > around.seconds:
        raise BadInputError(
            f"the inner timeout ({seconds:g} s) never applies: the one around "
            f"it ends everything after {around.seconds:g} s"
        )
    if policy.idle is not None and policy.idle >= around.seconds:
        raise BadInputError(
            f"the idle timeout ({policy.idle:g} s) never applies: the timeout around "
            f"it ends everything after {around.seconds:g} s"
        )


def _check_substitute(outer: Policy, inner: Policy) -> None:
    """A fallback inside what would have acted on the failure."""
    if not isinstance(inner, Fallback) or not _swallows(inner):
        return
    if isinstance(outer, Retry):
        if outer.max_attempts > 1 and outer.retry_on_result is None and _covers(inner, outer.on):
            raise BadInputError(
                "retries can never happen: the Fallback inside the Retry turns every failure it "
                "would repeat into a result; put the Fallback outside"
            )
    elif isinstance(outer, CircuitBreaker):
        if outer.plain and _covers(inner, Exception):
            raise BadInputError(
                f"the circuit breaker {outer.name!r} can never open: the Fallback inside it turns "
                "every failure into a result; put the Fallback outside"
            )
    elif _is(outer, "Hedge") and _covers(inner, Exception):
        raise BadInputError(
            "the Fallback inside the Hedge would win the race for the first call that fails, "
            "while another is still running; put the Fallback outside"
        )


def _swallows(fallback: Fallback) -> bool:
    # A function may fail in its turn, and then there is a failure for others to act on.
    return not callable(fallback.value)


def _covers(fallback: Fallback, condition: Any) -> bool:
    """Whether the fallback replaces each failure that meets ``condition``, so far as types tell."""
    handled = tuple(_types(fallback.on))
    if Exception in handled:
        return True
    parts = tuple(condition) if isinstance(condition, list | tuple | set | frozenset) else None
    wanted = (condition,) if parts is None else parts
    return bool(wanted) and all(
        isinstance(part, type) and issubclass(part, handled) for part in wanted
    )


def _types(condition: Any) -> Iterator[type[BaseException]]:
    parts = condition if isinstance(condition, list | tuple | set | frozenset) else (condition,)
    return (part for part in parts if isinstance(part, type))


def _check_cache(outer: Policy, inner: Policy) -> None:
    """A cache inside what its results would deceive."""
    if not _is(inner, "Cache"):
        return
    if isinstance(outer, CircuitBreaker):
        raise BadInputError(
            f"the Cache must stand outside the circuit breaker {outer.name!r}: inside it, a "
            "cached result counts as a success of the dependency, and closes the circuit"
        )
    if _is(outer, "Hedge"):
        raise BadInputError(
            "the Cache must stand outside the Hedge: inside it, the second call finds "
            "the first one under way and waits for it"
        )
    if isinstance(outer, Retry) and getattr(inner, "stale_if_error", None) is not None:
        raise BadInputError(
            "the Cache with stale_if_error must stand outside the Retry: inside it, a stale "
            "result takes the place of the first failure, and nothing is repeated"
        )


def _check_chaos(outer: Policy, inner: Policy) -> None:
    """Chaos plays the dependency, so nothing but more chaos may stand inside it."""
    if _is(outer, "Chaos") and not _is(inner, "Chaos"):
        raise BadInputError(
            f"Chaos must be innermost: what it injects would bypass the {type(inner).__name__} "
            "inside it, and prove nothing about it"
        )


def _check_hedge(outer: Policy, inner: Policy) -> None:
    """A hedge that starts when all is over."""
    hedge, limit = (outer, inner) if _is(outer, "Hedge") else (inner, outer)
    if not _is(hedge, "Hedge") or not isinstance(limit, Timeout) or limit.seconds is None:
        return
    after = getattr(hedge, "after", None)
    if isinstance(after, int | float) and after >= limit.seconds:
        where = "inside" if hedge is outer else "around"
        raise BadInputError(
            f"a hedge can never start: the Hedge waits {after:g} s, and the timeout {where} it "
            f"ends the call after {limit.seconds:g} s"
        )


def _pairs(policies: Sequence[Policy]) -> Iterator[tuple[Policy, Policy]]:
    """Each policy with each one inside it."""
    for index, outer in enumerate(policies):
        for inner in policies[index + 1 :]:
            yield outer, inner


def _is(policy: Policy, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.startswith("holdfast.policies.")
        for kind in type(policy).__mro__
    )


def acting(policies: Sequence[Policy]) -> list[Policy]:
    """In place of each named pipeline, however deep, the policies that it has at this moment."""
    found: list[Policy] = []
    for policy in policies:
        inside: Sequence[Policy] | None = getattr(policy, "policies", None)
        found += [policy] if inside is None else acting(inside)
    return found


def worst_case(policies: Sequence[Policy], inner: Bound | None = None) -> Bound:
    """How long policies around what has the worst case ``inner`` can take, and how many calls."""
    worst, all_of_them = inner or Bound(), acting(policies)
    for number, policy in reversed(list(enumerate(all_of_them))):
        if not _folded(policy, all_of_them[:number]):
            worst = policy.bound(worst)
    return worst


def _folded(policy: Policy, around: Sequence[Policy]) -> bool:
    """Whether a retry is governed by another one around it, and so repeats nothing."""
    return (
        isinstance(policy, Retry)
        and not policy.allow_nested
        and any(isinstance(outer, Retry) for outer in around)
    )
