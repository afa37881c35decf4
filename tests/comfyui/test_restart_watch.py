"""When a server is restarted, how far it is, and that it is not restarted for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.restart_watch import Boot, RestartLimits, RestartWatch
from holdfast.errors import BadInputError

LIMITS = RestartLimits(grace=20, grace_ill=5, boot=100, most=2, window=1000)


def test_a_server_that_is_away_gets_a_while_to_come_back_by_itself():
    watch = RestartWatch(LIMITS)
    assert watch.due_at(0) is None
    watch.down(10, ill=False)
    assert watch.due_at(10) == 30
    assert watch.boot(15) is Boot.DOWN
    assert not watch.up()
    assert watch.due_at(40) is None
    assert watch.boot(40) is Boot.READY


def test_a_server_that_does_not_mend_itself_gets_less():
    watch = RestartWatch(LIMITS)
    watch.down(10, ill=True)
    assert watch.due_at(10) == 15


def test_a_restarted_server_is_booting_until_it_is_ready_or_its_time_is_up():
    watch = RestartWatch(LIMITS)
    watch.down(0, ill=False)
    watch.restarted(20)
    assert watch.boot(60) is Boot.BOOTING
    assert watch.due_at(60) == 120
    assert watch.boot(120) is Boot.DEAD
    assert watch.up()
    assert watch.boot(121) is Boot.READY


def test_it_is_left_alone_after_enough_restarts_and_tried_again_much_later():
    watch = RestartWatch(LIMITS)
    watch.down(0, ill=False)
    watch.restarted(20)
    watch.restarted(120)
    assert watch.due_at(130) is None
    assert watch.boot(230) is Boot.DEAD
    assert watch.due_at(1020) is not None


@given(st.lists(st.tuples(st.sampled_from(["down", "ill", "up", "restart"]), st.integers(0, 50))))
def test_there_are_never_more_restarts_in_a_window_than_allowed(moves):
    watch = RestartWatch(LIMITS)
    now, restarts = 0.0, []
    for move, seconds in moves:
        now += seconds
        if move in ("down", "ill"):
            watch.down(now, ill=move == "ill")
        elif move == "up":
            watch.up()
        else:
            due = watch.due_at(now)
            if due is not None and due <= now:
                watch.restarted(now)
                restarts.append(now)
    for first in restarts:
        assert sum(first <= each < first + LIMITS.window for each in restarts) <= LIMITS.most


@pytest.mark.parametrize(
    "settings", [{"grace": -1}, {"boot": 0}, {"most": 0}, {"window": float("nan")}]
)
def test_limits_out_of_range_are_refused_by_name(settings):
    with pytest.raises(BadInputError, match=next(iter(settings))):
        RestartLimits(**settings)
