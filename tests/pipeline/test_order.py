"""Senseless orders are refused and say why; sensible ones, however unusual, are not."""

from __future__ import annotations

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    ErrorCategory,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.errors import BadInputError
from holdfast.policies.cache import Cache
from holdfast.policies.chaos import Chaos
from holdfast.policies.hedge import Hedge


def chaos():
    return Chaos.fault(ConnectionError, rate=0.5)


SENSELESS = {
    "attempt as long as the total": (
        lambda: (Timeout(10), Retry(), Timeout(10)),
        r"retries can never happen: the total timeout \(10 s\) must be above .* \(10 s\)",
    ),
    "attempt longer than the total": (
        lambda: (Timeout(10), Retry(), Timeout(60)),
        "retries can never happen",
    ),
    "attempt as long as the total, with others in between": (
        lambda: (Timeout(10), Retry(), CircuitBreaker("x"), Bulkhead(3), Timeout(10)),
        "retries can never happen",
    ),
    "attempt as long as the total, the total set twice": (
        lambda: (Timeout(60), Timeout(10), Retry(), Timeout(10)),
        "retries can never happen",
    ),
    "first wait as long as the total": (
        lambda: (Timeout(10), Retry(backoff=Backoff.fixed(10))),
        "the first wait is at least 10 s, and the timeout around them ends everything after 10 s",
    ),
    "first wait, at its shortest, as long as the total": (
        lambda: (Timeout(0.75), Retry(backoff=Backoff.exponential(initial=1, jitter=0.25))),
        "the first wait is at least 0.75 s",
    ),
    "inner timeout longer than the outer": (
        lambda: (Timeout(10), Timeout(11)),
        r"the inner timeout \(11 s\) never applies",
    ),
    "idle timeout longer than the outer": (
        lambda: (Timeout(10), Timeout(idle=10)),
        r"the idle timeout \(10 s\) never applies",
    ),
    "fallback inside a retry": (
        lambda: (Retry(), Fallback([])),
        "retries can never happen: the Fallback inside the Retry",
    ),
    "fallback deep inside a retry": (
        lambda: (Retry(), Bulkhead(3), Timeout(5), Fallback(None)),
        "retries can never happen: the Fallback inside the Retry",
    ),
    "fallback for just what the retry repeats": (
        lambda: (Retry(on=(ConnectionError, TimeoutError)), Fallback(0, on=OSError)),
        "retries can never happen: the Fallback inside the Retry",
    ),
    "fallback for everything inside a retry with a predicate": (
        lambda: (Retry(on=lambda error: True), Fallback(0)),
        "retries can never happen: the Fallback inside the Retry",
    ),
    "fallback inside a breaker": (
        lambda: (CircuitBreaker("db"), Fallback([])),
        "the circuit breaker 'db' can never open",
    ),
    "fallback inside a hedge": (
        lambda: (Hedge(after=1.0), Fallback([])),
        "the Fallback inside the Hedge would win the race",
    ),
    "cache inside a breaker": (
        lambda: (CircuitBreaker("db"), Cache(60)),
        "a cached result counts as a success",
    ),
    "cache inside a hedge": (
        lambda: (Hedge(after=1.0), Cache(60)),
        "the Cache must stand outside the Hedge",
    ),
    "stale cache inside a retry": (
        lambda: (Retry(), Cache(60, stale_if_error=600)),
        "a stale result takes the place of the first failure",
    ),
    "chaos outside a retry": (lambda: (chaos(), Retry()), "Chaos must be innermost"),
    "chaos outside a timeout": (
        lambda: (Retry(), chaos(), Timeout(5)),
        "would bypass the Timeout inside it",
    ),
    "hedge that waits for longer than an attempt may take": (
        lambda: (Hedge(after=10.0), Timeout(10)),
        "a hedge can never start: the Hedge waits 10 s, and the timeout inside it",
    ),
    "hedge that waits for longer than an attempt may take, with others in between": (
        lambda: (Hedge(after=11), CircuitBreaker("x"), Bulkhead(3), Timeout(10)),
        "a hedge can never start",
    ),
    "hedge that waits for longer than all may take": (
        lambda: (Timeout(10), Hedge(after=10.0)),
        "a hedge can never start: the Hedge waits 10 s, and the timeout around it",
    ),
}


@pytest.mark.parametrize(("policies", "told"), SENSELESS.values(), ids=SENSELESS)
def test_a_senseless_order_is_an_error_that_says_so(policies, told):
    with pytest.raises(BadInputError, match=told):
        Pipeline(*policies())


@pytest.mark.parametrize(
    "policy",
    [CircuitBreaker("x"), Bulkhead(3), Cache(60), Hedge(after=1.0), chaos()],
    ids=lambda policy: type(policy).__name__,
)
def test_the_same_state_twice_is_refused(policy):
    with pytest.raises(BadInputError, match="must not contain the same object twice"):
        Pipeline(policy, policy)


@pytest.mark.parametrize("what", [None, 3, "retry", Retry, lambda: None])
def test_what_is_no_policy_is_refused(what):
    with pytest.raises(BadInputError, match="policies must be policies of holdfast"):
        Pipeline(Retry(), what)


def test_a_pipeline_inside_a_pipeline_is_looked_at_as_one():
    inner = Pipeline(Retry(), Timeout(10))
    with pytest.raises(BadInputError, match="retries can never happen"):
        Pipeline(Timeout(10), inner)


SENSIBLE = {
    "nothing": lambda: (),
    "the usual five": lambda: (
        Fallback([]), Timeout(60), Retry(), CircuitBreaker("x"), Bulkhead(3), Timeout(10),
    ),
    "two retries, of which the inner folds": lambda: (Retry(), Retry()),
    "two breakers": lambda: (CircuitBreaker("zone"), CircuitBreaker("server")),
    "equal but separate state": lambda: (Bulkhead(3), Bulkhead(3)),
    "one retry object twice": lambda: (Retry(),) * 2,
    "a retry of one attempt decides nothing": lambda: (
        Timeout(10), Retry(max_attempts=1), Timeout(10),
    ),
    "the attempt just below the total": lambda: (Timeout(10), Retry(), Timeout(9.99)),
    "a timeout of the same length without a retry": lambda: (Timeout(10), Timeout(10)),
    "a retry outside the total": lambda: (Retry(), Timeout(60), Retry(), Timeout(10)),
    "an attempt longer than the one inside it": lambda: (Retry(), Timeout(10), Timeout(5)),
    "a first wait that can be short": lambda: (
        Timeout(10), Retry(backoff=Backoff.exponential(initial=10, jitter="full")),
    ),
    "a retry around a breaker, and within it": lambda: (Retry(), CircuitBreaker("x"), Retry()),
    "the same limit of an attempt twice": lambda: (
        Timeout(60), Retry(), Timeout(10), Timeout(10),
    ),
    "a fallback inside a retry of one attempt": lambda: (Retry(max_attempts=1), Fallback(0)),
    "a fallback that may fail itself": lambda: (Retry(), Fallback(lambda error: 1 / 0)),
    "a fallback for something else": lambda: (Retry(on=OSError), Fallback(0, on=KeyError)),
    "a fallback for some of it": lambda: (Retry(on=(OSError, KeyError)), Fallback(0, on=KeyError)),
    "a fallback by category": lambda: (Retry(), Fallback(0, on=ErrorCategory.NETWORK)),
    "a fallback by predicate": lambda: (Retry(), Fallback(0, on=lambda error: True)),
    "a fallback for one kind inside a breaker": lambda: (
        CircuitBreaker("x"), Fallback(0, on=KeyError),
    ),
    "a fallback whose value the retry repeats": lambda: (
        Retry(retry_on_result=lambda value: value is None), Fallback(None),
    ),
    "a fallback whose value the breaker counts": lambda: (
        CircuitBreaker("x", failure_on_result=lambda value: value is None), Fallback(None),
    ),
    "a fallback outside": lambda: (Fallback(0), Hedge(after=1.0), Retry()),
    "a cache outside": lambda: (
        Cache(60, stale_if_error=600), Retry(), Hedge(after=1.0), CircuitBreaker("x"),
    ),
    "a cache of fresh results inside a retry": lambda: (Retry(), Cache(60)),
    "limits inside a hedge": lambda: (Hedge(after=1.0), CircuitBreaker("x"), Bulkhead(3)),
    "a learned hedge": lambda: (Timeout(10), Hedge(after="p95"), Timeout(5)),
    "a hedge in time": lambda: (Timeout(10), Hedge(after=4.9), Timeout(5)),
    "chaos innermost": lambda: (Retry(), Timeout(5), chaos()),
    "several kinds of chaos": lambda: (Retry(), chaos(), Chaos.latency(1.0, rate=0.1)),
}  # fmt: skip


@pytest.mark.parametrize("policies", SENSIBLE.values(), ids=SENSIBLE)
def test_a_sensible_order_is_allowed(policies):
    made = policies()
    assert Pipeline(*made).policies == made
