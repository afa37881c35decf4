"""Sizes in all the ways people write them, smaller and in proportion."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import BadInputError
from holdfast.system.degradation import DegradationLevel, ResolutionKnob

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

KNOB = ResolutionKnob()
QUALITIES = [level.quality for level in DegradationLevel]
qualities = st.one_of(st.sampled_from(QUALITIES), st.floats(0.0, 1.0))
sides = st.integers(1, 20_000)
RUNGS = ["4k", "1440p", "1080p", "720p", "480p", "360p", "240p", "144p"]


@relaxed
@given(sides, sides, qualities, qualities)
def test_no_side_rises_or_passes_the_floor_and_both_fall_with_the_quality(width, height, one, two):
    low, high = sorted((one, two))
    less, more = KNOB.sides(width, height, low), KNOB.sides(width, height, high)
    for small, big, side in zip(less, more, (width, height), strict=True):
        assert small <= big <= side
        assert small >= min(side, KNOB.floor)
    assert KNOB.sides(width, height, 1.0) == (width, height)


@relaxed
@given(sides, sides, qualities)
def test_what_is_changed_is_snapped_and_in_proportion(width, height, quality):
    small = KNOB.sides(width, height, quality)
    if small == (width, height):
        return
    assert not small[0] % 8
    assert not small[1] % 8
    # No side is further from one common factor than snapping can take it.
    share = max(quality, 64 / min(width, height))
    assert abs(small[0] - width * share) < 8
    assert abs(small[1] - height * share) < 8


@relaxed
@given(st.integers(1, 99_999), qualities, qualities)
def test_rungs_go_down_only(lines, one, other):
    low, high = sorted((one, other))

    def height(name):
        return 2160 if name == "4k" else int(name[:-1])

    less, more = (height(KNOB.scale(f"{lines}p", q)) for q in (low, high))
    assert less <= more <= lines
    assert less >= min(lines, 144)


def test_one_rung_a_level():
    assert [KNOB.scale("1080p", q) for q in QUALITIES] == ["1080p", "720p", "480p", "360p", "240p"]
    assert [KNOB.scale("4K", q) for q in QUALITIES] == ["4K", "1440p", "1080p", "720p", "480p"]
    assert [KNOB.scale(rung, 0.8) for rung in RUNGS] == [*RUNGS[1:], "144p"]
    assert [KNOB.scale("2160p", q) for q in (1.0, 0.8)] == ["2160p", "1440p"]


def test_a_size_between_two_rungs_reaches_the_next_with_the_first_step():
    assert [KNOB.scale("900p", q) for q in QUALITIES] == ["900p", "720p", "480p", "360p", "240p"]
    assert KNOB.scale("100p", 0.2) == "100p"


def test_names_go_no_lower_than_they_may():
    knob = ResolutionKnob(lowest="480p")
    assert knob.scale("720p", 0.2) == "480p"
    assert knob.scale("480p", 0.2) == "480p"
    assert knob.scale("360p", 0.2) == "360p"


def test_pixels_come_back_as_they_were_written():
    assert KNOB.scale((1920, 1080), 0.6) == (1152, 648)
    assert KNOB.scale([1920, 1080], 0.6) == [1152, 648]
    assert KNOB.scale("1920x1080", 0.6) == "1152x648"
    times = "\N{MULTIPLICATION SIGN}"
    assert KNOB.scale(f"1920 {times} 1080", 0.6) == f"1152 {times} 648"
    size = {"width": 1920, "height": 1080, "fps": 24}
    assert KNOB.scale(size, 0.6) == {"width": 1152, "height": 648, "fps": 24}
    assert size["width"] == 1920


def test_the_floor_of_the_smaller_side_holds_back_the_other():
    assert KNOB.sides(1280, 128, 0.2) == (640, 64)
    assert KNOB.sides(1280, 64, 0.2) == (1280, 64)


def test_it_begins_where_it_is_told_to():
    knob = ResolutionKnob(begins="low")
    assert [knob.rung("1080p", q) for q in QUALITIES] == [
        "1080p", "1080p", "1080p", "720p", "480p",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    ["big", "1080p60", "1920x", "x1080", "0x0", "", "1" * 10_000 + "x1", None, 1080, (1920,),
     (1, 2, 3), (1920.5, 1080), (True, 8), (0, 8), (-8, 8), {"width": 8}, {1920, 1080}],
)  # fmt: skip
def test_what_is_no_size_is_refused(value):
    with pytest.raises(BadInputError, match=r"^it "):
        KNOB.scale(value, 0.5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"snap": 7}, "snap must be even, got 7"),
        ({"snap": 0}, "snap must be a whole number of at least 2"),
        ({"floor": 60}, "floor must be a multiple of snap, which is 8"),
        ({"floor": 0}, "floor must be a whole number"),
        ({"lowest": "100p"}, "lowest must be one of 4k"),
        ({"key": "width"}, "height must differ from key and width"),
        ({"begins": "full"}, "begins must be one of high"),
    ],
)
def test_a_knob_that_cannot_work_is_refused(arguments, told):
    with pytest.raises(BadInputError, match=told):
        ResolutionKnob(**arguments)
