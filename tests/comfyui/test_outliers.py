"""A server is left out for what its peers do better, never for what all do badly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.outliers import Ejection, Record, judge
from holdfast.errors import BadInputError

RULE = Ejection()


def record(*outcomes, times=()):
    made = Record()
    for failed in outcomes:
        made.outcome(failed=failed, words="it broke" if failed else "")
    for ratio in times:
        made.took(ratio)
    return made


GOOD = record(*[False] * 10, times=[1.0] * 20)


def test_one_that_fails_where_others_do_not_is_an_outlier_and_the_last_reason_is_told():
    reason = judge(record(*[True] * 6), [GOOD, GOOD], RULE)
    assert reason is not None
    assert "it broke" in reason


def test_one_that_fails_where_all_fail_is_none():
    failing = record(*[True] * 8)
    assert judge(failing, [record(*[True] * 8), record(*[True] * 8)], RULE) is None


def test_a_few_failures_after_many_successes_do_not_make_an_outlier():
    assert judge(record(*[False] * 20, True, True), [GOOD, GOOD], RULE) is None


def test_with_few_outcomes_or_without_peers_nobody_is_judged():
    assert judge(record(True, True), [GOOD], RULE) is None
    assert judge(record(*[True] * 10), [], RULE) is None


def test_one_that_was_always_slow_is_merely_slow():
    assert judge(record(*[False] * 30, times=[9.0] * 30), [GOOD, GOOD], RULE) is None


def test_one_that_has_become_slow_is_an_outlier_unless_all_have():
    became = record(*[False] * 24, times=[1.0] * 20 + [12.0] * 4)
    assert "times as slow" in (judge(became, [GOOD, GOOD], RULE) or "")
    assert judge(became, [became, became], RULE) is None


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.0, 1.0))
def test_never_all_and_never_more_than_the_share(out, servers, share):
    if Ejection(share=share).allows(out, servers):
        assert out + 1 < servers
        assert out + 1 <= max(1, share * servers)


def test_each_ejection_in_a_row_lasts_longer_up_to_a_limit():
    lasts = [RULE.lasts(times) for times in range(1, 60)]
    assert lasts == sorted(lasts)
    assert lasts[0] == RULE.seconds < lasts[1]
    assert lasts[-1] == RULE.lasts(10**9) == RULE.maximum


@pytest.mark.parametrize(
    "bad",
    [
        {"share": 1.5},
        {"share": -0.1},
        {"failure_rate": 0.0},
        {"failure_margin": 2.0},
        {"slow_factor": 1.0},
        {"outcomes": 0},
        {"seconds": 0.0},
        {"growth": 0.5},
        {"seconds": 50.0, "maximum": 10.0},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(bad):
    with pytest.raises(BadInputError, match=next(iter(bad))):
        Ejection(**bad)
