"""The clock everybody reads: real by default, replaced as a whole."""

from __future__ import annotations

import threading
import time

from holdfast.pipeline.real import SystemClock
from holdfast.ports import Ambient, ambient
from holdfast.testing import FakeClock


class StillClock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 7.0

    def wall(self) -> float:
        return 8.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        return event.is_set()


def test_a_clock_is_used_for_all_it_offers():
    own, clock, event = Ambient(), StillClock(), threading.Event()
    own.use(clock)
    own.sleep(3.0)
    assert (own.now(), own.wall(), clock.slept) == (7.0, 8.0, [3.0])
    assert own.wait(event, None) is False
    event.set()
    assert own.wait(event, 0.0) is True


def test_the_real_clock_is_monotonic_and_the_wall_clock_is_the_date():
    assert ambient.now is time.monotonic
    assert ambient.wall is time.time
    assert ambient.sleep is time.sleep


def test_real_chance_is_a_number_from_zero_to_below_one():
    assert all(0.0 <= ambient.chance() < 1.0 for _ in range(1000))


def test_a_wait_longer_than_the_platform_can_express_is_no_error():
    event = threading.Event()
    event.set()
    assert SystemClock.wait(event, 1e30) is True
    assert SystemClock.wait(event, None) is True


def test_a_wait_that_is_over_says_that_nothing_happened():
    assert SystemClock.wait(threading.Event(), 0.0) is False


def test_a_fake_clock_is_gone_when_its_block_is():
    before = (ambient.now, ambient.wall, ambient.sleep, ambient.wait)
    with FakeClock(start=5.0):
        assert ambient.now() == 5.0
    assert (ambient.now, ambient.wall, ambient.sleep, ambient.wait) == before
