"""Recovery: a success is claimed only when it was verified, and everything else is said."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.events import RecoveryFailed, RecoveryStarted, RecoverySucceeded
from holdfast.policies.scope import Deadline
from holdfast.system.recovery import (
    Changes,
    Ending,
    RecoveryContext,
    RecoveryProcedure,
    RecoverySettings,
    Strategy,
)
from tests.system.recovery.conftest import Scripted, eventually

NETWORK, MEMORY = ErrorCategory.NETWORK, ErrorCategory.MEMORY


def procedure_of(*strategies, **settings):
    procedure = RecoveryProcedure(RecoverySettings(**settings))
    for strategy in strategies:
        procedure.register(NETWORK, strategy)
    return procedure


def endings(result):
    return [(one.strategy, one.ending) for one in result.tried]


def test_with_nothing_registered_nothing_is_recovered(make_error, recover):
    procedure = RecoveryProcedure()
    error = make_error()
    result = recover(procedure, error)
    assert result.success is False
    assert result.reason == "no strategy is registered for it"
    assert (error.recovery_attempted, error.recovery_successful) == (False, False)
    assert procedure.get_recovery_history()[0]["strategies_attempted"] == []


async def test_attempt_recovery_says_only_whether(make_error, scripted):
    assert await procedure_of().attempt_recovery(make_error()) is False
    assert await procedure_of(scripted()).attempt_recovery(make_error()) is True
    assert procedure_of(scripted()).attempt_recovery_sync(make_error()) is True


def test_a_verified_effect_is_a_success(make_error, recover, kind):
    strategy = kind()
    error = make_error()
    result = recover(procedure_of(strategy), error)
    assert result.success is True
    assert result.strategy == "scripted"
    assert strategy.asked == ["applies", "apply", "verify"]
    assert (error.recovery_attempted, error.recovery_successful) == (True, True)
    assert error.strategy == "scripted"


@pytest.mark.parametrize("answer", [False, None, 1, "yes", [True]])
def test_nothing_but_true_is_a_success(make_error, recover, kind, answer):
    error = make_error()
    result = recover(procedure_of(kind(verify=answer)), error)
    assert result.success is False
    assert endings(result) == [("scripted", Ending.NOT_VERIFIED)]
    assert (error.recovery_attempted, error.recovery_successful) == (True, False)


@pytest.mark.parametrize("step", ["applies", "apply", "verify"])
def test_what_any_step_raises_is_logged_remembered_and_passed_over(
    make_error, recover, kind, step, caplog
):
    broken = kind("broken", **{step: ZeroDivisionError("oh")})
    procedure = procedure_of(broken, kind("whole"))
    with caplog.at_level(logging.WARNING, "holdfast.recovery"):
        result = recover(procedure, make_error())
    assert result.success is True
    assert endings(result) == [("broken", Ending.FAILED), ("whole", Ending.MENDED)]
    assert f"{step} raised ZeroDivisionError: oh" in caplog.text
    assert f"{step} raised ZeroDivisionError: oh" in result.tried[0].reason
    assert procedure.get_recovery_history()[0]["strategies_attempted"] == ["broken", "whole"]


def test_what_does_not_apply_is_not_run(make_error, recover, kind):
    strategy = kind(applies=False)
    result = recover(procedure_of(strategy), make_error())
    assert result.success is False
    assert strategy.runs == 0
    assert endings(result) == [("scripted", Ending.NOT_APPLICABLE)]


def test_the_first_success_ends_it(make_error, recover, kind):
    first, second, third = kind("a", verify=False), kind("b"), kind("c")
    result = recover(procedure_of(first, second, third), make_error())
    assert result.strategy == "b"
    assert third.asked == []


def test_a_category_has_its_own_strategies_then_those_for_all(make_error, scripted):
    procedure = RecoveryProcedure()
    for category, name, first in [
        (None, "any", False),
        (NETWORK, "net", False),
        ("network", "net first", True),
        (None, "any first", True),
        (MEMORY, "mem", False),
    ]:
        procedure.register(category, scripted(name), first=first)
    names = [s.name for s in procedure.strategies("network")]
    assert names == ["net first", "net", "any first", "any"]
    assert procedure.unregister("network", "net") is True
    assert procedure.unregister("network", "net") is False
    assert procedure.unregister(None, procedure.strategies("memory")[1]) is True
    assert [s.name for s in procedure.strategies(MEMORY)] == ["mem", "any"]


def test_two_of_one_name_are_refused(scripted):
    procedure = procedure_of(scripted("a"))
    for category in (NETWORK, None):
        with pytest.raises(BadInputError, match=r"name must be unique.*network has 'a' already"):
            procedure.register(category, scripted("a"))
    procedure.register(MEMORY, scripted("a"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "timeout must be above 0"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"cooldown": -1}, "cooldown must be at least 0"),
        ({"name": " "}, "name must be a text"),
    ],
)
def test_bad_settings_of_a_strategy_are_refused(scripted, settings, words):
    with pytest.raises(BadInputError, match=words):
        scripted(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_history": 0}, "max_history must be a whole number of at least 1"),
        ({"max_keys": 1.5}, "max_keys must be"),
        ({"name": ""}, "name must be"),
        ({"loop_factory": 3}, "loop_factory must be a function"),
    ],
)
def test_bad_settings_of_a_procedure_are_refused(settings, words):
    with pytest.raises(BadInputError, match=words):
        RecoverySettings(**settings)


def test_what_is_no_strategy_category_error_or_context_is_refused(make_error):
    procedure = RecoveryProcedure()
    with pytest.raises(BadInputError, match=r"strategy must have a method applies"):
        procedure.register(NETWORK, object())
    with pytest.raises(BadInputError, match="category must be one of network, memory"):
        procedure.strategies("weather")
    with pytest.raises(BadInputError, match="error must be an ErrorInfo"):
        procedure.recover_sync(ValueError())
    with pytest.raises(BadInputError, match="context must be a RecoveryContext"):
        procedure.recover_sync(make_error(), {"dependency": "x"})
    with pytest.raises(BadInputError, match="settings must be a RecoverySettings"):
        RecoveryProcedure({"max_history": 3})


def test_any_object_of_that_shape_will_do(make_error, recover):
    class Duck:
        name, timeout, cooldown = "duck", 1.0, 1.0

        def applies(self, error, context):
            return True

        async def apply(self, error, context):
            context.note("quack")

        def verify(self, error, context):
            return True

    result = recover(procedure_of(Duck()), make_error())
    assert result.success is True
    assert result.notes == ("quack",)


def test_a_strategy_must_say_what_it_does_and_how_that_is_seen(make_error, recover):
    class Lazy(Strategy):
        name = "lazy"

    result = recover(procedure_of(Lazy()), make_error())
    assert result.success is False
    assert "Lazy must say what it does" in result.reason


def test_an_async_step_is_cut_off_when_its_time_is_up(make_error, clock, async_scripted):
    ended = []

    async def hang(context):
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(True)

    late, next_one = async_scripted("late", apply=hang, timeout=5), async_scripted("next")
    procedure = procedure_of(late, next_one, loop_factory=clock.new_loop)
    began = clock.now()
    result = clock.run(procedure.recover(make_error()))
    assert endings(result) == [("late", Ending.LATE), ("next", Ending.MENDED)]
    assert clock.now() - began == pytest.approx(5)
    result = procedure.recover_sync(make_error(dependency="other"))
    assert endings(result) == [("late", Ending.LATE), ("next", Ending.MENDED)]
    assert ended == [True, True]


def test_a_blocking_step_is_left_behind_counted_and_not_run_again(
    make_error, recover, clock, caplog
):
    go_on, gone = threading.Event(), threading.Event()

    def hang(context):
        go_on.wait(30)
        context.note("too late to say")
        try:
            context.use_arguments(())
        except BadInputError:
            gone.set()

    hung = Scripted("hung", apply=hang, timeout=5, cooldown=1, shared=False)
    procedure = procedure_of(hung)
    try:
        result = recover(procedure, make_error())
        assert endings(result) == [("hung", Ending.LATE)]
        assert "its thread was left behind" in result.reason
        assert procedure.snapshot()["abandoned"] == 1
        clock.advance(100)
        result = recover(procedure, make_error())
        assert endings(result) == [("hung", Ending.BUSY)]
        assert hung.runs == 1
    finally:
        go_on.set()
    assert gone.wait(10)
    eventually(lambda: not procedure.snapshot()["abandoned"])
    eventually(lambda: "was left behind has ended" in caplog.text)
    assert result.notes == ()


def test_a_strategy_has_no_more_time_than_the_call(make_error, recover, clock, kind):
    strategy = kind("never", timeout=60)
    spent = RecoveryContext(deadline=0)
    result = recover(procedure_of(strategy), make_error(), spent)
    assert endings(result) == [("never", Ending.OUT_OF_TIME)]
    assert strategy.asked == []


def test_the_deadline_of_the_surrounding_call_holds_too(clock):
    with Deadline.after(7):
        assert RecoveryContext(deadline=60).deadline == pytest.approx(7)
        assert RecoveryContext().deadline == pytest.approx(7)
    assert RecoveryContext(deadline=60).deadline == pytest.approx(60)
    assert RecoveryContext().deadline is None


def test_changes_of_the_one_that_helped_are_given_back_and_said(make_error, recover, kind):
    def failing(context):
        context.use_arguments((1,), {"never": 1})
        context.note("never")

    def helping(context):
        assert context.changes == Changes()
        context.use_arguments((2,), {"k": 3})
        context.note("used 2")
        context.degrade("less")

    first = kind("a", apply=failing, verify=False, shared=False)
    second = kind("b", apply=helping, shared=False)
    context = RecoveryContext("db", print, (9,), {"x": 1})
    result = recover(procedure_of(first, second), make_error(), context)
    assert result.changes.retry_of(print, (9,), {"x": 1}) == (print, (2,), {"k": 3})
    assert result.notes == ("other arguments in the retry: 0, x, k", "used 2", "less")
    assert result.degraded is True
    assert context.changes == result.changes


def test_changes_of_one_that_failed_are_forgotten(make_error, recover, kind):
    def offer(context):
        context.offer_result(5, "five, from memory")

    context = RecoveryContext()
    strategy = kind(apply=offer, verify=False, shared=False)
    result = recover(procedure_of(strategy), make_error(), context)
    assert not result.changes
    assert result.notes == ()
    assert result.degraded is False
    assert not context.changes


def test_an_offered_result_needs_a_note(make_error, recover, kind):
    def silent(context):
        context.offer_result(5, " ")

    result = recover(procedure_of(kind(apply=silent, shared=False)), make_error())
    assert result.success is False
    assert "note must say in words" in result.reason


def test_a_shared_strategy_cannot_change_one_call_while_it_acts(make_error, recover, kind):
    strategy = kind(apply=lambda context: context.use_arguments((1,)))
    result = recover(procedure_of(strategy), make_error())
    assert result.success is False
    assert "change it in adjust(error, context), or set shared = False" in result.reason


def test_a_shared_strategy_changes_each_call_in_adjust(make_error, recover, kind):
    class Adjusting(kind):
        def adjust(self, error, context):
            context.use_arguments((*context.args, "new"))

    result = recover(procedure_of(Adjusting()), make_error(), RecoveryContext(args=("old",)))
    assert result.changes.arguments == (("old", "new"), {})


def test_a_call_that_cannot_be_adjusted_is_not_mended(make_error, recover, kind):
    class Broken(kind):
        def adjust(self, error, context):
            raise ValueError("no")

    result = recover(procedure_of(Broken()), make_error())
    assert result.success is False
    assert "adjust raised ValueError: no" in result.reason


def test_the_exception_is_known_during_the_recovery_only(make_error, recover, kind):
    seen = []
    branches = []

    def look(context):
        seen.append(context.exception)
        branches.append(context)

    error = OSError("x")
    context = RecoveryContext(exception=error)
    recover(procedure_of(kind(apply=look)), make_error(), context)
    assert seen == [error]
    assert context.exception is None
    assert branches[0].exception is None


def test_context_variables_are_there_and_scratch_goes_from_step_to_step(make_error, recover, kind):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    def note(context):
        seen.append(variable.get())
        context.scratch["left"] = 1

    def look(context):
        return context.scratch["left"] == 1

    variable.set("set")
    result = recover(procedure_of(kind(apply=note, verify=look)), make_error())
    assert result.success is True
    assert seen == ["set"]


def test_history_is_plain_and_bounded(make_error, recover, kind, clock):
    procedure = procedure_of(kind(cooldown=0, verify=lambda context: True), max_history=3)
    for number in range(5):
        recover(procedure, make_error(error_type=f"E{number}"))
    history = procedure.get_recovery_history()
    assert [entry["error_type"] for entry in history] == ["E2", "E3", "E4"]
    entry = history[0]
    assert entry["timestamp"].startswith("2025-06-15T")
    assert entry["category"] == "network"
    assert entry["strategy"] == "scripted"
    assert entry["success"] is entry["verified"] is True
    assert entry["seconds"] >= 0
    entry["strategies_attempted"].append("mine")
    assert procedure.get_recovery_history()[0]["strategies_attempted"] == ["scripted"]


def test_rates_are_per_strategy(make_error, recover, kind):
    answers = iter([True, False, False, True])
    good = kind("flaky", cooldown=0, verify=lambda context: next(answers))
    procedure = procedure_of(good, kind("idle", applies=False))
    for _ in range(4):
        recover(procedure, make_error())
    rates = procedure.rates()
    assert (rates["flaky"]["runs"], rates["flaky"]["successes"]) == (4, 2)
    assert rates["flaky"]["rate"] == 0.5
    assert rates["idle"]["rate"] is None
    assert rates["idle"]["not_applicable"] == 2
    snapshot = procedure.snapshot()
    assert (snapshot["recoveries"], snapshot["successes"], snapshot["rate"]) == (4, 2, 0.5)
    assert snapshot["strategies"] == {"network": ["flaky", "idle"]}


def test_events_say_what_began_and_how_it_ended(make_error, recover, kind, heard):
    bad, good = kind("bad", verify=False), kind("good", apply=lambda c: c.note("mended it"))
    recover(procedure_of(bad, good, name="mender"), make_error())
    told = [(type(event), event.strategy, event.detail) for event in heard]
    assert told == [
        (RecoveryStarted, "bad", "ConnectionError of db"),
        (RecoveryFailed, "bad", "its effect was not seen"),
        (RecoveryStarted, "good", "ConnectionError of db"),
        (RecoverySucceeded, "good", "mended it"),
    ]
    assert {event.policy for event in heard} == {"mender"}


def test_notes_are_bounded_and_say_how_many_are_missing(make_error, recover, kind):
    def chatter(context):
        for number in range(150):
            context.note(f"{number} " + "x" * 10_000)

    result = recover(procedure_of(kind(apply=chatter)), make_error())
    assert len(result.notes) == 101
    assert result.notes[-1] == "and 50 more notes"
    assert len(result.notes[0]) == 500


def test_the_dependency_of_the_error_is_that_of_the_call(make_error, recover, kind):
    seen = []
    procedure = procedure_of(kind(apply=lambda context: seen.append(context.dependency)))
    recover(procedure, make_error(dependency="gpu1"))
    recover(procedure, make_error(dependency="gpu2"), RecoveryContext())
    recover(procedure, make_error(dependency="gpu2"), RecoveryContext("gpu3"))
    assert seen == ["gpu1", "gpu2", "gpu3"]


def test_a_key_that_cannot_be_used_is_a_failure(make_error, recover, kind):
    class Keyed(kind):
        key = ["not", "hashable"]  # noqa: RUF012  # that is the point

    class Broken(kind):
        @property
        def key(self):
            raise OSError("no key")

    result = recover(procedure_of(Keyed("a"), Broken("b"), kind("c")), make_error())
    assert endings(result)[:2] == [("a", Ending.FAILED), ("b", Ending.FAILED)]
    assert "key raised TypeError: unhashable" in result.reason
    assert result.strategy == "c"


def test_what_does_nothing_takes_no_thread(make_error, recover):
    """A strategy needs to define no more than apply and verify."""
    threads = []

    class Plain(Strategy):
        name = "plain"

        def apply(self, error, context):
            threads.append(threading.current_thread())

        def verify(self, error, context):
            threads.append(threading.current_thread())
            return True

    before = threading.current_thread()
    assert recover(procedure_of(Plain()), make_error()).success
    assert before not in threads
