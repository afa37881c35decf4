"""A job's story in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.apps.dashboard.sources import Tone
from holdfast.apps.dashboard.story import LONGEST, step_of

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
KINDS = ("accepted", "claimed", "attempt", "node", "joined", "failed_attempt", "recovery",
         "degraded", "delivered", "failed", "cancelled", "cancel_asked", "submitted", "released",
         "priority", "retried")  # fmt: skip
FIELDS = ("server", "number", "error", "recovery", "files", "seconds", "summary", "words", "why")


@pytest.mark.parametrize(
    ("kind", "data", "title", "words"),
    [
        ("attempt", {"number": 2, "server": "gpu1"}, "Attempt 2 on gpu1", ""),
        ("failed_attempt", {"number": 1, "server": "gpu1", "error": "out of memory"},
         "Attempt 1 failed on gpu1", "out of memory"),
        ("degraded", {"degradations": ["tiles", "fewer steps"]}, "Changed, to get a result",
         "tiles; fewer steps"),
        ("delivered", {"files": 1, "server": "gpu1", "seconds": 12}, "Delivered",
         "1 file from gpu1 after 12 s"),
        ("retried", {"deadline_dropped": True}, "Queued again",
         "its deadline has passed, and counts no more"),
        ("submitted", {"server": "gpu1", "changed": True}, "Sent to gpu1",
         "with a changed workflow"),
        ("a_later_kind", {"size": 3, "who": "x", "none": None}, "A later kind", "size: 3, who: x"),
    ],
)  # fmt: skip
def test_an_event_is_told_in_words(kind, data, title, words):
    step = step_of(5.0, kind, data)
    assert (step.title, step.words) == (title, words)


def test_good_and_bad_ends_look_different_and_do_so_by_more_than_colour():
    good, bad = step_of(0, "delivered", {}), step_of(0, "failed", {})
    assert (good.tone, bad.tone) == (Tone.GOOD, Tone.BAD)
    assert good.icon != bad.icon


@given(
    st.sampled_from(KINDS) | st.text(),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(), json),
)
def test_whatever_others_wrote_is_told_within_bounds(kind, data):
    step = step_of(0.0, kind, data)
    assert len(step.title) <= 160
    assert len(step.words) <= LONGEST
