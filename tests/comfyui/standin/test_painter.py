"""Pictures: always the same for a recipe, plainly different for another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.comfyui.standin.painter import Recipe, noise, paint

BASE = Recipe("a lighthouse in a storm", seed=7, steps=20, model="sdxl.safetensors")


def difference(one, other):
    return float(np.abs(one - other).mean())


def sharpness(picture):
    return float(np.abs(np.diff(picture, axis=0)).max(axis=(0, 1)).mean())


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Recipe,
        st.text(max_size=40),
        seed=st.integers(0, 2**64 - 1),
        steps=st.integers(1, 10000),
        cfg=st.floats(0, 100),
    ),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 500),
)
def test_any_recipe_paints_any_size_within_range_and_twice_the_same(recipe, width, height, frame):
    picture = paint(recipe, width, height, frame=frame)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() <= picture.max() <= 1
    assert np.array_equal(picture, paint(recipe, width, height, frame=frame))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"positive": "a lighthouse at noon"},
        {"model": "flux1-dev.safetensors"},
        {"loras": (("ink.safetensors", 1.0),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_people_change_on_purpose_gives_a_plainly_different_picture(change):
    assert difference(paint(BASE, 96, 96), paint(replace(BASE, **change), 96, 96)) > 0.04


@pytest.mark.parametrize(
    "change",
    [{"negative": "blurry"}, {"cfg": 3.0}, {"sampler": "dpmpp_2m"}, {"guidance": 3.5}],
    ids=lambda change: next(iter(change)),
)
def test_finer_settings_show_too(change):
    assert difference(paint(BASE, 96, 96), paint(replace(BASE, **change), 96, 96)) > 0.002


def test_items_of_a_batch_differ():
    assert difference(paint(BASE, 96, 96), paint(BASE, 96, 96, item=1)) > 0.04


def test_more_steps_are_sharper():
    rough, middling, fine = (
        sharpness(paint(replace(BASE, steps=steps), 256, 256)) for steps in (2, 8, 30)
    )
    assert rough < middling < fine


def test_another_size_shows_the_same_scene():
    small = paint(BASE, 64, 64)
    large = paint(BASE, 128, 128).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert difference(small, large) < 0.02


def test_frames_move_in_small_steps_but_do_move():
    frames = [paint(BASE, 96, 96, frame=index) for index in (0, 1, 2, 40)]
    steps = [difference(a, b) for a, b in pairwise(frames[:3])]
    assert all(0 < step < 0.02 for step in steps)
    assert difference(frames[0], frames[3]) > 2 * max(steps)


def test_noise_is_fixed_by_the_seed():
    assert np.array_equal(noise(BASE, 20, 30), noise(BASE, 20, 30))
    assert noise(BASE, 20, 30).shape == (30, 20, 3)
    assert difference(noise(BASE, 20, 30), noise(replace(BASE, seed=8), 20, 30)) > 0.1


def test_a_picture_is_quick():
    def best(side):
        times = []
        for _ in range(5):
            start = perf_counter()
            paint(BASE, side, side)
            times.append(perf_counter() - start)
        return min(times)

    assert best(512) < 0.1  # a few milliseconds on an idle machine
