"""How long nothing has been heard, counted only while somebody ought to speak."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.machines.silence import Silence

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

moments = st.floats(-1e6, 1e6)


def test_it_starts_stopped_and_counts_nothing():
    silence = Silence()
    assert not silence.running
    assert silence.lasted(1_000.0) == 0.0
    assert silence.exceeds_at(5.0) is None


def test_silence_counts_from_the_last_thing_heard():
    silence = Silence()
    silence.heard(10.0)
    silence.heard(14.0)
    assert silence.running
    assert silence.lasted(17.0) == 3.0
    assert silence.exceeds_at(5.0) == 19.0


def test_stopped_time_never_counts():
    silence = Silence()
    silence.heard(10.0)
    silence.stop()
    assert not silence.running
    assert silence.lasted(500.0) == 0.0
    silence.heard(600.0)
    assert silence.lasted(601.0) == 1.0


def test_a_clock_that_steps_back_counts_as_no_time():
    silence = Silence()
    silence.heard(100.0)
    silence.heard(40.0)
    assert silence.lasted(50.0) == 0.0
    assert silence.lasted(101.0) == 1.0


@relaxed
@given(heard=st.lists(moments, min_size=1), now=moments, limit=st.floats(0.001, 1e6))
def test_silence_is_never_negative_and_ends_no_later_than_announced(heard, now, limit):
    silence = Silence()
    for moment in heard:
        silence.heard(moment)
    assert silence.lasted(now) == max(0.0, now - max(heard))
    ends = silence.exceeds_at(limit)
    assert ends is not None
    assert ends >= max(heard)
