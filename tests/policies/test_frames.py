"""Errors without their frames: what is let go, and what stays as a text."""

from __future__ import annotations

import gc
import weakref

import pytest

from holdfast.errors import FallbackChainExhaustedError
from holdfast.policies.frames import note, origin, release


class Buffer:
    """Stands for gigabytes."""


HELD = []


def fail(error):
    buffer = Buffer()
    HELD.append(weakref.ref(buffer))
    raise error


def caught(error):
    try:
        fail(error)
    except Exception as found:
        return found


def with_cause():
    error = caught(KeyError("outer"))
    error.__cause__ = caught(ValueError("inner"))
    return error


def with_context():
    try:
        fail(ValueError("inner"))
    except ValueError:
        return caught(KeyError("while handling"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: caught(ValueError("plain")),
        with_cause,
        with_context,
        lambda: ExceptionGroup("g", [caught(ValueError("one")), with_cause()]),
        lambda: FallbackChainExhaustedError("c", {"a": caught(ValueError("one"))}),
    ],
)
def test_every_frame_behind_an_error_is_let_go(make):
    HELD.clear()
    gc.collect()
    gc.disable()
    try:
        error = make()
        assert any(buffer() is not None for buffer in HELD)
        release(error)
        assert [buffer() for buffer in HELD] == [None] * len(HELD)
    finally:
        gc.enable()


def test_errors_that_point_at_each_other_are_no_endless_way():
    one, other = ValueError("one"), KeyError("other")
    one.__context__, other.__context__ = other, one
    release(one)
    assert one.__traceback__ is None


def test_the_place_an_error_came_from_is_told():
    assert origin(caught(ValueError())).startswith("test_frames.py:")
    assert origin(caught(ValueError())).endswith(" in fail")
    assert origin(ValueError("never raised")) == ""


def test_a_note_replaces_an_earlier_one_of_the_same_mark():
    error = ValueError()
    note(error, "a: ", "one")
    note(error, "b: ", "two")
    note(error, "a: ", "three")
    assert error.__notes__ == ["b: two", "a: three"]


def test_an_error_that_takes_no_notes_stays_as_it_is():
    class Strange(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    note(Strange(), "a: ", "one")


def test_an_error_that_is_met_twice_does_not_hide_those_behind_it():
    shared, last = caught(KeyError("shared")), caught(OSError("last"))
    group = ExceptionGroup("g", [shared, shared])
    group.__cause__ = last
    release(group)
    assert (shared.__traceback__, last.__traceback__) == (None, None)
