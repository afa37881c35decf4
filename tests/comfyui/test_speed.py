"""How long jobs take where is learned; loading models is told from working."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.speed import LOAD_GUESS, REMEMBERED, WORK_GUESS, Speeds

SDXL = frozenset({"sdxl.safetensors"})


def test_with_nothing_known_everybody_is_equal():
    speeds = Speeds()
    assert speeds.work("a", "portrait") == speeds.work("b", "portrait") == WORK_GUESS
    assert speeds.load("a", "portrait", SDXL) == LOAD_GUESS
    assert speeds.load("a", "portrait", frozenset()) == 0.0


def test_loading_is_what_the_first_run_took_more_than_the_second():
    speeds = Speeds()
    speeds.observe("a", "portrait", 50.0, SDXL)
    speeds.observe("a", "portrait", 10.0)
    assert speeds.work("a", "portrait") == 10.0
    assert speeds.load("b", "portrait", SDXL) == 40.0
    assert speeds.load("b", "other", frozenset({"unheard of"})) == 40.0


def test_loading_is_not_held_to_take_long_where_the_whole_run_was_short():
    speeds = Speeds()
    speeds.observe("a", "portrait", 0.2, SDXL)
    assert speeds.load("b", "portrait", SDXL) == pytest.approx(0.1)


def test_a_servers_pace_says_what_to_expect_of_jobs_it_never_had():
    speeds = Speeds()
    for _ in range(20):
        speeds.observe("fast", "small", 10.0)
        speeds.observe("slow", "small", 30.0)
        speeds.observe("fast", "large", 100.0)
    assert speeds.pace("slow") / speeds.pace("fast") == pytest.approx(3.0, rel=0.2)
    assert speeds.work("slow", "large") > 2 * speeds.work("fast", "large")


def test_what_changes_is_followed():
    speeds = Speeds()
    for seconds in [10.0] * 20 + [40.0] * 20:
        speeds.observe("a", "small", seconds)
    assert speeds.work("a", "small") == pytest.approx(40.0, rel=0.05)


def test_a_server_that_left_is_forgotten():
    speeds = Speeds()
    speeds.observe("a", "small", 3.0)
    speeds.forget("a")
    assert speeds.of_server("a") is None


def test_what_is_remembered_is_bounded():
    speeds = Speeds()
    for number in range(REMEMBERED + 50):
        speeds.observe("a", str(number), 1.0)
        speeds.observe("a", f"cold {number}", 1.0, SDXL)
    assert len(speeds._own) == len(speeds._pooled) == REMEMBERED
    assert len(speeds._cold) <= REMEMBERED


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from("xy"), st.floats(0.0, 1e6), st.booleans()
        ),
        max_size=40,
    )
)
def test_whatever_is_observed_what_is_expected_is_a_time(seen):
    speeds = Speeds()
    for server, signature, seconds, cold in seen:
        speeds.observe(server, signature, seconds, SDXL if cold else frozenset())
    for server in "abc":
        for signature in "xy":
            assert 0.0 < speeds.work(server, signature) < 1e9
            assert 0.0 <= speeds.load(server, signature, SDXL) < 1e9
