"""Requests turned down by the knobs there are, with an account of it."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.system.degradation import (
    AdjustedParameters,
    Change,
    DegradationLevel,
    FeatureKnob,
    GracefulDegradation,
    NumberKnob,
    QualityKnob,
    Skipped,
    StepsKnob,
)

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PARAMS = {"quality": 1.0, "resolution": "1080p", "steps": 50}


def at(level, **arguments):
    degradation = GracefulDegradation(**arguments)
    degradation.current_level = level
    return degradation


def test_the_original_example():
    degradation = GracefulDegradation()
    degradation.degrade("High error rate detected")
    params = {"quality": 1.0, "resolution": "1080p", "steps": 50}
    adjusted_params = degradation.adjust_parameters(params)
    assert adjusted_params == {"quality": 0.8, "resolution": "720p", "steps": 40}
    assert params == PARAMS
    degradation.current_level = "low"
    assert degradation._adjust_resolution("1080p", 0.4) in ["720p", "480p", "360p", "240p"]
    assert degradation._adjust_resolution("unheard of", 0.4) == "unheard of"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("full", PARAMS),
        ("medium", {"quality": 0.6, "resolution": "480p", "steps": 30}),
        ("low", {"quality": 0.4, "resolution": "360p", "steps": 20}),
        ("minimal", {"quality": 0.2, "resolution": "240p", "steps": 10}),
    ],
)
def test_each_level_gives_less(level, expected):
    assert at(level).adjust_parameters(PARAMS) == expected


def test_what_was_changed_is_said():
    adjusted = at("medium").adjust_parameters({"steps": 50, "seed": 7})
    reason = "level medium: quality 0.6, core features"
    assert adjusted.changes == [Change("steps", "steps", 50, 30, reason)]
    assert adjusted.skipped == []
    assert adjusted.level is DegradationLevel.MEDIUM


def test_width_and_height_go_together_and_are_told_apart():
    adjusted = at("medium").adjust_parameters({"width": 1920, "height": 1080})
    assert adjusted == {"width": 1152, "height": 648}
    assert [(c.key, c.before, c.after) for c in adjusted.changes] == [
        ("width", 1920, 1152),
        ("height", 1080, 648),
    ]


def test_what_cannot_be_read_is_left_alone_and_said():
    params = {"steps": "many", "resolution": None, "width": 512, "quality": 1.0}
    adjusted = at("low").adjust_parameters(params)
    assert adjusted == {"steps": "many", "resolution": None, "width": 512, "quality": 0.4}
    assert Skipped("steps", "steps", "many", "it needs a whole number") in adjusted.skipped
    told = {skipped.key: skipped.reason for skipped in adjusted.skipped}
    assert set(told) == {"steps", "resolution", "width"}
    assert told["width"] == "it needs all of 'width', 'height'"


def test_a_knob_that_fails_fails_no_request():
    class Broken:
        name, keys, begins = "broken", ("x",), DegradationLevel.HIGH

        def scale(self, value, quality):
            raise ZeroDivisionError("oops")

    adjusted = at("low", knobs=[Broken()]).adjust_parameters({"x": 1})
    assert adjusted == {"x": 1}
    assert adjusted.skipped == [
        Skipped("broken", "x", 1, "the knob failed: ZeroDivisionError: oops")
    ]


def test_a_knob_that_gives_back_too_little_is_skipped():
    class Short:
        name, keys, begins = "short", (("a", "b"),), "high"

        def scale(self, value, quality):
            return (1,)

    adjusted = at("low", knobs=[Short()]).adjust_parameters({"a": 5, "b": 6})
    assert adjusted == {"a": 5, "b": 6}
    assert [skipped.key for skipped in adjusted.skipped] == ["a", "b"]


def test_knobs_act_from_the_level_they_begin_at():
    knobs = [FeatureKnob("upscale", "medium"), NumberKnob("frames", 1, begins="low")]
    params = {"upscale": True, "frames": 100}
    assert at("high", knobs=knobs).adjust_parameters(params) == params
    assert at("medium", knobs=knobs).adjust_parameters(params) == params | {"upscale": False}
    assert at("low", knobs=knobs).adjust_parameters(params) == {"upscale": False, "frames": 40}


def test_knobs_come_and_go():
    degradation = at("medium")
    degradation.register_knob(NumberKnob("batch", 1))
    assert degradation.adjust_parameters({"batch": 10}) == {"batch": 6}
    assert [knob.name for knob in degradation.knobs] == ["quality", "resolution", "steps", "batch"]
    assert degradation.unregister_knob("batch").name == "batch"
    assert degradation.adjust_parameters({"batch": 10}) == {"batch": 10}
    with pytest.raises(BadInputError, match=r"a knob \(quality, resolution, steps\), got 'batch'"):
        degradation.unregister_knob("batch")


def test_no_parameter_is_turned_down_twice():
    degradation = at("medium")
    with pytest.raises(BadInputError, match="'steps' acts on"):
        degradation.register_knob(NumberKnob("steps", 4, name="mine"))
    degradation.register_knob(NumberKnob("steps", 45, name="mine"), replace=True)
    assert degradation.adjust_parameters({"steps": 50}) == {"steps": 45}
    assert "steps" not in [knob.name for knob in degradation.knobs]


@pytest.mark.parametrize(
    "wrong",
    [object(), StepsKnob, None, type("K", (), {"name": "x", "keys": (), "begins": "high",
     "scale": print})(), type("K", (), {"name": "", "keys": ("a",), "begins": "high",
     "scale": print})(), type("K", (), {"name": "x", "keys": "abc", "begins": "high",
     "scale": print})(), type("K", (), {"name": "x", "keys": ("a",), "begins": "full",
     "scale": print})(), type("K", (), {"name": "x", "keys": ("a", "a"), "begins": "low",
     "scale": print})()],
)  # fmt: skip
def test_what_is_no_knob_is_refused(wrong):
    with pytest.raises(BadInputError, match=r"knob|begins"):
        GracefulDegradation().register_knob(wrong)


def test_what_is_no_mapping_is_refused():
    for level in ("full", "low"):
        with pytest.raises(BadInputError, match="params must be a mapping"):
            at(level).adjust_parameters([("steps", 5)])


@relaxed
@given(
    st.dictionaries(
        st.sampled_from(["steps", "quality", "resolution", "width", "height", "seed"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text("0123x48p ", max_size=9),
            st.tuples(st.integers(), st.integers()), st.lists(st.integers(), max_size=3),
            st.dictionaries(st.sampled_from(["width", "height"]), st.integers()),
        ),
    ),
    st.sampled_from(list(DegradationLevel)),
)  # fmt: skip
def test_whatever_is_given_nothing_fails_nothing_is_lost_and_nothing_of_the_callers_changes(
    params, level
):
    before = copy.deepcopy(params)
    adjusted = at(level).adjust_parameters(params)
    assert repr(params) == repr(before)
    assert list(adjusted) == list(params)
    touched = {change.key for change in adjusted.changes}
    for key, value in params.items():
        assert key in touched or adjusted[key] is value
    for change in adjusted.changes:
        assert change.before is params[change.key]
    if level is DegradationLevel.FULL:
        assert not adjusted.changes
        assert not adjusted.skipped


def test_the_result_is_a_dict_like_any_other():
    adjusted = at("low").adjust_parameters(PARAMS)
    assert json.loads(json.dumps(adjusted)) == dict(adjusted)
    twin = pickle.loads(pickle.dumps(adjusted))
    assert isinstance(twin, AdjustedParameters)
    assert (twin, twin.changes, twin.level) == (adjusted, adjusted.changes, adjusted.level)


def test_a_quality_knob_alone():
    assert at("low", knobs=[QualityKnob()]).adjust_parameters(PARAMS) == PARAMS | {"quality": 0.4}
