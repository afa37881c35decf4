"""The worst case, computed by hand: `Pipeline.explain` must say the same."""

from __future__ import annotations

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.policies.hedge import Hedge


def worst(*policies):
    """Seconds (or 'no limit') and calls, from the last line."""
    last = Pipeline(*policies).explain().splitlines()[-1]
    head, _, calls = last.removeprefix("worst case: ").partition(", ")
    seconds = "no limit" if head == "no limit" else float(head.removesuffix(" s"))
    return seconds, float(calls.removesuffix(" calls").removesuffix(" call"))


def plain(delay=1.0, **settings):
    """A retry whose server is asked for no Retry-After longer than the waits."""
    return Retry(backoff=Backoff.fixed(delay), max_retry_after=delay, **settings)


WAITS = Backoff.exponential(initial=1.0, base=2.0, maximum=60.0, jitter=0.25)

BY_HAND = {
    "nothing": ((), "no limit", 1),
    "a time limit": ((Timeout(10),), 10, 1),
    "the shorter of two limits": ((Timeout(10), Timeout(4)), 4, 1),
    "no limit for progress": ((Timeout(idle=10),), "no limit", 1),
    # 3 attempts of 10 s and 2 waits of 1 s
    "a retry": ((plain(), Timeout(10)), 32, 3),
    "a retry of one": ((plain(max_attempts=1), Timeout(10)), 10, 1),
    "a retry cut by the total": ((Timeout(25), plain(), Timeout(10)), 25, 3),
    "a total that is never reached": ((Timeout(60), plain(), Timeout(10)), 32, 3),
    # 3 * 10, and 1 * 1.25 + 2 * 1.25
    "growing waits at their longest": (
        (Retry(backoff=WAITS, max_retry_after=0), Timeout(10)), 33.75, 3,
    ),
    # 5 * 2, and waits of 1.25, 2.5, 5, 8: the maximum bounds the jitter, too
    "waits up to their maximum": (
        (
            Retry(max_attempts=5, max_retry_after=0,
                  backoff=Backoff.exponential(initial=1, maximum=8, jitter=0.25)),
            Timeout(2),
        ),
        10 + 1.25 + 2.5 + 5 + 8, 5,
    ),
    # 3 * 2, and 1 + 3: linear
    "linear waits": (
        (Retry(max_retry_after=0, backoff=Backoff.linear(1, 2, 60, jitter=0)), Timeout(2)), 10, 3,
    ),
    # decorrelated: at most 3 * 1, then 3 * 3
    "decorrelated waits": (
        (
            Retry(max_retry_after=0,
                  backoff=Backoff.exponential(initial=1, maximum=60, jitter="decorrelated")),
            Timeout(2),
        ),
        6 + 3 + 9, 3,
    ),
    "full jitter at its longest": (
        (Retry(max_retry_after=0, backoff=Backoff.exponential(initial=1, jitter="full")),
         Timeout(2)),
        6 + 1 + 2, 3,
    ),
    "a queue": ((Bulkhead(4, 8, 5.0), Timeout(10)), 15, 1),
    "a queue for each attempt": ((plain(), Bulkhead(4, 8, 5.0), Timeout(10)), 47, 3),
    "a queue without a limit": ((Bulkhead(4, 8), Timeout(10)), "no limit", 1),
    "a queue without a limit under a total": ((Timeout(60), Bulkhead(4, 8), Timeout(10)), 60, 1),
    "no queue": ((Bulkhead(4), Timeout(10)), 10, 1),
    "a breaker changes nothing": ((CircuitBreaker("x"), Timeout(10)), 10, 1),
    "a fallback value changes nothing": ((Fallback(0), plain(), Timeout(10)), 32, 3),
    # the calls beside it end with the first: 1 s later than the first one, at the latest
    "a hedge": ((Hedge(after=1.0), Timeout(10)), 11, 2),
    "hedged attempts": ((plain(), Hedge(after=1.0, max_extra=2), Timeout(10)), 3 * 12 + 2, 9),
}  # fmt: skip


@pytest.mark.parametrize(("policies", "seconds", "calls"), BY_HAND.values(), ids=BY_HAND)
def test_the_worst_case_is_what_one_computes_by_hand(policies, seconds, calls):
    told = worst(*policies)
    assert told[1] == calls
    assert told[0] == (seconds if seconds == "no limit" else pytest.approx(seconds, abs=0.01))


def test_an_inner_retry_folds_so_it_adds_no_calls():
    assert worst(plain(), plain(), Timeout(10))[1] == 3


def test_an_inner_retry_that_does_not_fold_multiplies():
    assert worst(plain(), plain(allow_nested=True), Timeout(10))[1] == 9


def test_a_server_may_ask_for_an_hour_so_the_worst_case_counts_it():
    # 3 * 10 s, and two waits of an hour that a Retry-After may ask for
    assert worst(Retry(), Timeout(10))[0] == pytest.approx(30 + 2 * 3600)


def test_the_policies_are_told_in_their_order_outermost_first():
    told = Pipeline(Fallback([]), Timeout(60), Retry(), Timeout(10), name="search").explain()
    lines = told.splitlines()
    assert lines[0] == "search:"
    assert [line.split(". ")[1].split(":")[0] for line in lines[1:5]] == [
        "Fallback", "Timeout", "Retry", "Timeout",
    ]  # fmt: skip
    assert lines[5] == "  5. the call"


def test_a_fallback_that_is_a_function_may_take_as_long_as_it_likes():
    told = Pipeline(Fallback(list), Timeout(5.0)).explain()
    assert "worst case: no limit, 1 call" in told
    assert "worst case: 5 s" in Pipeline(Fallback([]), Timeout(5.0)).explain()
    assert "worst case: 5 s" in Pipeline(Timeout(5.0), Fallback(list)).explain()
