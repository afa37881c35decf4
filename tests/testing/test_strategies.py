"""The strategies make only what Holdfast accepts, and more than one kind of it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from holdfast import Backoff, CircuitBreaker, Pipeline, Retry
from holdfast.errors import BadInputError
from holdfast.testing import FakeClock, strategies

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(strategies.backoffs(longest=20.0))
def test_backoffs_stay_below_their_longest_wait(backoff):
    assert isinstance(backoff, Backoff)
    for attempt in (1, 2, 10):
        assert 0 <= backoff.delay(attempt, 0.99, 1.0) <= 20.0


@few
@given(strategies.retries(most_attempts=4, budget=False))
def test_retries_stay_below_their_attempts(retry):
    assert isinstance(retry, Retry)
    assert 1 <= retry.max_attempts <= 4
    assert retry.budget is None


@few
@given(strategies.breakers())
def test_breakers_begin_closed(breaker):
    assert isinstance(breaker, CircuitBreaker)
    assert breaker.state == "closed"
    assert breaker.can_execute()


@pytest.mark.parametrize(
    "wanted",
    [
        lambda p: len(p.policies) == 6,
        lambda p: not p.policies,
        lambda p: any(isinstance(policy, Retry) and policy.budget for policy in p.policies),
    ],
)
def test_pipelines_come_full_and_empty(wanted):
    quick = settings(max_examples=5000, deadline=None, phases=[Phase.generate])
    assert isinstance(find(strategies.pipelines(), wanted, settings=quick), Pipeline)


@few
@given(strategies.pipelines(), strategies.scenarios(longest=20.0))
def test_any_pipeline_over_any_dependency_comes_to_an_end(pipeline, dependency):
    # The property users will write first: it always ends, and never in a mistake of ours.
    with FakeClock() as clock:
        outcome = pipeline.call_outcome(dependency)
        assert outcome.ok or not isinstance(outcome.error, BadInputError)
        assert outcome.attempts == dependency.count <= 4
        clock.run(pipeline.outcome(dependency.async_call))
    assert dependency.running == 0


@few
@given(strategies.scripts(hangs=True, most=3))
def test_scripts_are_never_empty(script):
    assert 1 <= len(script) <= 3


def test_without_hypothesis_a_strategy_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(ImportError, match="needs the package hypothesis"):
        strategies.retries()
