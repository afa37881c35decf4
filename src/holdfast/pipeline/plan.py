"""Which pipelines have a hot path, and what that needs to know.

A pipeline of policies that have nothing to do while all is well can be run as
one function: look whether each is quiet, call, look again. The order of the
policies does not matter then, because none of them acts. As soon as one has to
act, the flows take over, and the order is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.machines.circuit import Door
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.policy import Policy
from holdfast.policies.rate_limit import RateLimiter
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout


@dataclass(slots=True, eq=False, repr=False)
class Plan:
    """What the hot path looks at."""

    door: Door
    """That of the breaker's circuit, or one that is always open."""
    breaker: CircuitBreaker | None
    bulkhead: Bulkhead | None
    limiter: RateLimiter | None
    budget: RetryBudget | None
    limit: float | None
    """The shortest time limit, in seconds."""
    retries: bool
    """Whether retries inside have to fold."""


def plan(policies: Sequence[Policy]) -> Plan | None:
    """The plan of a hot path, or None if some policy always has something to do."""
    breaker: CircuitBreaker | None = None
    bulkhead: Bulkhead | None = None
    limiter: RateLimiter | None = None
    budgets: list[RetryBudget] = []
    limits: list[float] = []
    retries = False
    for policy in policies:
        match policy:
            case Timeout(seconds=float() | int() as seconds, idle=None, thread=False):
                limits.append(float(seconds))
            case Retry(idempotency=None, retry_on_result=None):
                retries = True
                if policy.budget is not None:
                    budgets.append(policy.budget)
            case CircuitBreaker() if breaker is None and policy.plain:
                breaker = policy
            case Bulkhead() if bulkhead is None:
                bulkhead = policy
            case RateLimiter() if limiter is None:
                limiter = policy
            case Fallback(on_result=None) | Policy(idle_on_success=True):
                pass
            case _:
                return None
    if len(budgets) > 1:
        return None
    return Plan(
        door=Door(0, 0) if breaker is None else breaker.circuit.door,
        breaker=breaker,
        bulkhead=bulkhead,
        limiter=limiter,
        budget=budgets[0] if budgets else None,
        limit=min(limits) if limits else None,
        retries=retries,
    )
