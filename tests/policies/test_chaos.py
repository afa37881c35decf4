"""Trouble on purpose: as often as asked, where asked, and never in silence."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ChaosError, DeadlineExceededError
from holdfast.events import ChaosInjected, listen
from holdfast.pipeline import Pipeline
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.chaos import Chaos
from holdfast.policies.policy import Bound
from holdfast.policies.retry import Backoff, Retry
from holdfast.policies.scope import Deadline
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock

NAN = float("nan")


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.fixture(autouse=True)
def mains_on():
    yield
    Chaos.all_on()


def work(*_args, **_kwargs):
    return "real"


async def async_work():
    return "real"


def struck(chaos, number=200):
    """Which of so many calls were struck, by number."""
    return [n for n in range(number) if chaos.call_outcome(work).value != "real"]


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Chaos.fault(rate=1.1), "rate must be at least 0 and at most 1, got 1.1"),
        (lambda: Chaos.fault(rate=-0.1), "rate must be at least 0"),
        (lambda: Chaos.fault(rate=NAN), "rate must be at least 0"),
        (lambda: Chaos.fault(rate=True), "rate must be at least 0"),
        (lambda: Chaos.fault(rate=1, seed=-1), "seed must be a whole number of at least 0"),
        (lambda: Chaos.fault(rate=1, seed="x"), "seed must be a whole number"),
        (lambda: Chaos.fault(rate=1, when="load"), "when must be a function"),
        (lambda: Chaos.fault(rate=1, drill=""), "drill must be a text"),
        (lambda: Chaos.fault(rate=1, name=" "), "name must be a text"),
        (lambda: Chaos.fault(rate=1, enabled=1), "enabled must be True or False, got 1"),
        (lambda: Chaos.fault(KeyboardInterrupt, rate=1), "subclass of Exception"),
        (lambda: Chaos.fault(asyncio.CancelledError(), rate=1), "subclass of Exception"),
        (lambda: Chaos.fault(UnicodeDecodeError, rate=1), "a function that makes one"),
        (lambda: Chaos.fault(42, rate=1), "error must be an exception, its type or a function"),
        (lambda: Chaos.latency(-1, rate=1), "seconds must be at least 0 seconds, got -1"),
        (lambda: Chaos.latency((2, 1), rate=1), r"seconds must be \(lowest, highest\)"),
        (lambda: Chaos.latency((1, 2, 3), rate=1), "seconds must be at least 0"),
        (lambda: Chaos.latency(float("inf"), rate=1), "seconds must be at least 0"),
        (lambda: Chaos.behaviour("boom", rate=1), "action must be a function, got 'boom'"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(build, words):
    with pytest.raises(BadInputError, match=words):
        build()


def test_an_error_that_cannot_be_copied_is_refused():
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one}{two}")

    with pytest.raises(BadInputError, match="this Odd cannot be copied"):
        Chaos.fault(Odd(1, 2), rate=1)


# -- faults --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ConnectionError, ConnectionError("x"), lambda: ConnectionError("x")]
)
def test_a_fault_is_raised_in_place_of_the_call(error):
    calls = []
    with pytest.raises(ConnectionError) as caught:
        Chaos.fault(error, rate=1).call(calls.append, 1)
    assert calls == []
    assert "injected on purpose by chaos" in caught.value.__notes__


def test_by_default_the_fault_is_one_that_nothing_else_raises():
    with pytest.raises(ChaosError):
        Chaos.fault(rate=1).call(work)


def test_each_call_gets_an_error_object_of_its_own():
    given_error = ConnectionError("down")
    chaos = Chaos.fault(given_error, rate=1)
    errors = [chaos.call_outcome(work).error for _ in range(2)]
    assert errors[0] is not errors[1]
    assert given_error not in errors
    assert [str(error) for error in errors] == ["down", "down"]
    assert not hasattr(given_error, "__notes__")


def test_the_notes_of_a_given_error_do_not_pile_up():
    error = ConnectionError("down")
    error.add_note("seen in May")
    chaos = Chaos.fault(error, rate=1)
    for _ in range(3):
        notes = chaos.call_outcome(work).error.__notes__
        assert notes.count("injected on purpose by chaos") == 1
        assert notes.count("seen in May") == 1


def test_a_function_that_raises_its_error_will_do():
    def make():
        raise ConnectionError("raised")

    with pytest.raises(ConnectionError, match="raised"):
        Chaos.fault(make, rate=1).call(work)


def test_a_function_that_makes_no_error_is_told_so():
    with pytest.raises(BadInputError, match="error must make an Exception, got 'oops'"):
        Chaos.fault(lambda: "oops", rate=1).call(work)


async def test_the_function_that_makes_the_error_may_be_async():
    async def make():
        await asyncio.sleep(0)
        return ConnectionError("async")

    with pytest.raises(ConnectionError, match="async"):
        await Chaos.fault(make, rate=1).execute(async_work)


def test_an_injected_fault_is_retried_and_counted_like_a_real_one(clock):
    breaker = CircuitBreaker("api", failure_threshold=2)
    chaos = Chaos.fault(ConnectionError, rate=1)
    pipeline = Pipeline(Retry(max_attempts=2, backoff=Backoff.exponential(initial=1)), breaker)
    pipeline = Pipeline(pipeline, chaos)
    outcome = pipeline.call_outcome(work)
    assert (len(outcome.history), outcome.attempts) == (2, 0)
    assert breaker.state == "open"


# -- results and behaviours ----------------------------------------------------------------


def test_an_injected_result_is_marked_in_the_outcome():
    outcome = Chaos.result("made up", rate=1, name="rot").call_outcome(work)
    assert (outcome.value, outcome.attempts) == ("made up", 0)
    assert outcome.steps == ("rot: injected a result in place of the call's own",)


@pytest.mark.parametrize(("value", "expected"), [(None, None), (dict, {}), (lambda: 7, 7)])
def test_a_result_may_be_empty_or_be_made_by_a_function(value, expected):
    assert Chaos.result(value, rate=1).call(work) == expected


async def test_an_async_call_can_be_given_an_async_made_result():
    async def make():
        await asyncio.sleep(0)
        return "made"

    assert await Chaos.result(make, rate=1).execute(async_work) == "made"


def test_the_error_of_a_function_that_makes_results_is_the_calls():
    outcome = Chaos.result(lambda: {}["x"], rate=1).call_outcome(work)
    assert isinstance(outcome.error, KeyError)
    assert "failure while making up a result" in outcome.steps[0]


def test_a_behaviour_happens_before_the_call_which_goes_on():
    order = []
    chaos = Chaos.behaviour(lambda: order.append("bad"), rate=1)
    assert chaos.call(lambda: order.append("call") or "real") == "real"
    assert order == ["bad", "call"]


async def test_a_behaviour_that_raises_fails_the_call():
    async def explode():
        raise MemoryError("no more")

    outcome = await Chaos.behaviour(explode, rate=1).outcome(async_work)
    assert isinstance(outcome.error, MemoryError)
    assert outcome.attempts == 0
    assert "injected a behaviour: " in outcome.steps[0]


# -- latency -------------------------------------------------------------------------------


def test_latency_really_passes_in_sync_code(clock):
    outcome = Chaos.latency(2.5, rate=1).call_outcome(work)
    assert (outcome.value, outcome.elapsed, clock.slept) == ("real", 2.5, [2.5])
    assert outcome.steps == ("chaos: injected 2.5 s of latency",)


def test_latency_really_passes_in_async_code(clock):
    outcome = clock.run(Chaos.latency(2.5, rate=1).outcome(async_work))
    assert (outcome.value, outcome.elapsed) == ("real", pytest.approx(2.5))


def test_latency_between_two_limits_is_spread_over_all_of_it(clock):
    chaos = Chaos.latency((1.0, 3.0), rate=0.5, seed=5)
    for _ in range(2_000):
        chaos.call(work)
    assert 1.0 <= min(clock.slept) < 1.05
    assert 2.95 < max(clock.slept) <= 3.0
    assert sum(clock.slept) / len(clock.slept) == pytest.approx(2.0, abs=0.05)


def test_no_latency_is_waited_beyond_the_deadline_in_sync_code(clock):
    calls = []
    with Deadline.after(3), pytest.raises(DeadlineExceededError):
        Chaos.latency(100, rate=1).call(calls.append, 1)
    assert (clock.slept, calls) == ([3.0], [])


def test_nothing_further_in_begins_when_latency_has_used_up_the_time(clock):
    begun = []
    slow = Chaos.latency(100, rate=1)
    with Deadline.after(3), pytest.raises(DeadlineExceededError):
        Pipeline(slow, Chaos.behaviour(lambda: begun.append(1), rate=1)).call(work)
    assert begun == []


def test_no_latency_is_waited_beyond_the_deadline_in_async_code(clock):
    began = clock.now()
    with pytest.raises(DeadlineExceededError):
        clock.run(Pipeline(Timeout(3), Chaos.latency(100, rate=1)).execute(async_work))
    assert clock.now() - began == pytest.approx(3)


async def test_latency_can_be_cancelled():
    call = asyncio.create_task(Chaos.latency(3600, rate=1).execute(async_work))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelling() == 1


@pytest.mark.parametrize("turn", range(10))
async def test_cancelling_at_any_moment_leaves_nothing_behind(turn):
    async def slowly():
        for _ in range(2):
            await asyncio.sleep(0)
        return ValueError("made")

    pipeline = Pipeline(
        Timeout(60),
        Chaos.latency(0, rate=1, name="slow"),
        Chaos.behaviour(lambda: asyncio.sleep(0), rate=1),
        Chaos.fault(slowly, rate=1),
    )
    call = asyncio.create_task(pipeline.execute(async_work))
    for _ in range(turn):
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises((asyncio.CancelledError, ValueError)):
        await call
    assert pipeline.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- how often -----------------------------------------------------------------------------


def test_a_rate_of_1_strikes_always_and_a_rate_of_0_never():
    assert len(struck(Chaos.fault(rate=1))) == 200
    assert struck(Chaos.fault(rate=0)) == []
    assert struck(Chaos.fault(rate=0, seed=1)) == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64), rate=st.floats(0, 1))
def test_the_same_seed_strikes_the_same_calls(seed, rate):
    first = struck(Chaos.fault(rate=rate, seed=seed), 60)
    assert struck(Chaos.fault(rate=rate, seed=seed), 60) == first


@pytest.mark.parametrize("rate", [0.02, 0.25, 0.5, 0.9])
def test_the_share_of_struck_calls_is_the_rate(rate):
    share = len(struck(Chaos.fault(rate=rate, seed=11), 4_000)) / 4_000
    # Four standard deviations of the binomial distribution.
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 4_000) ** 0.5)


def test_a_higher_rate_strikes_the_same_calls_and_more():
    few, many = (set(struck(Chaos.fault(rate=rate, seed=3))) for rate in (0.1, 0.4))
    assert few < many


def test_two_seeds_strike_different_calls():
    assert struck(Chaos.fault(rate=0.3, seed=1)) != struck(Chaos.fault(rate=0.3, seed=2))


def test_without_a_seed_chance_decides(monkeypatch):
    chances = iter([0.1, 0.5, 0.9, 0.29, 0.5])
    monkeypatch.setattr(ambient, "chance", lambda: next(chances))
    # A struck call draws a second time.
    assert struck(Chaos.fault(rate=0.3), 3) == [0, 2]


def test_the_sequence_can_be_begun_anew():
    chaos = Chaos.fault(rate=0.3, seed=9)
    first = struck(chaos)
    assert struck(chaos) != first
    chaos.reset()
    assert struck(chaos) == first


def test_sync_and_async_calls_are_struck_alike(clock):
    async def many(chaos):
        return [n for n in range(200) if (await chaos.outcome(async_work)).error]

    assert clock.run(many(Chaos.fault(rate=0.3, seed=4))) == struck(Chaos.fault(rate=0.3, seed=4))


def test_eight_threads_together_are_struck_as_often_as_one():
    chaos = Chaos.fault(rate=0.3, seed=21)
    threads = [threading.Thread(target=struck, args=(chaos,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    alone = Chaos.fault(rate=0.3, seed=21)
    assert chaos.snapshot()["injected"] == len(struck(alone, 1_600))
    assert chaos.snapshot()["calls"] == 1_600


# -- where ---------------------------------------------------------------------------------


def test_when_sees_the_call_and_decides():
    seen = []

    def only_seven(target):
        seen.append(target)
        return target.args == (7,) and target.kwargs["mode"] == "x"

    chaos = Chaos.result("struck", rate=1, when=only_seven)
    pipeline = Pipeline(chaos, name="api")
    assert pipeline.call(work, 7, mode="x") == "struck"
    assert pipeline.call(work, 8, mode="x") == "real"
    target = seen[0]
    assert (target.name, target.pipeline, target.attempt) == ("work", "api", 1)
    with pytest.raises(TypeError):
        target.kwargs["mode"] = "y"
    assert chaos.snapshot()["calls"] == 1


def test_when_can_choose_the_first_attempt_only(clock):
    chaos = Chaos.fault(ConnectionError, rate=1, when=lambda target: target.attempt == 1)
    outcome = Pipeline(Retry(max_attempts=3), chaos).call_outcome(work)
    assert (outcome.value, outcome.attempts, len(outcome.history)) == ("real", 1, 1)


def test_the_error_of_when_is_the_outcome_of_the_call():
    outcome = Chaos.fault(rate=1, when=lambda target: target.args[0]).call_outcome(work)
    assert isinstance(outcome.error, IndexError)


def test_a_policy_with_a_drill_strikes_only_in_it():
    chaos = Chaos.result("struck", rate=1, drill="game-day")
    assert chaos.call(work) == "real"
    with Chaos.only_in("another"):
        assert chaos.call(work) == "real"
        with Chaos.only_in("game-day"):
            assert chaos.call(work) == "struck"
        assert chaos.call(work) == "real"


async def test_a_drill_follows_its_block_into_tasks_and_no_further():
    chaos = Chaos.result("struck", rate=1, drill="game-day")
    with Chaos.only_in("game-day"):
        inside = asyncio.create_task(chaos.execute(async_work))
        thread = asyncio.to_thread(chaos.call, work)
        assert await thread == "struck"
    outside = asyncio.create_task(chaos.execute(async_work))
    assert (await inside, await outside) == ("struck", "real")


def test_nothing_is_injected_into_a_spared_block():
    chaos = Chaos.result("struck", rate=1)
    with Chaos.spared():
        assert chaos.call(work) == "real"
        with Chaos.only_in("game-day"):
            assert chaos.call(work) == "real"
    assert chaos.call(work) == "struck"


def test_a_block_is_left_as_it_was_entered_when_it_raises():
    context = contextvars.copy_context()

    def body():
        chaos = Chaos.result("struck", rate=1, drill="game-day")
        with pytest.raises(ZeroDivisionError), Chaos.only_in("game-day"):
            raise ZeroDivisionError
        assert chaos.call(work) == "real"

    context.run(body)


# -- switches ------------------------------------------------------------------------------


def test_one_policy_can_be_switched_while_it_is_in_use():
    chaos = Chaos.result("struck", rate=1, enabled=False)
    decorated = chaos(work)
    assert decorated() == "real"
    chaos.enabled = True
    assert decorated() == "struck"
    chaos.enabled = False
    assert decorated() == "real"
    with pytest.raises(BadInputError, match="enabled must be True or False"):
        chaos.enabled = "off"


def test_the_rate_can_be_changed_while_it_is_in_use():
    chaos = Chaos.result("struck", rate=0)
    assert chaos.call(work) == "real"
    chaos.rate = 1
    assert chaos.call(work) == "struck"
    with pytest.raises(BadInputError, match="rate must be"):
        chaos.rate = 2


def test_one_switch_stops_all_of_it_in_every_thread():
    one, other = Chaos.result("struck", rate=1), Chaos.fault(rate=1)
    Chaos.all_off()
    answers = []
    thread = threading.Thread(target=lambda: answers.extend([one.call(work), other.call(work)]))
    thread.start()
    thread.join(10)
    assert answers == ["real", "real"]
    assert one.snapshot()["enabled"] is False
    Chaos.all_on()
    assert one.call(work) == "struck"


def test_calls_that_are_let_pass_use_up_no_numbers():
    chaos = Chaos.fault(rate=0.3, seed=6)
    with Chaos.spared():
        struck(chaos)
    assert struck(chaos) == struck(Chaos.fault(rate=0.3, seed=6))


# -- telling -------------------------------------------------------------------------------


def test_every_injection_is_an_event(clock):
    policies = [
        Chaos.latency(1, rate=1, name="slow"),
        Chaos.behaviour(list, rate=1, name="odd"),
        Chaos.result(1, rate=1, name="rot"),
    ]
    seen = []
    with listen(lambda event: isinstance(event, ChaosInjected) and seen.append(event)):
        Pipeline(*policies).call(work)
        Chaos.fault(rate=1, name="bang").call_outcome(work)
        Chaos.fault(rate=0).call(work)
    assert [(event.policy, event.kind) for event in seen] == [
        ("slow", "latency"),
        ("odd", "behaviour"),
        ("rot", "result"),
        ("bang", "fault"),
    ]


def test_it_says_what_it_does():
    chaos = Chaos.latency((1, 3), rate=0.25, drill="game-day", enabled=False)
    assert chaos.describe() == (
        "Chaos 'chaos': latency in 0.25 of the calls, only in drill 'game-day' (switched off)"
    )
    assert "rate=0.25" in repr(chaos)
    assert chaos.bound(Bound(2.0)).seconds == 5.0
    chaos.rate = 0
    assert chaos.bound(Bound(2.0)).seconds == 2.0


def test_a_given_error_holds_no_frame_of_any_call():
    error = ConnectionError("down")
    with pytest.raises(ConnectionError):
        Chaos.fault(error, rate=1).call(work)
    assert error.__traceback__ is None


def test_a_drill_without_a_name_is_refused():
    with pytest.raises(BadInputError, match="drill must be a text"), Chaos.only_in(""):
        pass


def test_a_type_that_takes_no_message_will_do():
    class SilentError(Exception):
        def __init__(self):
            super().__init__("nothing to say")

    assert type(Chaos.fault(SilentError, rate=1).call_outcome(work).error) is SilentError


def test_what_takes_no_time_adds_none_to_the_worst_case():
    for chaos in (Chaos.fault(rate=1), Chaos.result(None, rate=1)):
        assert chaos.bound(Bound(2.0)) == Bound(2.0)


@pytest.mark.parametrize("pair", [(NAN, 1.0), (-1.0, 1.0), (1.0, NAN)])
def test_both_limits_of_a_latency_are_checked(pair):
    with pytest.raises(BadInputError, match="seconds must be at least 0"):
        Chaos.latency(pair, rate=1)
