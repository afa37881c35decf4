"""Figures in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.dashboard import phrases
from holdfast.apps.dashboard.sources import STATES, Tone


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (math.inf, "-"),
        (-3, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (7_800, "2 h 10 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_length_of_time_is_told_in_two_units_at_most(seconds, words):
    assert phrases.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1_234, "1.2 kB"), (26_000_000_000, "26 GB"),
     (5 * 10**15, "5000 TB")],
)  # fmt: skip
def test_bytes_are_told_in_a_unit_that_fits(count, words):
    assert phrases.size(count) == words


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_moment_is_too_odd_to_be_told(at):
    assert phrases.moment(at)
    assert isinstance(phrases.duration(at), str)


def test_how_long_ago_is_told_roughly():
    assert phrases.ago(None, 1000) == "-"
    assert phrases.ago(1005, 1000) == "just now"
    assert phrases.ago(940, 1000) == "1 min ago"
    assert phrases.ago(955, 1000) == "45 s ago"
    assert phrases.ago(0, 3 * 86_400) == "3 d ago"


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_is_one_line_of_that_length_at_most(text, length):
    cut = phrases.cut(text, length)
    assert len(cut) <= length
    assert "\n" not in cut


def test_every_state_has_a_sign_of_its_own_kind_and_none_is_unknown():
    assert len({phrases.icon_of(state) for state in STATES}) == len(STATES)
    assert phrases.tone_of("failed") is Tone.BAD
    assert phrases.tone_of("what a later version calls it") is Tone.PLAIN
    assert phrases.icon_of("what a later version calls it")
    assert phrases.spoken("half_open") == "half open"


def test_numbers_agree_with_their_words():
    assert phrases.plural(1, "job") == "1 job"
    assert phrases.plural(2_000, "job") == "2,000 jobs"
    assert phrases.plural(3, "job is", "jobs are") == "3 jobs are"
    assert phrases.percent(None) == "-"
    assert phrases.percent(0.784) == "78 %"
