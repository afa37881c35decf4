"""The fake clock: sync waits, nesting, and what it refuses."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import pytest

from holdfast import Backoff, BadInputError, Retry
from holdfast.ports import ambient
from holdfast.testing import FakeChance, FakeClock, FixedChance


def test_a_sync_wait_passes_at_once_and_is_remembered():
    began = time.monotonic()
    with FakeClock(start=0.0) as clock:
        ambient.sleep(3600.0)
        assert ambient.now() == 3600.0
        assert clock.slept == [3600.0]
    assert time.monotonic() - began < 5.0


def test_a_retry_waits_in_fake_time():
    tries = []

    def fail():
        tries.append(ambient.now())
        raise ConnectionError

    with FakeClock(start=0.0) as clock, pytest.raises(ConnectionError):
        Retry(max_attempts=3, backoff=Backoff.fixed(10.0)).call(fail)
    assert tries == [0.0, 10.0, 20.0]
    assert clock.slept == [10.0, 10.0]


def test_the_date_can_be_changed_without_touching_monotonic_time():
    clock = FakeClock(start=5.0, wall=100.0)
    clock.advance(1.0)
    assert (clock.now(), clock.wall()) == (6.0, 101.0)
    clock.set_wall(7.0)
    assert (clock.now(), clock.wall()) == (6.0, 7.0)
    clock.advance(1.0)
    assert clock.wall() == 8.0


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, True, "1"])
@pytest.mark.parametrize("method", ["advance", "sleep"])
def test_time_does_not_go_backwards_or_nowhere(method, seconds):
    clock = FakeClock()
    with pytest.raises(BadInputError, match="seconds must be"):
        getattr(clock, method)(seconds)
    assert clock.now() == 1_000.0
    assert clock.slept == []


@pytest.mark.parametrize("field", ["start", "wall", "grace", "patience"])
def test_a_clock_that_cannot_work_is_refused_by_name(field):
    with pytest.raises(BadInputError, match=field):
        FakeClock(**{field: math.nan})


def test_what_was_there_before_comes_back():
    before = ambient.now, ambient.wall, ambient.sleep, ambient.wait
    with pytest.raises(KeyError), FakeClock():
        raise KeyError
    assert (ambient.now, ambient.wall, ambient.sleep, ambient.wait) == before


def test_clocks_nest_and_each_has_its_own_time():
    with FakeClock(start=0.0) as outer:
        with FakeClock(start=50.0):
            ambient.sleep(1.0)
            assert ambient.now() == 51.0
        assert ambient.now() == 0.0
        with outer:
            ambient.sleep(1.0)
        assert ambient.now() == 1.0


def test_clocks_taken_away_in_the_wrong_order_leave_the_latest_one_still_in_use():
    real = ambient.now
    first, second = FakeClock(start=1.0), FakeClock(start=2.0)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert ambient.now() == 2.0
    second.__exit__(None, None, None)
    assert ambient.now == real


def test_a_wait_for_an_event_that_is_set_takes_no_time():
    clock, event = FakeClock(start=0.0), threading.Event()
    event.set()
    assert clock.wait(event, 10.0)
    assert clock.wait(event, None)
    assert clock.now() == 0.0
    assert clock.slept == []


@pytest.mark.parametrize(("seconds", "slept"), [(10.0, [10.0]), (0.0, []), (-1.0, [])])
def test_a_wait_for_an_event_that_nobody_sets_takes_its_time(seconds, slept):
    clock = FakeClock(start=0.0)
    assert not clock.wait(threading.Event(), seconds)
    assert clock.now() == max(0.0, seconds)
    assert clock.slept == slept


def test_a_wait_without_an_end_is_an_error_and_not_a_hang():
    clock = FakeClock(patience=0.0)
    with pytest.raises(RuntimeError, match="the code would hang"):
        clock.wait(threading.Event(), None)


def test_run_gives_back_what_the_coroutine_returns_or_raises():
    async def fine():
        return 7

    async def wrong():
        raise KeyError("x")

    clock = FakeClock()
    assert clock.run(fine()) == 7
    with pytest.raises(KeyError):
        clock.run(wrong())


async def test_run_inside_a_running_loop_says_what_to_do_and_leaves_no_coroutine_behind():
    async def main():
        raise AssertionError

    with pytest.raises(RuntimeError, match="async with clock"):
        FakeClock().run(main())


def test_an_installed_clock_can_be_used_again_after_it_was_taken_away():
    clock = FakeClock(start=0.0)
    with clock:
        ambient.sleep(1.0)
    clock.run(asyncio.sleep(5.0))
    clock.sleep(2.0)
    with clock:
        ambient.sleep(1.0)
    assert clock.now() == pytest.approx(9.0)


def test_clock_and_chance_can_be_installed_together():
    real = ambient.chance
    with FakeChance(1), FakeClock() as clock, FixedChance(0.25):
        assert ambient.chance() == 0.25
        assert ambient.now() == clock.now()
    assert ambient.chance == real
