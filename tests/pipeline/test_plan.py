"""Which pipelines have a hot path, and what it knows."""

from __future__ import annotations

import pytest

from holdfast.pipeline.plan import plan
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.idempotency import Idempotency
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout


def test_the_five_classic_policies_have_one():
    breaker, bulkhead, budget = CircuitBreaker(), Bulkhead(3), RetryBudget()
    known = plan([Timeout(30), Retry(budget=budget), breaker, bulkhead, Timeout(5)])
    assert known is not None
    assert known.door is breaker.circuit.door
    assert (known.breaker, known.bulkhead, known.budget) == (breaker, bulkhead, budget)
    assert (known.limit, known.retries) == (5.0, True)


def test_without_policies_of_a_kind_there_is_nothing_to_look_at():
    known = plan([])
    assert known is not None
    assert known.door.quiet is not None
    assert (known.breaker, known.bulkhead, known.budget) == (None, None, None)
    assert (known.limit, known.retries) == (None, False)


class Other(Policy):
    """A policy nobody knows."""


@pytest.mark.parametrize(
    "policies",
    [
        [Timeout(idle=5)],
        [Timeout(30, idle=5)],
        [Timeout(5, thread=True)],
        [Retry(retry_on_result=bool)],
        [Retry(idempotency=Idempotency())],
        [CircuitBreaker(failure_on_result=bool)],
        [CircuitBreaker("a"), CircuitBreaker("b")],
        [Bulkhead(1, name="a"), Bulkhead(2, name="b")],
        [Fallback(1, on_result=bool)],
        [Retry(budget=RetryBudget()), Retry(budget=RetryBudget())],
        [Other()],
        [Retry(), Other()],
    ],
)
def test_a_policy_that_always_has_something_to_do_has_none(policies):
    assert plan(policies) is None
