"""Steps of a script: what can be played and what is refused."""

from __future__ import annotations

import math

import pytest

from holdfast import BadInputError
from holdfast.testing import ScriptOverError, Step
from holdfast.testing.script import Ending, make_error


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "1", True])
def test_a_step_that_takes_no_proper_time_is_refused(seconds):
    with pytest.raises(BadInputError, match="seconds must be"):
        Step.returns(1, seconds)


@pytest.mark.parametrize("error", ["text", None, 3, int, lambda: 3])
def test_what_is_no_error_cannot_be_raised(error):
    with pytest.raises(BadInputError, match="an error must be"):
        Step.raises(error)


def test_a_class_that_needs_arguments_is_refused_when_the_script_is_written():
    with pytest.raises(BadInputError, match="cannot be called without arguments"):
        Step.raises(UnicodeDecodeError)


def test_a_class_and_a_function_make_a_new_error_each_time_and_an_instance_stays_itself():
    assert make_error(KeyError) is not make_error(KeyError)
    assert make_error(lambda: OSError(28, "full")).errno == 28
    error = ValueError("x")
    assert make_error(error) is error


def test_what_cannot_be_called_is_not_done():
    with pytest.raises(BadInputError, match="needs a function"):
        Step(Ending.CALL, 3)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step.returns("ok"), "returns 'ok'"),
        (Step.raises(KeyError, 2), "raises KeyError after 2 s"),
        (Step.hangs(), "hangs"),
    ],
)
def test_a_step_tells_itself_in_words(step, told):
    assert repr(step) == told


def test_no_policy_can_mistake_the_end_of_a_script_for_a_failure():
    assert not issubclass(ScriptOverError, Exception)
