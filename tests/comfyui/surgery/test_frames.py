"""A clip is made of fewer frames and lasts as long, within what its model can make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.surgery import fewer_frames, frames_of
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError
from tests.comfyui.graphs import node
from tests.comfyui.surgery.graphs import animated, catalog, ltx, of, sd15, templates, wan


def test_fewer_frames_of_the_families_own_number_shown_more_slowly():
    edit = fewer_frames(wan(81), catalog(), 0.75)
    assert edit.workflow.graph["lat"]["inputs"]["length"] == 61
    assert edit.workflow.graph["video"]["inputs"]["fps"] == pytest.approx(16 * 61 / 81, abs=1e-3)
    assert edit.change.words == (
        "61 frames instead of 81, shown more slowly, so that the clip is as long as before"
    )
    assert not edit.change.keeps_result


def test_what_tells_the_model_how_fast_things_move_follows():
    edit = fewer_frames(ltx(), catalog(), 0.5)
    graph = edit.workflow.graph
    assert graph["lat"]["inputs"]["length"] == 49
    assert graph["cond"]["inputs"]["frame_rate"] == graph["save"]["inputs"]["fps"] == 12.629


def test_the_batch_of_animatediff_is_its_frames():
    edit = fewer_frames(animated(), catalog(), 0.5)
    assert edit.workflow.graph["lat"]["inputs"]["batch_size"] == 8
    assert edit.workflow.graph["save"]["inputs"]["frame_rate"] == 8.0
    assert frames_of(animated(), catalog()) == 16


@given(st.floats(0.01, 0.99), st.integers(1, 400))
def test_never_less_than_the_share_nor_off_the_models_numbers_and_seconds_hold(share, length):
    before = wan(length)
    edit = fewer_frames(before, catalog(), share)
    if edit is None:
        return
    graph = edit.workflow.graph
    after = graph["lat"]["inputs"]["length"]
    assert length * share - 1e-6 <= after < length
    assert after >= 17
    assert (after - 1) % 4 == 0
    assert after / graph["video"]["inputs"]["fps"] == pytest.approx(length / 16, rel=1e-3)


def with_primitive() -> Workflow:
    graph = wan().to_api()
    graph["n"] = node("Int", value=81)
    graph["lat"]["inputs"]["length"] = ["n", 0]
    return of(graph)


def test_a_number_that_is_linked_is_changed_where_it_stands():
    edit = fewer_frames(with_primitive(), catalog(), 0.5)
    assert edit.workflow.graph["n"]["inputs"]["value"] == 41
    assert edit.workflow.graph["lat"]["inputs"]["length"] == ["n", 0]


def test_a_number_that_something_else_is_told_as_well_stays():
    graph = with_primitive().to_api()
    graph["k1"]["inputs"]["steps"] = ["n", 0]
    assert fewer_frames(of(graph), catalog(), 0.5) is None


def changed(**inputs: object) -> Workflow:
    graph = wan().to_api()
    graph["lat"]["inputs"] |= inputs
    return of(graph)


@pytest.mark.parametrize(
    "workflow",
    [sd15(4), wan(17), wan(1), changed(length="81"), changed(length=["k1", 0]), changed(length=-5)],
    ids=["stills", "short", "a still", "text", "computed", "negative"],
)
def test_what_cannot_be_shortened_is_left(workflow):
    assert fewer_frames(workflow, catalog(), 0.5) is None


def test_motion_that_is_given_from_outside_is_left():
    named = {each.name: each for each in templates()}
    guided = [name for name in named if "sound" in name or "s2v" in name or "flf2v" in name
              or "fun_control" in name or "animate" in name]  # fmt: skip
    assert guided
    for name in guided:
        assert fewer_frames(named[name], catalog(), 0.5) is None, name


@pytest.mark.parametrize("share", [0, 1, -1, 2, float("nan"), "half", None, True])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(BadInputError, match=r"share is .*; the share to be left is above 0"):
        fewer_frames(wan(), catalog(), share)
