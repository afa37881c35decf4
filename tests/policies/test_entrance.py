"""Who is let in and who is told no: the times that decide it, to the second."""

from __future__ import annotations

import pytest

from holdfast.policies.entrance import Entrance, Turned
from holdfast.policies.ticket import Ticket
from holdfast.testing import FakeClock

INF = float("inf")


@pytest.fixture
def clock():
    with FakeClock(start=0.0) as clock:
        yield clock


def finish(entrance, ticket, seconds, **how):
    entrance.finish(ticket, seconds, **{"good": False, "dropped": False, "cut": False} | how)


def learned(*durations, limit=1):
    """An entrance that has seen work of these durations."""
    entrance = Entrance(limit, None, None)
    for seconds in durations:
        finish(entrance, Ticket(), seconds, good=True)
    return entrance


@pytest.mark.parametrize(("others", "inside"), [(0, True), (1, False)])
def test_a_crowd_is_counted_on_to_be_slow_and_one_alone_to_be_as_usual(clock, others, inside):
    entrance = learned(6.0, 14.0, 6.0, 14.0)
    usual, most = 10.0, entrance._service.most()
    assert entrance.service_seconds == usual
    assert most > usual + 2.0
    running, waiter = Ticket(), Ticket()
    assert entrance.arrive(running, 5, INF) is None
    assert entrance.arrive(waiter, 5, usual + most) is None
    for _ in range(others):
        entrance.arrive(Ticket(), 5, INF)
    woken = []
    waiter.attach(lambda: woken.append(True) or True)
    clock.advance(most - 1.0)
    finish(entrance, running, most - 1.0)
    assert woken == [True]
    assert waiter.value is (None if inside else Turned.LATE)


def test_time_enough_for_the_usual_work_is_enough(clock):
    entrance = learned(*[10.0] * 4)
    assert entrance.arrive(Ticket(), 5, 9.999) is Turned.LATE
    assert entrance.arrive(Ticket(), 5, 10.0) is None


def test_an_estimate_is_doubted_once_it_is_ten_times_as_old_as_the_work_is_long(clock):
    clock.advance(1_000.0)
    entrance = learned(*[10.0] * 4)
    clock.advance(100.0)
    assert entrance.arrive(Ticket(), 5, 1_101.0) is Turned.LATE
    clock.advance(0.001)
    assert entrance.arrive(Ticket(), 5, 1_101.0) is None


@pytest.mark.parametrize("how", ["dropped", "cut"])
def test_what_ran_out_of_time_is_known_to_take_at_least_so_long(clock, how):
    entrance = learned(*[10.0] * 4)
    finish(entrance, Ticket(), 60.0, **{how: True})
    assert entrance.service_seconds == pytest.approx(20.0)


def test_all_who_are_turned_away_know_it_before_the_first_of_them_is_woken(clock):
    entrance = learned(*[10.0] * 4)
    running, *late = (Ticket() for _ in range(3))
    entrance.arrive(running, 5, INF)
    for ticket in late:
        assert entrance.arrive(ticket, 5, 45.0) is None
    seen = []
    late[0].attach(lambda: seen.append((late[1].granted, late[1].value)) or True)
    clock.advance(40.0)
    finish(entrance, running, 40.0)
    assert seen == [(True, Turned.LATE)]
