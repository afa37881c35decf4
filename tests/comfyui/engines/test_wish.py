"""A wish that cannot be meant is refused, and the message says which part of it and why."""

import math

import pytest

from holdfast.comfyui.engines import Lora
from holdfast.comfyui.engines.wish import Wish, loras_of
from holdfast.errors import BadInputError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", " \n"),
        ("prompt", None),
        ("prompt", "a" * 100_001),
        ("negative", 5),
        ("width", 0),
        ("width", -512),
        ("width", 16_385),
        ("height", 512.5),
        ("height", True),
        ("steps", 0),
        ("steps", 10_001),
        ("cfg", -1),
        ("cfg", 100.5),
        ("cfg", math.nan),
        ("cfg", math.inf),
        ("guidance", "high"),
        ("seed", -1),
        ("seed", 2**64),
        ("seed", "7"),
        ("batch", 0),
        ("batch", 65),
        ("frames", 0),
        ("seconds", 0),
        ("fps", 0),
        ("fps", 121),
        ("sampler", 3),
        ("denoise", 1.5),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(BadInputError, match=field):
        Wish(**({"prompt": "a", "seed": 1, "picture": (64, 64)} | {field: value}))


def test_denoise_needs_a_picture_and_something_to_change():
    with pytest.raises(BadInputError, match="no image to start from"):
        Wish("a", 1, denoise=0.5)
    with pytest.raises(BadInputError, match="above 0"):
        Wish("a", 1, denoise=0, picture=(64, 64))


def test_a_length_is_given_once():
    with pytest.raises(BadInputError, match="give one of them"):
        Wish("a", 1, frames=81, seconds=5)


def test_loras_are_written_in_four_ways():
    given = ["a", ("b", 0.5), {"name": "c", "strength": 0.7, "clip_strength": 0.1}, Lora("d")]
    found = loras_of(given)
    assert [each.name for each in found] == ["a", "b", "c", "d"]
    assert [each.on_clip for each in found] == [1.0, 0.5, 0.1, 1.0]


@pytest.mark.parametrize(
    "given", ["a", {"a": 1}, 5, [5], [()], [("a", "b")], [""], [("a", 101)], ["a"] * 33, [{"x": 1}]]
)
def test_other_loras_are_refused(given):
    with pytest.raises(BadInputError, match="loras"):
        loras_of(given)
