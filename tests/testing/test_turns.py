"""Several threads on one clock: time goes on in the order of the moments they wait for."""

from __future__ import annotations

import threading
import time

import pytest

from holdfast import CircuitBreaker, DeadlineExceededError, Pipeline, Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock


def run_all(*bodies):
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_threads_that_sleep_at_once_sleep_at_the_same_time():
    together = threading.Barrier(4)
    woke = []

    def body(seconds):
        together.wait()
        ambient.sleep(seconds)
        woke.append((seconds, ambient.now()))

    with FakeClock(start=0.0, grace=0.2):
        run_all(*[lambda s=s: body(s) for s in (30.0, 10.0, 20.0, 40.0)])
    assert woke == [(10.0, 10.0), (20.0, 20.0), (30.0, 30.0), (40.0, 40.0)]


def test_threads_that_wait_for_events_wait_at_the_same_time():
    together = threading.Barrier(3)
    ends = []

    def body():
        together.wait()
        assert not ambient.wait(threading.Event(), 10.0)
        ends.append(ambient.now())

    with FakeClock(start=0.0, grace=0.2) as clock:
        run_all(body, body, body)
    assert ends == [10.0] * 3
    assert clock.slept == [10.0] * 3


def test_one_thread_wakes_another_at_its_fake_moment():
    event, told = threading.Event(), []

    def waiter():
        told.append((ambient.wait(event, 100.0), ambient.now()))

    def setter():
        ambient.sleep(30.0)
        event.set()

    with FakeClock(start=0.0, grace=0.2):
        run_all(waiter, setter)
    assert told == [(True, 30.0)]


def test_a_chain_of_sleeps_in_one_thread_stays_in_step_with_another():
    order = []

    def quick():
        for _ in range(50):
            ambient.sleep(1.0)
            order.append(("quick", ambient.now()))

    def slow():
        for _ in range(5):
            ambient.sleep(10.5)
            order.append(("slow", ambient.now()))

    with FakeClock(start=0.0, grace=0.2):
        run_all(quick, slow)
    assert order == sorted(order, key=lambda entry: entry[1])
    assert len(order) == 55


def test_time_does_not_pass_over_a_thread_at_work():
    done = threading.Event()

    def work():
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            sum(range(1000))
        done.set()

    with FakeClock(start=0.0, grace=0.01, patience=30.0) as clock:
        threading.Thread(target=work).start()
        assert clock.wait(done, 5.0)
        assert clock.now() == 0.0


def test_time_passes_over_a_blocked_thread_after_a_moment_and_then_at_once():
    never = threading.Event()
    blocked = threading.Thread(target=never.wait)
    with FakeClock(start=0.0, grace=0.1, patience=30.0) as clock:
        blocked.start()
        began = time.monotonic()
        for _ in range(50):
            clock.sleep(1.0)
        assert 0.1 <= time.monotonic() - began < 2.0
        assert clock.now() == 50.0
    never.set()
    blocked.join(30)


def test_threads_that_wait_only_for_each_other_are_told_so():
    errors = []

    def body():
        try:
            ambient.wait(threading.Event(), None)
        except RuntimeError as error:
            errors.append(str(error))

    with FakeClock(patience=0.2):
        run_all(body, body)
    assert len(errors) == 2
    assert "waits to be woken" in errors[0]


def test_a_thread_left_waiting_when_the_clock_goes_does_not_poll_for_ever():
    event, woke = threading.Event(), []
    with FakeClock(start=0.0) as clock:
        thread = threading.Thread(target=lambda: woke.append(clock.wait(event, None)))
        thread.start()
        clock.sleep(1.0)
        assert clock.now() == 1.0
    event.set()
    thread.join(30)
    assert woke == [True]


def test_a_thread_timeout_ends_work_that_hangs_at_its_fake_moment():
    never = threading.Event()
    with FakeClock(start=0.0) as clock:
        guarded = Pipeline(CircuitBreaker("x"), Timeout(30.0, thread=True))
        with pytest.raises(DeadlineExceededError):
            guarded.call(never.wait)
        assert clock.now() == 30.0
    never.set()


def test_a_thread_timeout_does_not_end_work_that_sleeps_less():
    with FakeClock(start=0.0) as clock:
        limit = Timeout(30.0, thread=True)
        assert limit.call(lambda: ambient.sleep(29.0) or "made it") == "made it"
        assert clock.now() == 29.0
        with pytest.raises(DeadlineExceededError):
            limit.call(lambda: ambient.sleep(31.0))
        assert clock.now() == pytest.approx(59.0)
