"""What is kept of an exception: plain data, no secrets, nothing that keeps the call alive."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import time
import weakref
from datetime import UTC, datetime

import pytest

from holdfast import ErrorCategory, ErrorHandlingSystem, ErrorSeverity, SuggestedRecovery
from holdfast.system.capture import (
    DEEPEST,
    FRAMES,
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    capture,
    frames_of,
    name_of,
)
from holdfast.testing import FakeClock

KEY = "sk-" + "a1B2" * 12


class Buffer:
    """Stands for what a failed call held."""


def caught(raiser, *args):
    try:
        raiser(*args)
    except Exception as error:  # it is what is tested
        return error
    raise AssertionError("it did not fail")


def load(name):
    raise FileNotFoundError(2, "No such file or directory", name)


def render(name):
    load(name)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# -- what it says ----------------------------------------------------------------------------------


def test_type_message_place_and_meaning_are_told():
    with FakeClock(wall=1_750_000_000.0):
        told = capture(caught(render, "a.ckpt"), dependency="gpu1", operation="render")
    assert told.timestamp == datetime.fromtimestamp(1_750_000_000.0, UTC)
    assert told.error_type == "FileNotFoundError"
    assert "a.ckpt" in told.error_message
    assert (told.dependency, told.operation) == ("gpu1", "render")
    assert told.frames[:2] == (f"{__name__}:load", f"{__name__}:render")
    assert isinstance(told.category, ErrorCategory)
    assert isinstance(told.severity, ErrorSeverity)
    assert isinstance(told.suggested_recovery, SuggestedRecovery)
    assert told.reason
    assert "in render" in told.traceback
    assert told.traceback.rstrip().endswith("'a.ckpt'")
    assert (told.recovery_attempted, told.recovery_successful) == (False, False)


def test_an_error_that_was_never_raised_has_no_traceback():
    told = capture(ValueError("made, not raised"))
    assert told.traceback is None
    assert told.frames == ()


def test_causes_and_contexts_are_in_the_traceback():
    def outer():
        try:
            load("first.ckpt")
        except OSError as error:
            raise RuntimeError("the model cannot be used") from error

    def while_handling():
        try:
            outer()
        except RuntimeError:
            raise KeyError("sampler")  # noqa: B904  # the context is what is tested

    told = capture(caught(while_handling))
    assert told.traceback.index("first.ckpt") < told.traceback.index("the model cannot be used")
    assert "direct cause" in told.traceback
    assert "another exception occurred" in told.traceback
    assert told.error_type == "KeyError"


def test_a_cause_that_is_its_own_cause_is_survived():
    error = caught(load, "a")
    error.__cause__ = error
    assert capture(error).traceback


def test_frames_of_holdfast_are_left_out():
    system = ErrorHandlingSystem()
    error = caught(system.call_with_resilience, render, "a.ckpt")
    frames = frames_of(error)
    assert frames[:2] == (f"{__name__}:load", f"{__name__}:render")
    assert not [one for one in frames if one.startswith("holdfast")]


def test_the_innermost_frames_are_kept_and_endless_recursion_is_cut():
    def down(depth):
        if not depth:
            load("deep")
        down(depth - 1)

    frames = capture(caught(down, 20)).frames
    assert len(frames) == FRAMES
    assert frames[0].endswith(":load")

    began = time.perf_counter()
    told = capture(caught(down, -1))
    assert time.perf_counter() - began < 1.0
    assert told.error_type == "RecursionError"
    assert 0 < len(told.frames) <= FRAMES
    assert len(told.traceback) <= LONGEST_TRACEBACK
    assert DEEPEST < 1000  # or the recursion above would not go beyond it


# -- nothing stays alive ---------------------------------------------------------------------------


class WrongWidthError(ValueError):
    """Of a class of our own, because those of the language cannot be referred to weakly."""


def failing_with(buffer):
    held = buffer  # noqa: F841  # a variable of the failed frame
    raise WrongWidthError("width must be a multiple of 8")


def test_neither_exception_nor_frame_nor_argument_is_kept_alive(no_collector):
    buffer = Buffer()
    alive = weakref.ref(buffer)
    error = caught(failing_with, buffer)
    gone = weakref.ref(error)
    told = capture(error, context={"buffer": buffer, "nested": [{"buffer": buffer}]})
    del buffer, error
    assert alive() is None
    assert gone() is None
    assert told.error_message


def test_what_a_system_remembers_keeps_nothing_alive(no_collector):
    system = ErrorHandlingSystem()
    buffer = Buffer()
    alive = weakref.ref(buffer)
    outcome = system.call_outcome_with_resilience(failing_with, buffer)
    gone = weakref.ref(outcome.error)
    del buffer, outcome
    assert gone() is None
    assert alive() is None
    assert len(system.error_analytics.error_history) == 1


def test_what_an_async_call_has_failed_with_is_let_go(no_collector):
    system = ErrorHandlingSystem()
    references = []

    async def render_async(buffer):
        failing_with(buffer)

    async def main():
        buffer = Buffer()
        references.append(weakref.ref(buffer))
        # Never in a variable: since Python 3.13 the frame of what failed holds this one, too.
        references.append(
            weakref.ref((await system.outcome_with_resilience(render_async, buffer)).error)
        )

    with FakeClock() as clock:
        clock.run(main())
    assert [one() for one in references] == [None, None]


def test_it_is_plain_data():
    context = {"path": object(), "number": 5, "deep": {"list": [1, (2, {3})]}, 7: b"\xff"}
    told = capture(caught(render, "a"), context=context)
    json.dumps(dataclasses.asdict(told)["context"])


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", [KEY, "postgresql://me:hunter2hunter2@db/x", "Authorization: Bearer abcdef0123456789"]
)
def test_secrets_are_in_neither_message_nor_traceback_nor_context(secret):
    def ask():
        raise ConnectionError(f"refused: {secret}")

    def ask_again():
        try:
            ask()
        except ConnectionError as error:
            raise RuntimeError("no answer") from error

    context = {
        "header": secret,
        "list": [secret],
        "password": "correct horse",
        "deep": {"k": secret},
    }
    told = capture(caught(ask_again), context=context)
    direct = capture(caught(ask), context=context)
    everything = json.dumps([dataclasses.asdict(one) for one in (told, direct)], default=str)
    for word in (KEY, "hunter2hunter2", "abcdef0123456789", "correct horse"):
        assert word not in everything
    assert "refused" in direct.error_message


def test_a_secret_is_not_cut_in_two_so_that_its_half_is_kept():
    for before in range(LONGEST_MESSAGE - 60, LONGEST_MESSAGE + 5, 7):
        told = capture(ValueError("x" * before + " " + KEY + " " + "y" * LONGEST_MESSAGE))
        assert "a1B2a1B2a1B2" not in told.error_message, before
    for before in range(0, 60, 7):
        told = capture(
            ValueError("x" * 2 * LONGEST_MESSAGE + KEY + "y" * (LONGEST_MESSAGE - before))
        )
        assert "a1B2a1B2a1B2" not in told.error_message, before


# -- anything at all -------------------------------------------------------------------------------


def test_a_message_of_ten_megabytes_costs_little_and_is_cut():
    error = caught(failing_with_message, "CUDA out of memory. " + "x" * 10_000_000 + " the end")
    capture(ValueError("warm"))
    began = time.perf_counter()
    told = capture(error)
    assert time.perf_counter() - began < 1.0
    assert len(told.error_message) <= LONGEST_MESSAGE
    assert told.error_message.startswith("CUDA out of memory.")
    assert told.error_message.endswith("the end")
    assert told.category is ErrorCategory.MEMORY
    assert len(told.traceback) <= LONGEST_TRACEBACK


def failing_with_message(message):
    raise RuntimeError(message)


class UnreadableError(Exception):
    def __str__(self):
        raise ZeroDivisionError("no message")

    __repr__ = __str__


class NotEvenTextError(Exception):
    def __str__(self):
        return 5  # that is what is wrong with it


class InterruptingError(Exception):
    def __getattr__(self, name):
        raise ZeroDivisionError(name)


@pytest.mark.parametrize("kind", [UnreadableError, NotEvenTextError, InterruptingError])
def test_exceptions_that_misbehave_are_captured(kind):
    def fail():
        raise kind("a")

    told = capture(caught(fail))
    assert told.error_type == kind.__name__
    assert isinstance(told.error_message, str)
    assert told.frames[0].endswith(".fail") or told.frames[0].endswith(":fail")
    outcome = ErrorHandlingSystem().call_outcome_with_resilience(fail)
    assert not outcome.ok


@pytest.mark.parametrize(
    "text", ["\x00\x1b[31m red", "\ud800 half", "\u202e turned", "\r\nInjected: line", ""]
)
def test_odd_text_is_captured_and_can_be_written(text):
    told = capture(caught(failing_with_message, text))
    json.dumps(dataclasses.asdict(told), default=str).encode()
    told.error_message.encode()
    told.traceback.encode()
    assert "\x1b" not in told.error_message


def test_a_group_is_told_by_its_worst():
    def fail():
        raise ExceptionGroup("both", [ConnectionError("reset"), RuntimeError("CUDA out of memory")])

    told = capture(caught(fail))
    assert told.error_type == "ExceptionGroup"
    assert told.category is ErrorCategory.MEMORY


# -- names -----------------------------------------------------------------------------------------


class Engine:
    def render(self):
        """A method."""

    async def __call__(self):
        """A callable object."""


def test_functions_are_named_as_people_call_them():
    def inner():
        """A local function."""

    assert name_of(render) == "render"
    assert name_of(Engine().render) == "Engine.render"
    assert name_of(Engine()) == "Engine"
    assert name_of(functools.partial(functools.partial(render, "a"), b=1)) == "render"
    assert name_of(inner) == "inner"
    assert name_of(len) == "len"
    assert name_of(Engine) == "Engine"
    assert name_of(lambda: 0) == "<lambda>"


def test_a_name_from_a_stranger_is_bounded_and_printable():
    def odd():
        """Gets other names."""

    odd.__qualname__ = "x" * 10_000
    assert len(name_of(odd)) <= 200
    odd.__qualname__ = "red \x1b[31m"
    assert "\x1b" not in name_of(odd)
