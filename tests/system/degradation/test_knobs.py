"""What every knob promises, and what each one does."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.system.degradation import (
    ChoiceKnob,
    DegradationLevel,
    FeatureKnob,
    Knob,
    NumberKnob,
    QualityKnob,
    StepsKnob,
)
from holdfast.system.degradation.knobs import rungs_down

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

QUALITIES = [level.quality for level in DegradationLevel]
qualities = st.one_of(st.sampled_from(QUALITIES), st.floats(0.0, 1.0))


@st.composite
def number_knobs(draw):
    snap = draw(st.integers(1, 16))
    offset = draw(st.integers(0, snap - 1))
    floor = draw(st.integers(0, 20)) * snap + offset
    return NumberKnob("n", floor, snap, offset=offset)


@relaxed
@given(number_knobs(), st.integers(-100, 10_000), qualities, qualities)
def test_a_number_never_rises_never_passes_its_floor_and_falls_with_the_quality(
    knob, value, one, other
):
    low, high = sorted((one, other))
    less, more = knob.scale(value, low), knob.scale(value, high)
    assert less <= more <= value
    assert less >= min(value, knob.floor)
    assert knob.scale(value, 1.0) == value
    assert less in (value, knob.floor) or less % knob.snap == knob.offset


@relaxed
@given(st.floats(-1e6, 1e6), st.floats(0, 1e3), qualities, qualities)
def test_so_does_a_number_that_is_not_whole(value, floor, one, other):
    knob = NumberKnob("n", floor, kind=float)
    low, high = sorted((one, other))
    assert min(value, floor) <= knob.scale(value, low) <= knob.scale(value, high) <= value
    assert knob.scale(value, 1.0) == value


@relaxed
@given(st.integers(0, 4), qualities, qualities, st.sampled_from(list(DegradationLevel)[1:]))
def test_choices_go_down_only_and_with_the_quality(at, one, other, begins):
    ladder = ["fp32", "fp16", "fp8", "q6", "q4"]
    knob = ChoiceKnob("precision", ladder, begins=begins)
    low, high = sorted((one, other))
    less, more = (ladder.index(knob.scale(ladder[at], q)) for q in (low, high))
    assert at <= more <= less
    assert knob.scale(ladder[at], 1.0) == ladder[at]


def test_the_quality_is_multiplied():
    knob = QualityKnob()
    assert [knob.scale(1.0, q) for q in QUALITIES] == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert knob.scale(0.5, 0.6) == 0.3
    assert knob.scale(1, 0.6) == 0.6
    assert knob.scale(90, 0.8) == 72
    assert isinstance(knob.scale(90, 0.8), int)
    assert QualityKnob(floor=0.5).scale(1.0, 0.2) == 0.5


def test_steps_are_whole_and_at_least_one():
    knob = StepsKnob()
    assert [knob.scale(50, q) for q in QUALITIES] == [50, 40, 30, 20, 10]
    assert knob.scale(3, 0.2) == 1
    assert StepsKnob(floor=4).scale(10, 0.2) == 4
    assert StepsKnob(floor=4).scale(2, 0.2) == 2


def test_frames_of_a_video_keep_the_form_that_its_model_wants():
    knob = NumberKnob("frames", floor=9, snap=8, offset=1)
    assert [knob.scale(121, q) for q in QUALITIES] == [121, 89, 65, 41, 17]
    assert knob.scale(17, 0.2) == 9


@pytest.mark.parametrize("value", [True, None, "50", [50], 50.0, 10**400, -(10**400), math.nan])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(BadInputError, match="it needs a"):
        StepsKnob().scale(value, 0.8)


@pytest.mark.parametrize("value", [True, None, "1", math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(BadInputError, match="it needs a"):
        QualityKnob().scale(value, 0.8)


def test_a_choice_goes_one_rung_a_level_from_where_it_begins():
    ladder = ["best", "good", "fair", "poor"]
    assert [ChoiceKnob("c", ladder).scale("best", q) for q in QUALITIES] == [
        "best", "good", "fair", "poor", "poor",
    ]  # fmt: skip
    late = ChoiceKnob("c", ladder, begins="low")
    assert [late.scale("best", q) for q in QUALITIES] == ["best", "best", "best", "good", "fair"]
    with pytest.raises(BadInputError, match="none of 'best', 'good', 'fair', 'poor'"):
        late.scale("worst", 0.4)


def test_a_feature_is_off_from_its_level_on():
    knob = FeatureKnob("upscale", off_at="medium")
    assert [knob.scale(True, q) for q in QUALITIES] == [True, True, False, False, False]
    assert FeatureKnob("lora", "high", off_value=None).scale("x", 0.8) is None


def test_a_rung_for_each_level_and_for_each_part_of_one():
    assert [rungs_down(q) for q in QUALITIES] == [0, 1, 2, 3, 4]
    assert rungs_down(0.9) == 1
    assert rungs_down(0.0) == 5


def test_anything_of_the_right_shape_is_a_knob():
    for knob in (StepsKnob(), FeatureKnob("x", "low"), ChoiceKnob("y", [1, 2])):
        assert isinstance(knob, Knob)
        assert knob.name in repr(knob)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: NumberKnob("", 1), "key must be a text"),
        (lambda: NumberKnob("n", -1), "floor must be at least 0"),
        (lambda: NumberKnob("n", math.nan), "floor must be at least 0"),
        (lambda: NumberKnob("n", 1, 0), "snap must be a whole number of at least 1"),
        (lambda: NumberKnob("n", 1, kind=str), "kind must be int or float"),
        (lambda: NumberKnob("n", 8, 8, offset=8), "offset must be below snap, which is 8"),
        (lambda: NumberKnob("n", 7, 8), r"floor must be 8 \* n \+ 0, got 7"),
        (lambda: NumberKnob("n", 1.5), r"floor must be 1 \* n \+ 0, got 1.5"),
        (lambda: NumberKnob("n", 1, 2, kind=float), "snap needs kind=int"),
        (lambda: NumberKnob("n", 1, begins="full"), "begins must be one of high, medium"),
        (lambda: NumberKnob("n", 1, begins="best"), "begins must be one of full, high"),
        (lambda: NumberKnob("n", 1, name=" "), "name must be a text"),
        (lambda: ChoiceKnob("c", ["one"]), "ladder must hold at least 2 choices"),
        (lambda: ChoiceKnob("c", "abc"), "ladder must hold at least 2 choices"),
        (lambda: ChoiceKnob("c", ["a", "b", "a"]), "ladder must hold each choice once"),
        (lambda: FeatureKnob("f", "full"), "off_at must be one of high"),
    ],
)
def test_knobs_that_cannot_work_are_refused(build, told):
    with pytest.raises(BadInputError, match=told):
        build()
