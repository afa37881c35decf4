"""What a client that was away is told: the present state and the end, never without bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.gateway.replay import Replay, ReplayLimits
from holdfast.comfyui.gateway.saying import KEPT, PASSING, Said, Sort
from holdfast.errors import BadInputError

ME = ("ann", "c")


def said(sort, job="p", node="", frame="x"):
    return Said(frame, sort, job, node)


def sorts(kept):
    return [each.said.sort for each in kept]


def test_only_the_newest_progress_is_kept_but_every_node_that_is_done():
    replay = Replay()
    for step in range(5):
        replay.keep(ME, said(Sort.PROGRESS, frame=f"{step}"), 0)
        replay.keep(ME, said(Sort.PREVIEW, frame=b"%d" % step), 0)
        replay.keep(ME, said(Sort.EXECUTED, node=f"{step}"), 0)
    kept = replay.missed(ME, 1)
    assert sorts(kept) == [Sort.EXECUTED] * 5 + [Sort.PROGRESS, Sort.PREVIEW]
    assert kept[-2].said.frame == "4"


def test_of_an_ended_job_only_what_was_not_told_is_missed():
    replay = Replay()
    first = replay.keep(ME, said(Sort.EXECUTED, node="1"), 0)
    replay.keep(ME, said(Sort.PROGRESS), 0)
    replay.keep(ME, said(Sort.END), 1)
    replay.told(ME, first, 1)
    replay.settle(ME, "p", 1)
    replay.left(ME, 2, broken=False)
    assert sorts(replay.missed(ME, 3)) == [Sort.END]


def test_what_was_sent_shortly_before_the_connection_broke_is_told_again():
    replay = Replay(ReplayLimits(doubt_seconds=10))
    for node, at in (("old", 0), ("new", 95)):
        replay.told(ME, replay.keep(ME, said(Sort.EXECUTED, node=node), at), at)
    replay.settle(ME, "p", 96)
    replay.left(ME, 100, broken=True)
    assert [each.said.node for each in replay.missed(ME, 100)] == ["new"]


def test_a_new_attempt_forgets_what_was_true_of_the_last():
    replay = Replay()
    replay.keep(ME, said(Sort.EXECUTED, node="1"), 0)
    replay.keep(ME, said(Sort.EXECUTED, job="other", node="1"), 0)
    replay.restart(ME, "p")
    assert [each.said.job for each in replay.missed(ME, 0)] == ["other"]


def test_another_user_with_the_same_id_has_missed_nothing():
    replay = Replay()
    replay.keep(ME, said(Sort.END), 0)
    assert replay.missed(("eve", "c"), 0) == ()


def test_what_nobody_comes_back_for_is_given_up():
    replay = Replay(ReplayLimits(seconds=10))
    replay.keep(ME, said(Sort.END), 0)
    replay.sweep(11)
    assert (len(replay), replay.size) == (0, 0)


def test_previews_are_given_up_before_the_end_of_a_job():
    replay = Replay(ReplayLimits(client_bytes=1000))
    replay.keep(ME, said(Sort.END, frame="x" * 400), 0)
    replay.keep(ME, said(Sort.PREVIEW, frame=b"x" * 450), 0)
    replay.keep(ME, said(Sort.EXECUTED, frame="x" * 400), 0)
    assert sorts(replay.missed(ME, 0)) == [Sort.EXECUTED, Sort.END]


def test_limits_that_cannot_work_are_refused_by_name():
    with pytest.raises(BadInputError, match="frames is 0"):
        ReplayLimits(frames=0)
    with pytest.raises(BadInputError, match="doubt_seconds"):
        ReplayLimits(doubt_seconds=-1)


JOBS = st.sampled_from(["p", "q"])
OWNERS = st.sampled_from([("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")])
STEPS = st.one_of(
    st.tuples(
        st.just("keep"),
        OWNERS,
        JOBS,
        st.sampled_from(Sort),
        st.sampled_from("12345"),
        st.integers(0, 300),
    ),
    st.tuples(st.just("settle"), OWNERS, JOBS),
    st.tuples(st.just("restart"), OWNERS, JOBS),
    st.tuples(st.just("left"), OWNERS, st.booleans()),
    st.tuples(st.just("missed"), OWNERS),
    st.tuples(st.just("sweep"), OWNERS),
)


@given(st.lists(STEPS, max_size=80))
def test_it_stays_within_its_bounds_whatever_happens(steps):
    limits = ReplayLimits(
        clients=3, frames=6, client_bytes=800, total_bytes=1500, seconds=50, doubt_seconds=2
    )
    replay = Replay(limits)
    for now, (step, owner, *rest) in enumerate(steps):
        if step == "keep":
            job, sort, node, size = rest
            number = replay.keep(owner, said(sort, job, node, "x" * size), now)
            assert number is None or sort in KEPT
            replay.told(owner, number if size % 2 else None, now)
        elif step == "settle":
            replay.settle(owner, rest[0], now)
            missed = replay.missed(owner, now)
            assert not [k for k in missed if k.said.job == rest[0] and k.said.sort in PASSING]
        elif step == "restart":
            replay.restart(owner, rest[0])
        elif step == "left":
            replay.left(owner, now, broken=rest[0])
        elif step == "missed":
            kept = replay.missed(owner, now)
            assert len({k.said.key for k in kept}) == len(kept) <= limits.frames
        else:
            replay.sweep(now)
        assert len(replay) <= limits.clients
        assert replay.size == sum(
            k.said.size for box in replay._boxes.values() for k in box.by_key.values()
        )
        assert replay.size <= limits.total_bytes or len(replay) == 1
