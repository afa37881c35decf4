"""The hot path equals the flows: the proof.

Random pipelines, random dependencies, sequences and crowds of calls. Whatever
the flows alone make of them, the hot path must make of them, too.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, BulkheadFullError, DeadlineExceededError
from holdfast.events import listen
from holdfast.outcome import report_of
from holdfast.pipeline import Pipeline
from holdfast.policies.backoff import Backoff
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.budget import RetryBudget
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.scenarios import stage
from tests.scenarios.recipes import Ingredient, Recipe, Turn, Visit, crowds, recipes, visits

proof = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    # Explaining a failure takes longer than finding it, and a scenario speaks for itself.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def visible(account: list[stage.Ending]) -> list[tuple[Any, ...]]:
    """All of an account but the reports."""
    return [(end.what, end.calls, end.at, end.state) for end in account]


# Equal to the flows ---------------------------------------------------------------------


@proof
@given(recipe=recipes(), calls=visits(), heeds=st.booleans())
def test_the_sync_hot_path_makes_of_every_scenario_what_the_flows_make(recipe, calls, heeds):
    assume(recipe.sensible())
    slow = stage.play_sync(recipe, calls, stage.sync_flows, heeds=heeds)
    hot = stage.play_sync(recipe, calls, stage.sync_hot, heeds=heeds)
    assert visible(hot) == visible(slow)


@proof
@given(recipe=recipes(), calls=visits())
def test_the_async_hot_path_makes_of_every_scenario_what_the_flows_make(recipe, calls):
    assume(recipe.sensible())
    slow = stage.play_async(recipe, calls, stage.async_flows)
    hot = stage.play_async(recipe, calls, stage.async_hot)
    assert visible(hot) == visible(slow)


@proof
@given(recipe=recipes(crowded=True), crowd=crowds())
def test_many_calls_at_once_end_on_the_hot_path_as_by_the_flows(recipe, crowd):
    assume(recipe.sensible())
    slow, slow_state = stage.play_crowd(recipe, crowd, stage.async_flows)
    hot, hot_state = stage.play_crowd(recipe, crowd, stage.async_decorated)
    assert [(e.what, e.calls, e.at) for e in hot] == [(e.what, e.calls, e.at) for e in slow]
    assert hot_state == slow_state


@proof
@given(recipe=recipes(crowded=True), crowd=crowds())
def test_no_slot_and_no_call_is_left_over_when_a_crowd_has_gone(recipe, crowd):
    assume(recipe.sensible())
    _, (in_flight, *state) = stage.play_crowd(recipe, crowd, stage.async_hot)
    assert in_flight == 0
    if "bulkhead" in recipe.kinds:
        assert (0, 0) in state


@settings(proof, max_examples=60)
@given(recipe=recipes(), calls=visits(6))
def test_the_reports_tell_of_the_same_attempts(recipe, calls):
    assume(recipe.sensible())
    slow = stage.play_async(recipe, calls, stage.async_flows)
    hot = stage.play_async(recipe, calls, stage.async_hot)
    assert [end.attempts for end in hot] == [end.attempts for end in slow]


# Equal in both colours ------------------------------------------------------------------


def same_in_both_colours(recipe: Recipe, calls: list[Visit]) -> bool:
    """Whether a thread can do it as a task does.

    A time limit interrupts a task and not a thread: what stands inside it is passed by
    an interruption in the one and sees an error in the other.
    """
    limited = any(visit.deadline is not None for visit in calls)
    for one in recipe.ingredients:
        judges = one.kind == "breaker" and {"on", "exclude"} & set(one.settings)
        if limited and (one.kind == "fallback" or judges):
            return False
        limited = limited or one.kind == "timeout"
    return True


@proof
@given(recipe=recipes(), calls=visits())
def test_sync_work_that_heeds_its_deadline_ends_as_async_work_does(recipe, calls):
    assume(recipe.sensible() and same_in_both_colours(recipe, calls))
    thread = stage.play_sync(recipe, calls, stage.sync_hot)
    task = stage.play_async(recipe, calls, stage.async_hot)
    assert visible(task) == visible(thread)


LIFE = Recipe(
    (
        Ingredient("timeout", {"seconds": 40.0}),
        Ingredient("retry", {"max_attempts": 2, "backoff": {"initial": 0.25, "step": 0.0}}),
        Ingredient("breaker", {"failure_threshold": 2, "success_threshold": 2, "timeout": 8.0}),
        Ingredient("bulkhead", {"max_concurrent": 1}),
        Ingredient("timeout", {"seconds": 2.0}),
    )
)
GOOD, BAD, SLOW = (Turn("ok", 0.5),), (Turn("connection", 0.5),), (Turn("ok", 60.0),)


@pytest.mark.parametrize("driver", ["sync flows", "sync hot", "async flows", "async hot"])
def test_a_breakers_whole_life_looks_the_same_to_every_driver(driver):
    calls = [
        Visit(0.0, GOOD),
        Visit(0.0, BAD),  # two attempts: opens
        Visit(1.0, GOOD),  # refused
        Visit(8.0, SLOW),  # the probe runs out of time: opens again, for longer
        Visit(9.0, GOOD),  # refused still
        Visit(8.0, GOOD),  # the first good probe
        Visit(0.0, GOOD),  # the second: closes
        Visit(0.0, GOOD),
        Visit(0.0, (*BAD, *GOOD)),
    ]
    play = stage.play_sync if driver.startswith("sync") else stage.play_async
    account = play(LIFE, calls, getattr(stage, driver.replace(" ", "_")))
    states = [end.state[1][0] for end in account]
    assert [str(state) for state in states] == [
        "closed", "open", "open", "open", "open", "half_open", "closed", "closed", "closed",
    ]  # fmt: skip
    assert [end.calls for end in account] == [1, 2, 0, 1, 0, 1, 1, 1, 2]
    assert all(end.state[2] == (0, 0) for end in account)


# What the hot path must not do by itself --------------------------------------------------


async def _slow() -> str:
    await asyncio.sleep(10.0)
    return "late"


async def _through(pipeline: Pipeline, way: str, fn: Any) -> Any:
    if way == "flows":
        return await stage.async_flows(pipeline, fn)
    return await pipeline.execute(fn)


@pytest.mark.parametrize("way", ["flows", "hot"])
def test_a_fallback_inside_a_time_limit_does_not_replace_its_error(way):
    with FakeClock() as clock:
        pipeline = Pipeline(Timeout(5.0), Fallback("substitute"))
        with pytest.raises(DeadlineExceededError):
            clock.run(_through(pipeline, way, _slow))
        assert clock.now() == 1_005.0


@pytest.mark.parametrize("way", ["flows", "hot"])
@pytest.mark.parametrize("settings", [{"exclude": TimeoutError}, {"on": ConnectionError}])
def test_a_breaker_inside_a_time_limit_counts_the_call_it_ended(way, settings):
    with FakeClock() as clock:
        breaker = CircuitBreaker("inner", failure_threshold=1, **settings)
        with pytest.raises(DeadlineExceededError):
            clock.run(_through(Pipeline(Timeout(5.0), breaker), way, _slow))
        assert breaker.state == "open"


@pytest.mark.parametrize(
    "drive", [stage.sync_flows, stage.sync_hot, stage.async_flows, stage.async_hot]
)
def test_an_attempt_that_the_total_limit_ends_at_work_counts_as_a_failure(drive):
    recipe = Recipe(
        (
            Ingredient("timeout", {"seconds": 8.0}),
            Ingredient("retry", {"max_attempts": 3, "backoff": {"initial": 0.0, "step": 0.0}}),
            Ingredient("breaker", {"failure_threshold": 2}),
            Ingredient("timeout", {"seconds": 5.0}),
        )
    )
    play = stage.play_sync if drive in (stage.sync_flows, stage.sync_hot) else stage.play_async
    (ending,) = play(recipe, [Visit(0.0, (Turn("ok", 60.0),))], drive)
    assert (ending.what, ending.calls, ending.at) == (DeadlineExceededError, 2, 1_008.0)
    assert ending.state[1][0] == "open"


@pytest.mark.parametrize("way", ["flows", "hot"])
def test_a_retry_inside_a_time_limit_does_not_report_the_call_it_ended(way):
    with FakeClock() as clock:
        pipeline = Pipeline(Timeout(5.0), Retry(3))
        with pytest.raises(DeadlineExceededError) as raised:
            clock.run(_through(pipeline, way, _slow))
        report = report_of(raised.value)
        assert report is not None
        assert report.history == ()


@pytest.mark.parametrize("drive", [stage.sync_flows, stage.sync_hot])
def test_a_sync_call_repeats_as_often_inside_a_deadline_as_without(drive):
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    with FakeClock(), Deadline.after(100.0), pytest.raises(ConnectionError):
        drive(Pipeline(Retry(3, Backoff.fixed(1.0))), fails)
    assert calls == 3


@pytest.mark.parametrize("drive", [stage.sync_flows, stage.sync_hot])
def test_a_sync_call_that_finds_its_bulkhead_full_tries_again(drive):
    bulkhead = Bulkhead(1)
    assert bulkhead.try_take()
    retry = Retry(
        2, Backoff.fixed(1.0), on=BulkheadFullError, on_retry=lambda _: bulkhead.give_back()
    )
    with FakeClock():
        assert drive(Pipeline(retry, bulkhead), lambda: "in") == "in"
    assert bulkhead.running == 0


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_retry_that_folds_puts_nothing_into_its_budget(hot, colour):
    budget = RetryBudget(1.0, floor=0)
    outer, inner = Pipeline(Retry(3)), Pipeline(Retry(3, budget=budget))
    with FakeClock() as clock:
        if colour == "sync":
            run = stage.sync_hot if hot else stage.sync_flows
            run(outer, lambda: run(inner, lambda: 1))
        else:

            async def call() -> Any:
                return await _through(inner, "hot" if hot else "flows", lambda: 1)

            clock.run(_through(outer, "hot" if hot else "flows", call))
        assert budget.snapshot()["balance"] == 0.0


@pytest.mark.parametrize("drive", [stage.sync_flows, stage.sync_hot])
def test_a_function_that_returns_a_generator_fails_inside_the_policies(drive):
    breaker = CircuitBreaker("items", failure_threshold=1, on=BadInputError)
    pipeline = Pipeline(Fallback("substitute"), breaker, Bulkhead(1))
    assert drive(pipeline, lambda: (item for item in "ab")) == "substitute"
    assert breaker.state == "open"


@pytest.mark.parametrize("drive", [stage.sync_flows, stage.sync_hot])
def test_a_sync_report_counts_the_seconds_of_the_first_attempt(drive):
    with FakeClock() as clock:

        def fails() -> None:
            clock.advance(7.0)
            raise ConnectionError

        pipeline = Pipeline(Timeout(60.0), Retry(2, Backoff.fixed(1.0)))
        with pytest.raises(ConnectionError) as raised:
            drive(pipeline, fails)
        report = report_of(raised.value)
        assert report is not None
        assert report.elapsed == 15.0
        assert [attempt.seconds for attempt in report.history] == [7.0, 7.0]


def test_a_first_attempt_nobody_measured_is_reported_as_not_measured():
    with FakeClock() as clock:

        def fails() -> None:
            clock.advance(7.0)
            raise ConnectionError

        with pytest.raises(ConnectionError) as raised:
            Pipeline(Retry(2, Backoff.fixed(1.0))).call(fails)
        report = report_of(raised.value)
        assert report is not None
        assert [attempt.seconds for attempt in report.history] == [None, 7.0]


# When it gives way ----------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_listener_hears_of_calls_that_would_have_been_on_the_hot_path(colour):
    heard: list[str] = []
    pipeline = Pipeline(Retry(), name="told")
    with FakeClock() as clock, listen(lambda event: heard.append(type(event).__name__)):
        if colour == "sync":
            pipeline.call(lambda: 1)
        else:
            clock.run(pipeline.execute(lambda: 1))
    assert heard == ["CallSucceeded"]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_deadline_further_out_holds_on_the_hot_path(colour):
    pipeline = Pipeline(Retry(9, Backoff.fixed(1.0)))
    calls = 0

    def fails() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    with FakeClock() as clock:

        async def main() -> None:
            with Deadline.after(2.5):
                await pipeline.execute(fails)

        with pytest.raises(ConnectionError):  # noqa: PT012  # both colours in one block
            if colour == "async":
                clock.run(main())
            else:
                with Deadline.after(2.5):
                    pipeline.call(fails)
        assert clock.now() == 1_002.0
    assert calls == 3


def test_a_call_past_its_deadline_never_runs():
    pipeline = Pipeline(Timeout(5.0))
    ran = []
    with FakeClock() as clock, Deadline.after(1.0):
        clock.advance(1.0)
        with pytest.raises(DeadlineExceededError):
            pipeline.call(lambda: ran.append(1))
    assert ran == []


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
@pytest.mark.parametrize("drive", [stage.sync_flows, stage.sync_hot])
def test_an_interruption_passes_and_leaves_nothing_behind(drive, interruption):
    bulkhead, breaker = Bulkhead(1), CircuitBreaker(failure_threshold=1)
    calls = 0

    def ended() -> None:
        nonlocal calls
        calls += 1
        raise interruption

    for policies in ((Retry(3), breaker, bulkhead), (Timeout(5.0), bulkhead, breaker)):
        pipeline = Pipeline(*policies)
        with pytest.raises(interruption):
            drive(pipeline, ended)
        assert (bulkhead.running, bulkhead.waiting, pipeline.in_flight) == (0, 0, 0)
        assert breaker.state == "closed"
    assert calls == 2


def test_the_hot_path_gives_its_scope_the_deadline_of_the_shortest_limit():
    seen: list[float] = []

    def look() -> None:
        limit = Deadline.current()
        assert limit is not None
        seen.append(limit.remaining())

    with FakeClock() as clock:
        pipeline = Pipeline(Timeout(30.0), Retry(2), Timeout(4.0))
        pipeline.call(look)
        stage.sync_flows(pipeline, look)
        clock.run(pipeline.execute(look))
        clock.run(stage.async_flows(pipeline, look))
    assert seen == [4.0, 4.0, 4.0, 4.0]


def test_a_background_task_is_not_held_to_the_deadline_of_a_call_that_has_ended():
    pipeline, seen = Pipeline(Timeout(5.0)), []

    async def later() -> None:
        await asyncio.sleep(60.0)
        seen.append(Deadline.current())
        await pipeline.execute(asyncio.sleep, 4.0)

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(later())

    async def main() -> None:
        task = await pipeline.execute(start)
        await task

    with FakeClock() as clock:
        clock.run(main())
    assert seen == [None]


class Flaky:
    """Fails so often, then works."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def work(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError
        return "done"

    def start(self) -> Any:
        """Looks sync, and returns a coroutine."""
        return self.work()


def test_a_sync_function_that_returns_a_coroutine_gets_its_attempts():
    flaky = Flaky(2)
    with FakeClock() as clock:
        decorated = Pipeline(Retry(3, Backoff.fixed(1.0)), Bulkhead(1))(flaky.start)
        assert clock.run(decorated()) == "done"
    assert flaky.calls == 3


@pytest.mark.parametrize("hot", [False, True])
def test_a_sync_function_that_returns_a_coroutine_is_one_first_call_to_the_budget(hot):
    budget, flaky = RetryBudget(1.0, floor=0), Flaky(0)
    pipeline = Pipeline(Retry(3, budget=budget))
    with FakeClock() as clock:
        call = pipeline(flaky.start)() if hot else stage.sync_flows(pipeline, flaky.start)
        assert clock.run(call) == "done"
        assert budget.snapshot()["balance"] == 1.0


def test_one_pipeline_runs_in_one_loop_after_another():
    pipeline = Pipeline(Timeout(5.0), Retry(2, Backoff.fixed(1.0)), Bulkhead(1))
    with FakeClock() as clock:
        for _ in range(3):
            assert clock.run(pipeline.execute(asyncio.sleep, 1.0, "awake")) == "awake"
            with pytest.raises(DeadlineExceededError):
                clock.run(pipeline.execute(_slow))
        assert pipeline.in_flight == 0
