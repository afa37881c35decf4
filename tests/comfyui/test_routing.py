"""Who goes where: the seconds until a job would be done decide, and nobody starves."""

from __future__ import annotations

import functools

from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.routing import (
    MOST_OVERTAKERS,
    Bid,
    Seeker,
    choose,
    overtakers,
    saved_by_waiting,
)


def seeker(turn, *free, busy=(), waiting=1, latest=None, **more):
    last = turn + 100 if latest is None else latest
    return Seeker(turn, last, waiting, tuple(free), lambda: list(busy), **more)


def bid(server, order=0, work=10.0, **more):
    return Bid(server, order, work, **more)


def test_a_server_with_the_models_loaded_goes_before_an_equal_one_without():
    choice = choose([seeker(1, bid("cold", load=20.0), bid("warm", 1))])
    assert choice.pair == (1, "warm")


def test_a_faster_server_goes_before_a_slower_one_even_if_it_had_more_jobs():
    choice = choose([seeker(1, bid("slow", work=20.0), bid("fast", 1, used=9))])
    assert choice.pair == (1, "fast")


def test_equal_servers_take_turns():
    choice = choose([seeker(1, bid("first", used=3), bid("second", 1, used=2, work=10.1))])
    assert choice.pair == (1, "second")


def test_others_jobs_in_a_servers_queue_count():
    choice = choose([seeker(1, bid("queued", ready=30.0), bid("free", 1, work=15.0))])
    assert choice.pair == (1, "free")


def test_an_avoided_server_is_taken_only_if_there_is_no_other():
    tried = bid("tried", work=1.0, last=True)
    assert choose([seeker(1, tried, bid("other", 1, work=99.0))]).pair == (1, "other")
    assert choose([seeker(1, tried, busy=[bid("other", 1, ready=0.1)])]).pair == (1, "tried")


def test_a_job_waits_for_a_busy_server_only_if_it_is_done_sooner_there():
    cold = bid("cold", load=60.0)
    soon, late = bid("warm", 1, ready=5.0), bid("warm", 1, ready=90.0)
    declined = choose([seeker(1, cold, busy=[soon])])
    assert declined.pair is None
    assert declined.declined[0][0] == 1
    assert declined.declined[0][1] == 70.0 * 0.95 - 15.0
    assert choose([seeker(1, cold, busy=[late])]).pair == (1, "cold")


def test_of_many_alike_some_go_to_the_cold_server_although_the_first_would_be_done_sooner():
    cold, warm = bid("cold", load=60.0), bid("warm", 1, ready=5.0)
    assert choose([seeker(1, cold, busy=[warm], waiting=50)]).pair == (1, "cold")


def test_who_has_waited_for_as_long_as_that_was_to_save_takes_what_there_is():
    cold, warm = bid("cold", load=60.0), bid("warm", 1, ready=5.0)
    assert choose([seeker(1, cold, busy=[warm], impatient=True)]).pair == (1, "cold")


def test_a_later_job_whose_models_are_loaded_goes_first_but_not_for_ever():
    first = seeker(1, bid("a", load=20.0), loading=True)
    assert choose([first, seeker(50, bid("a"))]).pair == (50, "a")
    assert choose([first, seeker(102, bid("a"))]).pair == (1, "a")


def test_one_server_changes_over_before_all_must():
    falls_behind = seeker(1, bid("a", load=20.0))
    assert choose([falls_behind, seeker(50, bid("a"))]).pair == (50, "a")
    assert choose([falls_behind, seeker(60, bid("a"))]).pair == (1, "a")
    already = seeker(1, bid("a", load=20.0), loading=True)
    assert choose([already, seeker(60, bid("a"))]).pair == (60, "a")


def test_a_job_that_declines_lets_others_have_the_server():
    waits = seeker(1, bid("cold", load=60.0), busy=[bid("warm", 1, ready=1.0)], loading=True)
    choice = choose([waits, seeker(2, bid("cold", load=60.0))])
    assert choice.pair == (2, "cold")
    assert [turn for turn, _ in choice.declined] == [1]


def test_in_a_long_line_more_may_be_overtaken_up_to_a_limit():
    assert overtakers(4, 10) <= overtakers(4, 1_000) == overtakers(4, 10**9)
    assert overtakers(4, 10**9) == MOST_OVERTAKERS * 4


numbers = st.floats(0.0, 1e4)
bids = st.builds(
    Bid,
    st.sampled_from("abcdef"),
    st.integers(0, 5),
    st.floats(0.001, 1e4),
    numbers,
    numbers,
    st.integers(0, 50),
    st.booleans(),
)


@st.composite
def lines(draw):
    turns = draw(st.lists(st.integers(1, 200), min_size=1, max_size=8, unique=True))
    return [
        Seeker(
            turn,
            turn + draw(st.integers(0, 60)),
            draw(st.integers(1, 500)),
            tuple(draw(st.lists(bids, min_size=1, max_size=5, unique_by=lambda b: b.server))),
            functools.partial(list, draw(st.lists(bids, max_size=4))),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for turn in sorted(turns)
    ]


@given(lines())
def test_whatever_is_bid_a_choice_is_one_that_was_offered_and_overtakes_nobody_too_far(line):
    choice = choose(line)
    assert choose(line) == choice
    if choice.pair is None:
        # Nobody goes only where everybody who may go had rather wait.
        assert choice.declined
        assert not any(each.impatient and len(line) == 1 for each in line)
        return
    turn, server = choice.pair
    (chosen,) = [each for each in line if each.turn == turn]
    assert server in {each.server for each in chosen.free}
    for other in line:
        if server in {each.server for each in other.free}:
            assert turn <= other.latest


@given(lines())
def test_what_is_saved_by_waiting_is_never_more_than_what_going_takes(line):
    for each in line:
        for one in each.free:
            assert saved_by_waiting(one, each) <= one.seconds
