"""Workflows in the retry: optional steps left out, simpler variants, work handed in anew."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import BadInputError, ErrorCategory
from holdfast.system.recovery import (
    RecoveryContext,
    RecoveryProcedure,
    Resubmit,
    SimplerVariant,
    SimplifySteps,
    SkipOptional,
    Step,
    optional_step,
)

WORKFLOW = ErrorCategory.WORKFLOW

LOAD, SAVE = Step("load", list), Step("save", list)
UPSCALE, POLISH = optional_step("upscale", list), optional_step("polish", list)


def run(steps, quality="high"):
    raise RuntimeError(steps, quality)


@pytest.fixture
def mend(recover, make_error):
    def go(strategy, *args, exception=None, told=None, operation=run, **kwargs):
        procedure = RecoveryProcedure()
        procedure.register(WORKFLOW, strategy)
        context = RecoveryContext("studio", operation, args, kwargs, exception=exception)
        return recover(procedure, make_error(WORKFLOW, context=told), context)

    return go


@pytest.mark.parametrize("kind", [list, tuple])
def test_optional_steps_are_left_out_and_said(mend, kind):
    result = mend(SkipOptional(), kind([LOAD, UPSCALE, POLISH, SAVE]))
    assert result.success
    assert result.changes.arguments == ((kind([LOAD, SAVE]),), {})
    assert result.degraded
    assert result.changes.lesser == "left out: upscale, polish"


def test_if_the_failed_step_is_known_only_that_one_goes(mend):
    result = mend(SkipOptional(), [LOAD, UPSCALE, POLISH], told={"step": "polish"})
    assert result.changes.arguments[0] == ([LOAD, UPSCALE],)

    error = RuntimeError("x")
    error.step = UPSCALE
    result = mend(SkipOptional(), [LOAD, UPSCALE, POLISH], exception=error)
    assert result.changes.arguments[0] == ([LOAD, POLISH],)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([LOAD, SAVE], None),
        ([LOAD, UPSCALE], {"step": "load"}),
        ([UPSCALE, POLISH], None),
        ([], None),
        ("load", None),
        (["load", "save"], None),
    ],
)
def test_what_is_required_stays(mend, steps, told):
    result = mend(SkipOptional(), steps, told=told)
    assert not result.success
    assert not result.changes


def test_only_what_was_declared_optional_goes():
    class Odd:
        name, optional = "odd", "yes"

    strategy = SkipOptional()
    context = RecoveryContext("studio", run, ([Odd(), LOAD],))
    assert strategy._dropped(type("E", (), {"context": None}), context) == []


@given(st.lists(st.booleans(), max_size=8))
def test_every_required_step_stays_in_order(optional):
    from datetime import UTC, datetime

    from holdfast.error_info import ErrorInfo
    from holdfast.errors import ErrorSeverity

    error = ErrorInfo(datetime.now(UTC), "E", "", WORKFLOW, ErrorSeverity.LOW)
    steps = [Step(str(n), list, optional=one) for n, one in enumerate(optional)]
    procedure = RecoveryProcedure()
    procedure.register(WORKFLOW, SimplifySteps())
    result = procedure.recover_sync(error, RecoveryContext("x", run, (steps,)))
    required = [step for step in steps if not step.optional]
    assert result.success is bool(required and len(required) < len(steps))
    if result.success:
        assert result.changes.arguments[0][0] == required


def test_a_step_is_callable():
    assert Step("add", lambda a, b: a + b)(1, b=2) == 3


def test_an_effect_that_did_not_happen_is_not_claimed(mend):
    class Idle(SkipOptional):
        def apply(self, error, context):
            context.use_arguments(context.args)

    class Greedy(SkipOptional):
        def apply(self, error, context):
            context.use_arguments(([],))

    class Swapping(SkipOptional):
        def apply(self, error, context):
            context.use_arguments(([SAVE, LOAD],))

    for wrong in (Idle(), Greedy(), Swapping()):
        assert not mend(wrong, [LOAD, UPSCALE, SAVE]).success


@pytest.mark.parametrize(
    ("given_quality", "expected"), [("high", "medium"), ("medium", "low"), (None, "medium")]
)
def test_the_next_simpler_variant_is_taken(mend, given_quality, expected):
    strategy = SimplerVariant("quality", ["high", "medium", "low"])
    kwargs = {} if given_quality is None else {"quality": given_quality}
    result = mend(strategy, [LOAD], **kwargs)
    assert result.success
    assert result.changes.arguments == (([LOAD],), {"quality": expected})
    assert "which is simpler" in result.changes.lesser
    assert result.degraded


@pytest.mark.parametrize("quality", ["low", "ultra", 3, ["high"]])
def test_below_the_simplest_there_is_nothing(mend, quality):
    strategy = SimplerVariant("quality", ["high", "medium", "low"])
    assert not mend(strategy, [LOAD], quality=quality).success


def test_a_step_down_that_did_not_happen_is_not_claimed(mend):
    class Idle(SimplerVariant):
        def apply(self, error, context):
            context.note("done, honestly")

    assert not mend(Idle("quality", ["high", "low"]), [LOAD]).success


@pytest.mark.parametrize("is_async", [False, True])
def test_work_is_handed_in_anew_and_the_retry_collects_it(mend, clock, is_async):
    queue = {}

    def submit(context):
        queue["job-2"] = context.args[0]
        return "job-2"

    def accepted(handle):
        return handle in queue

    def collect(handle):
        return f"{queue[handle]} done"

    def maybe_async(function):
        async def later(argument):
            await asyncio.sleep(0)
            return function(argument)

        return later if is_async else function

    strategy = Resubmit(maybe_async(submit), maybe_async(accepted), maybe_async(collect))
    result = mend(strategy, "picture")
    assert result.success
    assert not result.degraded
    fn, args, kwargs = result.changes.retry_of(run, ("picture",), {})
    value = fn(*args, **kwargs)

    async def awaited():
        return await value

    assert (clock.run(awaited()) if is_async else value) == "picture done"


@pytest.mark.parametrize("answer", [False, None, "queued"])
def test_work_that_was_not_accepted_is_not_claimed(mend, answer):
    strategy = Resubmit(lambda context: 7, lambda handle: answer, lambda handle: None)
    result = mend(strategy, "picture")
    assert not result.success
    assert not result.changes


def test_bad_settings_are_refused():
    for make, words in [
        (lambda: SkipOptional(""), "argument must be"),
        (lambda: SimplerVariant("q", ["a"]), "ladder must have two variants"),
        (lambda: SimplerVariant("q", "ab"), "ladder must have two variants"),
        (lambda: SimplerVariant("q", ["a", "b", "a"]), "ladder must have each variant once"),
        (lambda: Resubmit(None, print, print), "submit must be a function"),
        (lambda: Resubmit(print, print, 3), "collect must be a function"),
    ]:
        with pytest.raises(BadInputError, match=words):
            make()
