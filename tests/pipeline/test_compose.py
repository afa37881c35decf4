"""Policies around policies, and the one place where a failure is raised."""

from __future__ import annotations

import gc
import weakref

import pytest

from holdfast.outcome import Attempt, Err, Ok, Report, report_of
from holdfast.pipeline.compose import annotate, compose, finish, raise_error, under_deadline
from holdfast.policies.effects import Invoke, Within
from holdfast.policies.policy import Policy
from holdfast.testing import FakeClock
from tests.scenarios.hands import heard, new_call

FAILED = Attempt(1, "ConnectionError: lost", 0.5, 2.0)


@pytest.fixture(autouse=True)
def clock():
    with FakeClock() as clock:
        yield clock


class Tag(Policy):
    """Says when it is entered and left."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.said = name, said

    def flow(self, call, inner):
        self.said.append(f"into {self.name}")
        result = yield from inner(call)
        self.said.append(f"out of {self.name}")
        return result


def test_the_first_policy_is_the_outermost():
    said: list[str] = []
    flow = compose([Tag("outer", said), Tag("inner", said)])(new_call())
    assert type(next(flow)) is Invoke
    assert said == ["into outer", "into inner"]
    with pytest.raises(StopIteration) as end:
        flow.send(Ok(7))
    assert end.value.value.value == 7
    assert said[2:] == ["out of inner", "out of outer"]


def test_without_policies_there_is_the_call():
    flow = compose([])(new_call())
    assert type(next(flow)) is Invoke


def test_a_deadline_that_was_inherited_is_set_around_everything():
    step, call = compose([]), new_call()
    assert type(next(under_deadline(step, call))) is Invoke
    call.scope.deadline = 1_010.0
    limit = next(under_deadline(step, call))
    assert type(limit) is Within
    assert (limit.flow, limit.seconds) == (step, None)


def test_the_end_of_a_call_is_told(clock):
    call = new_call("upload")
    call.attempts = 2
    clock.advance(3.0)
    with heard() as events:
        finish(Ok(1), call)
        finish(Err(KeyError("x")), call)
    good, bad = events
    assert (good.policy, good.attempts, good.seconds) == ("upload", 2, 3.0)
    assert (bad.policy, bad.attempts, bad.seconds, bad.error) == ("upload", 2, 3.0, "KeyError: 'x'")


def test_an_error_without_a_story_is_left_as_it_is():
    error = KeyError()
    annotate(error, Report(), "upload")
    assert report_of(error) is None
    assert not hasattr(error, "__notes__")


def test_an_error_carries_its_story_as_a_report_and_as_notes():
    error, report = KeyError(), Report((FAILED,), ("retry: again",), 3.0)
    annotate(error, report, "upload")
    assert report_of(error) is report
    assert error.__notes__ == [f"holdfast upload: {FAILED}"]


def test_notes_of_two_pipelines_stand_beside_each_other():
    error, report = KeyError(), Report((FAILED,))
    for name in ("inner", "outer", "inner", "outer"):
        annotate(error, report, name)
    assert [note.split(":")[0] for note in error.__notes__] == ["holdfast inner", "holdfast outer"]


@pytest.mark.parametrize("notes", [[7, None], "text", None])
def test_strange_notes_of_others_do_no_harm(notes):
    error = KeyError()
    error.__notes__ = notes
    annotate(error, Report((FAILED,)), "upload")
    assert report_of(error) is not None


def test_an_error_that_takes_no_attributes_is_still_raised():
    class SlottedError(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

    error = SlottedError()
    annotate(error, Report((FAILED,)), "upload")
    with pytest.raises(SlottedError):
        raise_error(Err(error))


def test_raising_leaves_no_cycle_behind():
    class OwnError(Exception):
        pass

    def fail() -> weakref.ref[OwnError]:
        error = OwnError()
        known = weakref.ref(error)
        try:
            raise_error(Err(error))
        except OwnError:
            del error
        return known

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()
