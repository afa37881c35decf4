"""Fallback chains: the order, the health of each target, and the errors of all."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import pickle
import threading
import weakref

import pytest

from holdfast.errors import (
    BadInputError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    FallbackChainExhaustedError,
)
from holdfast.events import FallbackUsed, TargetFailed, listen
from holdfast.outcome import Err, report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.chain import FallbackChain
from holdfast.policies.links import Target
from holdfast.policies.policy import Bound
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.gates.cancelling import cancel_at_every_await
from tests.scenarios.hands import Hands


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture
def heard():
    events = []
    with listen(events.append):
        yield events


class Server:
    """An async target that succeeds, or fails while it has an error."""

    def __init__(self, answer, error=None, seconds=0.0):
        self.answer, self.error, self.seconds = answer, error, seconds
        self.calls = 0

    async def __call__(self, *args, **kwargs):
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return (self.answer, *args, *kwargs.items())


def chain_of(*targets, **settings):
    chain = FallbackChain("chain", **settings)
    for number, target in enumerate(targets):
        fn, config = target if isinstance(target, tuple) else (target, {})
        chain.add_fallback(fn, {"name": "abc"[number]} | config)
    return chain


ONCE = {"circuit_breaker": {"failure_threshold": 1, "timeout": 60, "timeout_jitter": 0}}


# -- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"name": ""}, "name must be"),
        ({"wait_for_recovery": 0}, "wait_for_recovery must be above 0"),
        ({"wait_for_recovery": float("nan")}, "wait_for_recovery"),
        ({"stop_on": KeyboardInterrupt}, "stop_on must name subclasses of Exception"),
        ({"primary": {"timeout": -1}}, "timeout must be above 0"),
        ({"primary": 3}, "primary must be a Target, a dict or None"),
    ],
)
def test_settings_of_a_chain_that_make_no_sense_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        FallbackChain(**({"name": "chain"} | chosen))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": ""}, "name must be"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"timeout": True}, "timeout must be"),
        ({"on": 3}, "on must be exception types"),
        ({"circuit_breaker": 3}, "circuit_breaker must be a CircuitBreaker, a dict"),
        ({"circuit_breaker": {"threshold": 3}}, "circuit_breaker has settings that do not exist"),
        ({"circuit_breaker": {"failure_threshold": 0}}, "failure_threshold must be"),
        (
            {"time_out": 3},
            "config must have only name, timeout, circuit_breaker, on, got 'time_out'",
        ),
        ([], "config must be a Target, a dict or None"),
        ({"name": "primary"}, "name must be new to chain 'chain', got 'primary'"),
    ],
)
def test_settings_of_a_target_that_make_no_sense_are_refused_by_name(config, words):
    with pytest.raises(BadInputError, match=words):
        FallbackChain("chain").add_fallback(len, config)


def test_what_is_no_function_cannot_be_a_target():
    def items():
        yield 1

    async def async_items():
        yield 1

    for wrong in (None, 3):
        with pytest.raises(BadInputError, match="fn must be a function"):
            FallbackChain("chain").add_fallback(wrong)
    for stream in (items, async_items, functools.partial(items)):
        with pytest.raises(BadInputError, match="generator function"):
            FallbackChain("chain").add_fallback(stream)


def test_a_generator_in_disguise_is_refused_when_it_comes():
    with pytest.raises(BadInputError, match="returned a generator"):
        FallbackChain("chain").add_fallback(lambda: (n for n in [1])).call()


def test_targets_are_named_after_their_functions_and_each_name_is_used_once():
    chain = FallbackChain("chain").add_fallback(len).add_fallback(functools.partial(len))
    chain.add_fallback(len, Target(name="third"))
    assert [link.name for link in chain.targets] == ["len", "len#2", "third"]
    with pytest.raises(BadInputError, match="name must be new"):
        chain.add_fallback(max, {"name": "third"})


# -- the order -------------------------------------------------------------------------------


def test_the_first_target_that_succeeds_gives_the_result(clock, heard):
    a, b, c = Server("a", OSError("down")), Server("b"), Server("c")
    chain = chain_of(a, b, c)
    assert clock.run(chain.execute(1, key=2)) == ("b", 1, ("key", 2))
    assert (a.calls, b.calls, c.calls) == (1, 1, 0)
    assert [e for e in heard if isinstance(e, TargetFailed | FallbackUsed)] == [
        TargetFailed("chain", 1000.0, "a", "OSError: down", skipped=False),
        FallbackUsed("chain", 1000.0, "b", "a: OSError: down"),
    ]


def test_a_first_target_that_succeeds_is_no_fallback(clock, heard):
    chain = chain_of(Server("a"), Server("b"))
    assert clock.run(chain.execute()) == ("a",)
    assert not [e for e in heard if isinstance(e, FallbackUsed)]


def test_sync_targets_work_in_both_worlds(clock):
    def broken(_):
        raise OSError("down")

    chain = chain_of(broken, lambda x: x + 1)
    assert chain.call(1) == 2
    assert clock.run(chain.execute(1)) == 2
    assert chain.call_outcome(1).attempts == 2
    assert clock.run(chain.outcome(1)).value == 2


def test_an_async_target_is_refused_in_sync_code():
    chain = chain_of(lambda: 1, Server("b"))
    for way in (chain.call, chain.call_outcome):
        with pytest.raises(BadInputError, match="'b' is async"):
            way()


def test_an_async_target_behind_a_decorated_sync_function_is_refused_when_it_comes():
    def broken():
        raise OSError("down")

    with pytest.raises(BadInputError, match="is async, and this call is sync"):
        chain_of(Server("a"))(broken)()


def test_when_all_have_failed_every_error_is_there_by_name(clock):
    chain = chain_of(Server("a", OSError("one")), Server("b", KeyError("two")))
    with pytest.raises(FallbackChainExhaustedError) as caught:
        clock.run(chain.execute())
    error = caught.value
    assert {name: str(e) for name, e in error.errors.items()} == {"a": "one", "b": "'two'"}
    assert error.__cause__ is error.errors["b"]
    assert [attempt.error for attempt in report_of(error).history] == [
        "target 'a': OSError: one",
        "target 'b': KeyError: 'two'",
    ]
    assert "test_chain.py" in report_of(error).steps[0]
    assert pickle.loads(pickle.dumps(error)).errors.keys() == {"a", "b"}


def test_a_chain_without_targets_says_so(clock):
    with pytest.raises(FallbackChainExhaustedError, match="it has none"):
        FallbackChain("chain", wait_for_recovery=5).call()
    assert clock.now() == 1000


def test_what_no_target_can_cure_ends_the_chain_as_it_is(clock):
    b = Server("b")
    chain = chain_of((Server("a", ValueError("bad")), ONCE), b, stop_on=ValueError)
    for _ in range(3):
        with pytest.raises(ValueError, match="bad"):
            clock.run(chain.execute())
    assert b.calls == 0
    assert chain.get_stats()["stopped"] == 3
    assert chain.targets[0].breaker.state == "closed"


def test_in_a_group_one_such_error_is_enough(clock):
    group = ExceptionGroup("g", [OSError(), ValueError()])
    chain = chain_of(Server("a", group), Server("b"), stop_on=ValueError)
    with pytest.raises(ExceptionGroup):
        clock.run(chain.execute())


def test_a_target_may_say_which_of_its_failures_others_are_tried_for(clock):
    a, b = Server("a", OSError("down")), Server("b")
    chain = chain_of((a, {"on": OSError}), b)
    assert clock.run(chain.execute()) == ("b",)
    a.error = KeyError("other")
    with pytest.raises(KeyError):
        clock.run(chain.execute())


def test_a_slow_target_gives_way_after_its_own_time_limit(clock):
    chain = chain_of((Server("a", seconds=60), {"timeout": 3}), Server("b"))
    assert clock.run(chain.execute()) == ("b",)
    assert clock.now() == 1003
    assert chain.get_stats()["targets"]["a"]["failures"] == 1


def test_a_sync_target_can_be_left_behind_in_its_thread(clock):
    go = threading.Event()
    chain = chain_of((lambda: go.wait(10), {"timeout": Timeout(3, thread=True)}), lambda: "b")
    assert chain.call() == "b"
    go.set()


# -- health ----------------------------------------------------------------------------------


def test_a_target_that_is_out_is_skipped_at_once(clock, heard):
    a, b = Server("a", OSError("down"), seconds=5), Server("b")
    chain = chain_of((a, ONCE), b)
    clock.run(chain.execute())
    before = clock.now()
    assert clock.run(chain.execute()) == ("b",)
    assert (a.calls, clock.now()) == (1, before)
    assert [e.skipped for e in heard if isinstance(e, TargetFailed)] == [False, True]


def test_a_target_comes_back_when_its_breaker_lets_it(clock):
    a, b = Server("a", OSError("down")), Server("b")
    chain = chain_of((a, ONCE), b)
    clock.run(chain.execute())
    a.error = None
    clock.advance(60)
    assert clock.run(chain.execute()) == ("a",)


def test_a_breaker_can_be_shared_with_others(clock):
    breaker = CircuitBreaker("shared")
    breaker.force_open()
    a, b = Server("a"), Server("b")
    assert clock.run(chain_of((a, {"circuit_breaker": breaker}), b).execute()) == ("b",)
    assert a.calls == 0


def test_when_all_are_out_the_rejections_are_the_errors(clock):
    chain = chain_of((Server("a", OSError("down")), ONCE))
    for _ in range(2):
        outcome = clock.run(chain.outcome())
    assert isinstance(outcome.error.errors["a"], CircuitBreakerOpenError)
    assert outcome.error.errors["a"].retry_after == pytest.approx(60)
    assert outcome.attempts == 0


def test_when_all_are_out_it_waits_for_the_first_to_come_back(clock):
    a, b = Server("a", OSError("down")), Server("b", OSError("down"))
    soon = {"circuit_breaker": {"failure_threshold": 1, "timeout": 20, "timeout_jitter": 0}}
    chain = chain_of((a, ONCE), (b, soon), wait_for_recovery=30)
    clock.run(chain.outcome())
    b.error = None
    assert clock.run(chain.execute()) == ("b",)
    assert clock.now() == pytest.approx(1020)
    assert a.calls == 1


def test_it_does_not_wait_for_what_cannot_come_back_in_time(clock):
    chain = chain_of((Server("a", OSError("down")), ONCE), wait_for_recovery=59)
    clock.run(chain.outcome())
    assert isinstance(clock.run(chain.outcome()).error, FallbackChainExhaustedError)
    assert clock.now() == 1000


def test_it_does_not_wait_beyond_the_deadline(clock):
    chain = chain_of((Server("a", OSError("down")), ONCE), wait_for_recovery=100)
    clock.run(chain.outcome())
    pipeline = Pipeline(Timeout(30), chain)
    assert isinstance(
        clock.run(pipeline.outcome(Server("p", OSError()))).error, FallbackChainExhaustedError
    )
    chain.targets[0].breaker.force_open()
    assert isinstance(clock.run(chain.outcome()).error, FallbackChainExhaustedError)
    assert clock.now() == 1000


def test_a_target_that_fails_after_the_wait_ends_it(clock):
    a = Server("a", OSError("down"))
    chain = chain_of((a, ONCE), wait_for_recovery=100)
    clock.run(chain.outcome())
    error = clock.run(chain.outcome()).error
    assert isinstance(error.errors["a"], OSError)
    assert (a.calls, clock.now()) == (2, 1060)


def test_those_who_wait_take_turns_with_the_probe(clock):
    a = Server("a", OSError("down"))
    chain = chain_of((a, ONCE), wait_for_recovery=100)

    async def main():
        await chain.outcome()
        a.error, a.seconds = None, 3
        return await asyncio.gather(*(chain.execute() for _ in range(5)))

    assert clock.run(main()) == [("a",)] * 5
    assert a.calls == 6
    assert clock.now() <= 1100


def test_waiting_works_in_sync_code_too(clock):
    state = {"error": OSError("down")}

    def work():
        if state["error"]:
            raise state["error"]
        return "back"

    chain = chain_of((work, ONCE), wait_for_recovery=100)
    chain.call_outcome()
    state["error"] = None
    assert chain.call() == "back"
    assert clock.now() == pytest.approx(1060)


# -- in a pipeline ---------------------------------------------------------------------------


def test_in_a_pipeline_its_function_comes_first_with_the_same_arguments(clock):
    primary, b = Server("primary", OSError("down")), Server("b")
    chain = chain_of(b)
    assert clock.run(Pipeline(Timeout(60), chain).execute(primary, 1, key=2)) == (
        "b",
        1,
        ("key", 2),
    )
    assert chain.get_stats()["targets"]["primary"]["failures"] == 1


def test_the_policies_inside_are_the_first_targets_alone(clock):
    primary, b = Server("primary", OSError("down")), Server("b", OSError("down"))
    pipeline = Pipeline(chain_of(b), Retry(3, Backoff.fixed(1)))
    outcome = clock.run(pipeline.outcome(primary))
    assert (primary.calls, b.calls, outcome.attempts) == (3, 1, 4)


def test_as_a_decorator_it_protects_sync_and_async_functions(clock):
    @chain_of(lambda x: ("b", x))
    def work(x):
        raise OSError("down")

    @chain_of(Server("b"))
    async def async_work(x):
        raise OSError("down")

    assert work(1) == ("b", 1)
    assert clock.run(async_work(1)) == ("b", 1)


def test_a_first_target_that_is_out_is_skipped_too(clock):
    primary = Server("primary", OSError("down"))
    chain = chain_of(Server("b"), primary=ONCE)
    for _ in range(3):
        clock.run(Pipeline(chain).execute(primary))
    assert primary.calls == 1


def test_a_deadline_that_has_passed_tries_no_other_target(clock):
    def slow():
        clock.sleep(20)
        raise OSError("late")

    calls = []
    with pytest.raises(DeadlineExceededError):
        Pipeline(Timeout(10), chain_of(slow, lambda: calls.append(1))).call(slow)
    assert calls == []


def test_a_cancellation_passes_and_counts_for_nobody(clock):
    chain = chain_of((Server("a", seconds=60), ONCE), Server("b"))

    async def main():
        task = asyncio.create_task(chain.execute())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    clock.run(main())
    stats = chain.get_stats()
    assert stats["calls"] == stats["targets"]["a"]["calls"] == 0
    assert stats["targets"]["a"]["state"] == "closed"


def test_a_limit_further_out_that_ends_a_target_at_work_counts_against_it(clock):
    chain = chain_of((Server("a", seconds=60), ONCE))
    with pytest.raises(DeadlineExceededError):
        clock.run(Pipeline(Timeout(5), chain).execute(Server("primary", OSError())))
    assert chain.targets[0].breaker.state == "open"


@pytest.mark.parametrize("turns", [0, 1])
def test_cancelled_at_any_suspension_nothing_is_left(clock, turns):
    def make():
        chain = chain_of(
            (Server("a", OSError("down"), seconds=1), {"timeout": 5}),
            Server("b", seconds=1),
            wait_for_recovery=10,
        )
        pipeline = Pipeline(chain)
        return pipeline, lambda: pipeline.execute(Server("primary", OSError("down"), seconds=1))

    assert clock.run(cancel_at_every_await(make, turns=turns)) >= 3


def test_one_chain_works_in_two_loops_at_once(clock):
    chain = chain_of(Server("a", OSError("down")), Server("b"))
    clock.__exit__(None, None, None)
    results = []
    try:
        threads = [
            threading.Thread(target=lambda: results.append(asyncio.run(self_made(chain))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        clock.__enter__()
    assert results == [[("b",)] * 20] * 2
    assert chain.get_stats()["calls"] == 40


async def self_made(chain):
    return await asyncio.gather(*(chain.execute() for _ in range(20)))


# -- memory and statistics -------------------------------------------------------------------


class Buffer:
    """Stands for gigabytes."""


def fail(error):
    raise error


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_while_the_next_target_runs_the_failed_ones_memory_is_free(clock):
    held = []

    async def work():
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        await asyncio.sleep(1)
        try:
            fail(OSError("first"))
        except OSError as error:
            raise MemoryError("full") from error

    async def nested():
        return await chain_of(work, work).execute()

    async def last():
        return [buffer() for buffer in held]

    assert clock.run(chain_of(work, nested, last).execute()) == [None, None, None]


@pytest.mark.usefixtures("no_collector")
def test_once_the_end_is_handled_all_memory_is_free(clock):
    held = []

    async def work():
        buffer = Buffer()
        held.append(weakref.ref(buffer))
        raise MemoryError("full")

    async def main():
        with contextlib.suppress(FallbackChainExhaustedError):
            await chain_of(work, work).execute()

    clock.run(main())
    assert [buffer() for buffer in held] == [None, None]


def test_the_statistics_add_up(clock):
    a, b = Server("a", OSError("down")), Server("b")
    chain = chain_of((a, ONCE), b)
    for _ in range(3):
        clock.run(chain.execute())
    b.error = KeyError("x")
    clock.run(chain.outcome())
    told = chain.get_stats()
    assert told == chain.snapshot()
    assert {k: told[k] for k in ("name", "calls", "fallbacks_used", "stopped", "exhausted")} == {
        "name": "chain",
        "calls": 4,
        "fallbacks_used": 3,
        "stopped": 0,
        "exhausted": 1,
    }
    assert told["targets"]["a"] == {
        "calls": 1,
        "successes": 0,
        "failures": 1,
        "skipped": 3,
        "last_error": "OSError: down",
        "state": "open",
        "retry_after": pytest.approx(60),
    }
    assert told["targets"]["b"]["successes"] == 3
    assert "primary" not in told["targets"]


def test_it_says_what_it_is():
    chain = FallbackChain("chain").add_fallback(len, {"timeout": 5}).add_fallback(max)
    assert chain.describe() == "FallbackChain 'chain': on failure len, then max"
    assert repr(chain) == "FallbackChain('chain', ['len', 'max'])"
    assert FallbackChain("c").describe() == "FallbackChain 'c': on failure none"
    limited = FallbackChain("c", wait_for_recovery=7, primary={"timeout": 2})
    limited.add_fallback(len, {"timeout": 5})
    assert limited.bound(Bound(10, 3)) == Bound(14, 4)


def test_the_history_tells_how_long_each_target_took(clock):
    chain = chain_of(Server("a", OSError("down"), seconds=3.0), Server("b"))
    outcome = clock.run(chain.outcome())
    assert [attempt.seconds for attempt in outcome.history] == [3.0]
    assert outcome.steps[-1] == "chain: target 'b' gave the result"


def test_the_worst_case_counts_the_inside_once_and_each_target_once():
    limited = {"timeout": 3.0}
    chain = chain_of((Server("a"), limited), (Server("b"), limited), wait_for_recovery=5.0)
    assert chain.bound(Bound(10.0, 7)) == Bound(21.0, 9)


def test_it_says_that_it_waits_for_a_target_to_come_back(clock):
    soon = {"circuit_breaker": {"failure_threshold": 1, "timeout": 20, "timeout_jitter": 0}}
    chain = chain_of((Server("a", OSError("down")), soon), wait_for_recovery=30)
    clock.run(chain.outcome())
    steps = clock.run(chain.outcome()).steps
    assert "chain: every target is out; waits 20 s" in steps


def test_a_target_that_has_ended_is_no_longer_at_work():
    hands = Hands(chain_of(lambda: None))
    hands.fail(OSError("down"))
    assert hands.call.running == 1
    hands.give(Err(OSError("down")))
    assert hands.call.running == 0


def test_every_call_is_counted_whoever_ends_it(clock):
    chain = chain_of(a := Server("a"), Server("b"), stop_on=ValueError)
    clock.run(chain.execute())
    a.error = ValueError("the same everywhere")
    steps = clock.run(chain.outcome()).steps
    told = chain.get_stats()
    assert (told["calls"], told["fallbacks_used"], told["stopped"]) == (2, 0, 1)
    assert "chain: no other target is tried for that" in steps
