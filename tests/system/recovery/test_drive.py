"""Async strategies in code without a loop, and threads that cannot be had."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading

import pytest

from holdfast.errors import ErrorCategory
from holdfast.pipeline.workers import CAP, abandoned
from holdfast.system import recovery
from holdfast.system.recovery import Ending, RecoveryContext, RecoveryProcedure, RecoverySettings
from holdfast.system.recovery.arguments import MISSING, value_of, with_value
from tests.system.recovery.conftest import AsyncScripted, Scripted, eventually

NETWORK = ErrorCategory.NETWORK


def procedure_of(*strategies, **settings):
    procedure = RecoveryProcedure(RecoverySettings(**settings))
    for strategy in strategies:
        procedure.register(NETWORK, strategy)
    return procedure


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("holdfast-recovery")]


def test_all_async_steps_of_a_recovery_share_one_loop_which_is_then_closed(make_error):
    """What apply has connected must be of use to verify."""
    loops, ended = [], []

    async def background():
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(True)

    async def apply(context):
        loops.append(asyncio.get_running_loop())
        context.scratch["task"] = asyncio.create_task(background())
        await asyncio.sleep(0)

    async def verify(context):
        loops.append(asyncio.get_running_loop())
        return not context.scratch["task"].done()

    assert procedure_of(AsyncScripted(apply=apply, verify=verify)).attempt_recovery_sync(
        make_error()
    )
    assert loops[0] is loops[1]
    assert loops[0].is_closed()
    assert ended == [True]
    assert threads() == []


def test_context_variables_reach_the_private_loop(make_error):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def apply(context):
        seen.append(variable.get())

    variable.set("set")
    procedure_of(AsyncScripted(apply=apply)).recover_sync(make_error())
    assert seen == ["set"]


def test_a_step_that_will_not_be_cancelled_is_left_behind_and_counted(make_error, clock):
    go_on = threading.Event()

    async def apply(context):
        go_on.wait(20)  # blocks its loop, so that no cancellation gets through

    stubborn = AsyncScripted("stubborn", apply=apply, timeout=2, cooldown=0)
    procedure = procedure_of(stubborn, loop_factory=clock.new_loop)
    try:
        result = procedure.recover_sync(make_error())
        assert result.tried[0].ending is Ending.LATE
        assert "left behind" in result.reason
        assert abandoned.count == 1
        result = procedure.recover_sync(make_error())
        assert result.tried[0].ending is Ending.BUSY
    finally:
        go_on.set()
    eventually(lambda: not abandoned.count and not threads())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_passes(make_error, kind, interruption):
    strategy = kind(apply=interruption(), cooldown=0)
    procedure = procedure_of(strategy, kind("next"))
    with pytest.raises(interruption):
        procedure.recover_sync(make_error())
    assert procedure.snapshot()["running"] == 0
    assert strategy.runs == 1


def test_past_the_limit_of_abandoned_threads_none_begins(make_error, recover):
    strategy = Scripted()
    procedure = procedure_of(strategy)
    abandoned.change(CAP)
    try:
        result = recover(procedure, make_error())
    finally:
        abandoned.change(-CAP)
    assert not result.success
    assert f"{CAP} threads run on after their time was up" in result.reason
    assert strategy.asked == []


def test_a_thread_that_cannot_be_started_is_a_failure(make_error, recover, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    strategy = Scripted()
    procedure = procedure_of(strategy)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        result = recover(procedure, make_error())
    assert "can't start new thread" in result.reason
    assert strategy.asked == []


def test_a_plain_function_may_return_an_awaitable(make_error, recover):
    async def later():
        await asyncio.sleep(0)
        return True

    result = recover(procedure_of(Scripted(verify=lambda context: later())), make_error())
    assert result.success


@pytest.mark.parametrize("caller", ["sync", "async"])
def test_an_awaitable_that_comes_too_late_is_disposed_of(make_error, clock, caller):
    async def later():
        raise AssertionError

    def slow(context):
        clock.advance(5)
        return later()

    procedure = procedure_of(Scripted(apply=slow, timeout=3))
    if caller == "sync":
        result = procedure.recover_sync(make_error())
    else:
        result = clock.run(procedure.recover(make_error()))
    assert result.tried[0].ending is Ending.LATE


def fn(a, b=2, *rest, c=3, **more):
    raise AssertionError


@pytest.mark.parametrize(
    ("args", "kwargs", "name", "value", "changed"),
    [
        ((1,), {}, "a", 1, ((9,), {})),
        ((1, 5), {}, "b", 5, ((1, 9), {})),
        ((1,), {}, "b", 2, ((1,), {"b": 9})),
        ((1,), {"b": 5}, "b", 5, ((1,), {"b": 9})),
        ((1, 5, 6), {}, "c", 3, ((1, 5, 6), {"c": 9})),
        ((1,), {"d": 4}, "d", 4, ((1,), {"d": 9})),
        ((1,), {}, "d", MISSING, ((1,), {"d": 9})),
        ((1, 5, 6), {}, "rest", MISSING, ((1, 5, 6), {"rest": 9})),
    ],
)
def test_an_argument_is_found_wherever_it_was_given(args, kwargs, name, value, changed):
    context = RecoveryContext("x", fn, args, kwargs)
    assert value_of(context, name) is value or value_of(context, name) == value
    assert with_value(context, name, 9) == changed
    assert (context.args, context.kwargs) == (args, kwargs)


def test_arguments_of_what_has_no_signature_are_found_by_name():
    context = RecoveryContext("x", dict.fromkeys, ([1],), {"value": 2})
    assert value_of(context, "value") == 2
    assert value_of(RecoveryContext("x", None, (1,)), "a") is MISSING


def test_every_public_name_is_there_and_they_are_sorted():
    assert list(recovery.__all__) == sorted(recovery.__all__)
    for name in recovery.__all__:
        assert getattr(recovery, name).__name__ in {name, "SkipOptional"}
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        _ = recovery.Magic


@pytest.mark.parametrize("after", [0.0, 0.05])
def test_ctrl_c_in_the_middle_ends_the_run_and_holds_nothing(make_error, after):
    """Also when it comes while the thread is being started."""
    go_on = threading.Event()

    def apply(context):
        go_on.wait(after)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        go_on.wait(20)

    strategy = Scripted(apply=apply, cooldown=0)
    procedure = procedure_of(strategy)
    try:
        with pytest.raises(KeyboardInterrupt):
            procedure.recover_sync(make_error())
        snapshot = procedure.snapshot()
        assert (snapshot["running"], snapshot["waiting"], snapshot["abandoned"]) == (0, 0, 1)
        assert procedure.recover_sync(make_error()).tried[0].ending is Ending.BUSY
    finally:
        go_on.set()
    eventually(lambda: not abandoned.count)
    first = procedure.get_recovery_history()[0]
    assert first["success"] is False
    assert first["detail"] == "recovery: interrupted: the call was ended from outside"


def test_ctrl_c_before_there_is_a_thread_leaves_none(make_error, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    strategy = Scripted()
    procedure = procedure_of(strategy)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            procedure.recover_sync(make_error())
    assert abandoned.count == 0
    assert strategy.asked == []
    assert procedure.recover_sync(make_error()).success
