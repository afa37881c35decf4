"""One client's outbox: in order, nothing lost that matters, bounded, and cut off in time."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.comfyui.gateway.outbox import Outbox, OutboxLimits
from holdfast.comfyui.gateway.saying import COLLAPSIBLE, Said, Sort
from holdfast.errors import BadInputError


def said(sort, frame="x", node=""):
    return Said(frame, sort, "p", node)


def drained(outbox):
    frames = []
    while (waiting := outbox.take()) is not None:
        frames.append(waiting.said)
        outbox.sent()
    return frames


def test_a_client_that_keeps_up_is_sent_every_frame():
    outbox = Outbox()
    frames = [said(Sort.STATUS, str(n)) for n in range(60)]
    for each in frames:
        assert outbox.put(each, 0)
    assert drained(outbox) == frames


def test_for_a_client_that_is_behind_stale_frames_give_way():
    outbox = Outbox()
    for n in range(1000):
        outbox.put(said(Sort.PROGRESS, str(n)), 0)
        outbox.put(said(Sort.PREVIEW, b"%d" % n), 0)
    outbox.put(said(Sort.END), 0)
    frames = drained(outbox)
    assert len(frames) < 100
    assert [s.frame for s in frames[-3:]] == ["999", b"999", "x"]


def test_previews_are_dropped_before_anything_else_is_refused():
    outbox = Outbox(OutboxLimits(size=1000))
    for n in range(5):
        outbox.put(said(Sort.PREVIEW, b"x" * 300), 0)
        assert outbox.put(said(Sort.EXECUTED, "x" * 150, str(n)), 0)
    assert [s.sort for s in drained(outbox)].count(Sort.EXECUTED) == 5


def test_what_does_not_fit_ends_it():
    outbox = Outbox(OutboxLimits(frames=3))
    fits = [outbox.put(said(Sort.END, node=str(n)), 0) for n in range(5)]
    assert fits == [True, True, True, False, False]
    assert (outbox.full, len(outbox), outbox.size) == (True, 0, 0)


def test_a_frame_counts_as_waiting_until_it_is_out():
    outbox = Outbox(OutboxLimits(seconds=10))
    outbox.put(said(Sort.END), 5)
    outbox.take()
    assert not outbox.too_slow(15)
    assert outbox.too_slow(16)
    outbox.sent()
    assert outbox.behind(100) == 0


def test_limits_that_cannot_work_are_refused_by_name():
    with pytest.raises(BadInputError, match="seconds is 0"):
        OutboxLimits(seconds=0)


class Sending(RuleBasedStateMachine):
    """Puts and takes at random, against a list of all that was put."""

    def __init__(self):
        super().__init__()
        self.limits = OutboxLimits(frames=100, size=4000, seconds=10)
        self.outbox = Outbox(self.limits)
        self.put: list[Said] = []
        self.took: list[Said] = []
        self.now = 0.0

    @precondition(lambda self: not self.outbox.full)
    @rule(
        sort=st.sampled_from(Sort),
        size=st.integers(1, 120),
        node=st.sampled_from("12"),
        times=st.integers(1, 30),
    )
    def say(self, sort, size, node, times):
        for _ in range(times):
            each = said(sort, f"{len(self.put)}".ljust(size), node)
            if not self.outbox.put(each, self.now):
                return
            self.put.append(each)

    @rule(times=st.integers(1, 20))
    def send(self, times):
        for _ in range(times):
            waiting = self.outbox.take()
            if waiting is not None:
                self.took.append(waiting.said)
                self.outbox.sent()

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def it_is_bounded(self):
        assert len(self.outbox) <= self.limits.frames
        assert self.outbox.size <= self.limits.size or len(self.outbox) == 1
        assert self.outbox.size == sum(w.said.size for w in self.outbox._waiting.values())

    @invariant()
    def order_is_kept_and_only_stale_frames_are_missing(self):
        left = [] if self.outbox.full else [w.said for w in self.outbox._waiting.values()]
        sent = self.took + left
        places = [int(each.frame) for each in sent]
        assert places == sorted(places)
        if not self.outbox.full:
            here = set(places)
            missing = [each for n, each in enumerate(self.put) if n not in here]
            assert all(each.sort in COLLAPSIBLE for each in missing)


TestSending = Sending.TestCase
TestSending.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
