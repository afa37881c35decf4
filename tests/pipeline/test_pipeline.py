"""The front door: decorating, calling, outcomes, looking at it."""

from __future__ import annotations

import functools
import inspect

import pytest

from holdfast.errors import BadInputError, CircuitBreakerOpenError
from holdfast.outcome import report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock

STEADY = Backoff.fixed(1.0)


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


class Flaky:
    """Fails twice, then works; can be called in every way Python knows."""

    def __init__(self) -> None:
        self.calls = 0

    def sync(self, value: str = "done") -> str:
        self.calls += 1
        if self.calls < 3:
            raise ConnectionError(f"failure {self.calls}")
        return value

    async def asynchronous(self, value: str = "done") -> str:
        return self.sync(value)

    async def __call__(self, value: str = "done") -> str:
        return self.sync(value)


@pytest.mark.parametrize("name", ["", "  ", 7, "x" * 201])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(BadInputError, match="name must be a text"):
        Pipeline(Retry(), name=name)


@pytest.mark.parametrize("bad", [None, 7, "retry", Retry, Backoff()])
def test_what_is_no_policy_is_refused(bad):
    with pytest.raises(BadInputError, match="policies must be policies of holdfast, got "):
        Pipeline(Retry(), bad)


@pytest.mark.parametrize("fn", [None, 7, "fn"])
def test_what_cannot_be_called_cannot_be_decorated(fn):
    with pytest.raises(BadInputError, match="fn must be a function, got "):
        Pipeline(Retry())(fn)


def test_a_pipeline_in_a_pipeline_stands_for_its_policies():
    inner = Pipeline(Retry(), Timeout(5.0))
    outer = Pipeline(Timeout(60.0), inner)
    assert outer.policies == (Timeout(60.0), Retry(), Timeout(5.0))


def test_without_policies_it_just_calls(clock):
    assert Pipeline().call(lambda: 7) == 7
    assert clock.run(Pipeline().execute(lambda: 7)) == 7


def test_a_decorated_function_keeps_its_name_signature_and_colour():
    def sync(a: int, *, b: str = "x") -> str:
        """What it does."""
        return f"{a}{b}"

    async def asynchronous() -> None:
        """Does nothing."""

    decorated = Pipeline(Retry())(sync)
    assert (decorated.__name__, decorated.__doc__) == ("sync", "What it does.")
    assert inspect.signature(decorated) == inspect.signature(sync)
    assert decorated(1, b="y") == "1y"
    assert inspect.iscoroutinefunction(Pipeline(Retry())(asynchronous))
    assert not inspect.iscoroutinefunction(decorated)


WAYS = {
    "bound method": lambda flaky: flaky.asynchronous,
    "callable object": lambda flaky: flaky,
    "partial": lambda flaky: functools.partial(flaky.asynchronous, "done"),
    "partial of an object": lambda flaky: functools.partial(flaky, value="done"),
    "lambda with a coroutine": lambda flaky: lambda: flaky.asynchronous(),  # noqa: PLW0108  # a lambda is what is tested
    "sync method": lambda flaky: flaky.sync,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policies", [(Retry(3, STEADY),), (Retry(3, STEADY, on_retry=print),)])
def test_every_kind_of_callable_gets_its_attempts(clock, way, policies):
    flaky = Flaky()
    assert clock.run(Pipeline(*policies).execute(WAYS[way](flaky))) == "done"
    assert flaky.calls == 3


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_callable_gets_its_attempts_when_decorated(clock, way):
    flaky = Flaky()
    result = Pipeline(Retry(3, STEADY))(WAYS[way](flaky))()
    assert (result if isinstance(result, str) else clock.run(result)) == "done"
    assert flaky.calls == 3


@pytest.mark.parametrize("method", ["call", "call_outcome"])
def test_an_async_function_cannot_be_called_as_a_sync_one(method):
    bulkhead = Bulkhead(1)
    pipeline = Pipeline(Retry(), bulkhead)
    right = {"call": "execute", "call_outcome": "outcome"}[method]
    with pytest.raises(BadInputError, match=rf"is async: use `await pipeline.{right}\(...\)`"):
        getattr(pipeline, method)(Flaky().asynchronous)
    assert bulkhead.running == 0
    assert pipeline.in_flight == 0


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_outcome_tells_of_a_success_and_how_it_came_about(clock, colour):
    flaky, pipeline = Flaky(), Pipeline(Retry(3, STEADY))
    if colour == "sync":
        outcome = pipeline.call_outcome(flaky.sync)
    else:
        outcome = clock.run(pipeline.outcome(flaky.asynchronous))
    assert (outcome.ok, outcome.unwrap(), outcome.attempts) == (True, "done", 3)
    assert outcome.elapsed == 2.0
    assert [a.error for a in outcome.history] == [
        "ConnectionError: failure 1",
        "ConnectionError: failure 2",
    ]
    assert len(outcome.steps) == 2


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_outcome_tells_of_a_failure_and_does_not_raise_it(clock, colour):
    flaky, pipeline = Flaky(), Pipeline(Retry(2, STEADY))
    if colour == "sync":
        outcome = pipeline.call_outcome(flaky.sync)
    else:
        outcome = clock.run(pipeline.outcome(flaky.asynchronous))
    assert (outcome.ok, outcome.value, outcome.attempts) == (False, None, 2)
    assert type(outcome.error) is ConnectionError
    assert [a.number for a in outcome.history] == [1, 2]
    with pytest.raises(ConnectionError, match="failure 2"):
        outcome.unwrap()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_outcome_of_a_refused_call_never_ran(clock, colour):
    breaker = CircuitBreaker("api")
    breaker.trip()
    ran = []
    pipeline = Pipeline(Timeout(9.0), Retry(3, STEADY), breaker)
    if colour == "sync":
        outcome = pipeline.call_outcome(ran.append, 1)
    else:
        outcome = clock.run(pipeline.outcome(ran.append, 1))
    assert (outcome.attempts, ran) == (0, [])
    assert type(outcome.error) is CircuitBreakerOpenError


@pytest.mark.parametrize("policy", [Fallback("plan B"), Retry(2, STEADY, on=Exception)])
def test_a_policy_that_acts_on_rejections_hears_of_them_in_outcomes_too(clock, policy):
    breaker = CircuitBreaker("api", timeout=5.0, timeout_jitter=0.0)
    breaker.trip()
    assert Pipeline(policy, breaker).call_outcome(lambda: "plan B").unwrap() == "plan B"


def test_every_policy_can_be_used_alone(clock):
    flaky = Flaky()
    assert Retry(3, STEADY).call(flaky.sync, value="x") == "x"
    assert clock.run(Timeout(5.0).execute(flaky.asynchronous, "y")) == "y"
    assert Bulkhead(1)(flaky.sync)("z") == "z"
    assert Fallback(0).call_outcome(lambda: 1 / 0).unwrap() == 0
    assert clock.run(CircuitBreaker().outcome(flaky)).unwrap() == "done"


def test_arguments_named_like_ours_reach_the_function(clock):
    def echo(**kwargs):
        return kwargs

    names = {"self": 1, "fn": 2, "name": 3, "args": 4, "limit": 5}
    pipeline = Pipeline(Retry())
    assert pipeline(echo)(**names) == names
    assert pipeline.call(echo, fn=2, name=3) == {"fn": 2, "name": 3}
    assert clock.run(pipeline.execute(echo, fn=2)) == {"fn": 2}


def test_the_last_error_is_the_functions_own_with_its_story():
    with pytest.raises(ConnectionError, match="failure 2") as raised:
        Pipeline(Retry(2, STEADY), name="upload").call(Flaky().sync)
    assert [note.split(":")[0] for note in raised.value.__notes__] == ["holdfast upload"] * 2
    assert len(report_of(raised.value).history) == 2


def test_it_explains_its_order_and_the_worst_case():
    pipeline = Pipeline(
        Timeout(60.0),
        Retry(3, STEADY),
        CircuitBreaker("api"),
        Bulkhead(2),
        Timeout(10.0),
        name="up",
    )
    assert pipeline.explain().splitlines() == [
        "up:",
        "  1. Timeout: at most 60 s",
        "  2. Retry: 3 attempts, waits of at most 1 s, 1 s",
        "  3. CircuitBreaker 'api': opens for 60 s at 5 failures in a row",
        "  4. Bulkhead 'bulkhead': 2 at once, nobody waits",
        "  5. Timeout: at most 10 s",
        "  6. the call",
        "worst case: 60 s, 3 calls",
    ]
    assert Pipeline(Retry(3)).explain().endswith("worst case: no limit, 3 calls")


def test_a_snapshot_tells_the_state_of_those_that_have_one():
    told = Pipeline(Retry(), CircuitBreaker("api"), Bulkhead(2), name="up").snapshot()
    assert told["name"] == "up"
    assert list(told["policies"]) == ["2. CircuitBreaker", "3. Bulkhead"]
    assert told["policies"]["3. Bulkhead"]["running"] == 0


def test_it_shows_itself():
    assert repr(Pipeline(Bulkhead(1), name="up")).startswith("Pipeline(Bulkhead(1")
