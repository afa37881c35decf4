"""Gate 14: jumps of the wall clock and changes of the time zone change nothing."""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import time
from pathlib import Path

import pytest

import holdfast
from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerOpenError,
    Deadline,
    DeadlineExceededError,
    Pipeline,
    Retry,
    RetryBudget,
    Timeout,
)
from holdfast.machines.circuit import CircuitState
from holdfast.ports import ambient

YEARS = 10 * 365 * 86_400.0
JUMPS = pytest.mark.parametrize("jump", [-YEARS, -3600.0, 3600.0, YEARS])


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/St_Johns"])
def zone(request, monkeypatch):
    """The process moves to another place while it runs."""

    def move():
        monkeypatch.setenv("TZ", request.param)
        time.tzset()

    yield move
    monkeypatch.delenv("TZ")
    time.tzset()


@JUMPS
def test_an_open_breaker_opens_and_closes_by_the_monotonic_clock(clock, jump):
    breaker = CircuitBreaker(timeout=60.0)
    breaker.trip()
    before = breaker.retry_after

    clock.set_wall(clock.wall() + jump)

    assert breaker.retry_after == before
    assert breaker.state is CircuitState.OPEN
    with pytest.raises(CircuitBreakerOpenError) as refused:
        breaker.call(str)
    assert refused.value.retry_after == before
    clock.advance(before + 0.01)
    assert breaker.state is CircuitState.HALF_OPEN


@JUMPS
def test_limits_waits_and_deadlines_are_measured_by_the_monotonic_clock(clock, path, jump):
    pipeline = Pipeline(
        Timeout(20), Retry(9, Backoff.fixed(5.0), budget=RetryBudget()), Bulkhead(1), Timeout(6)
    )
    began = clock.now()

    async def jumps():
        clock.set_wall(clock.wall() + jump)
        await asyncio.sleep(3)
        clock.set_wall(clock.wall() + jump)
        await asyncio.sleep(100)

    async def main():
        with pytest.raises(DeadlineExceededError):
            await pipeline.execute(jumps)

    clock.run(main())

    assert clock.now() - began == pytest.approx(17, abs=3.1)


@JUMPS
def test_a_deadline_does_not_move(clock, jump):
    deadline = Deadline.after(10)

    clock.set_wall(clock.wall() + jump)

    assert deadline.remaining() == 10
    clock.advance(10)
    assert deadline.expired


def test_only_a_date_another_machine_wrote_is_read_by_the_wall_clock(clock, path):
    def asks():
        error = ConnectionError("busy")
        date = dt.datetime.fromtimestamp(clock.wall() + 30, dt.UTC)
        error.headers = {"Retry-After": date.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        raise error

    with pytest.raises(ConnectionError):
        Retry(2, Backoff.none()).call(asks)

    assert clock.slept == [pytest.approx(30, abs=1)]


@JUMPS
def test_the_real_clock_is_not_moved_by_the_date(monkeypatch, jump):
    real = time.time
    breaker = CircuitBreaker(timeout=0.05, timeout_jitter=0.0)
    breaker.trip()

    monkeypatch.setattr(time, "time", lambda: real() + jump)

    assert breaker.state is CircuitState.OPEN
    time.sleep(0.06)
    assert breaker.state is CircuitState.HALF_OPEN


def test_the_time_zone_plays_no_part(zone):
    breaker = CircuitBreaker(timeout=0.05, timeout_jitter=0.0)
    breaker.trip()
    before = ambient.now()

    zone()

    assert 0 <= ambient.now() - before < 5
    assert breaker.state is CircuitState.OPEN
    assert 0 < breaker.retry_after <= 0.05
    time.sleep(0.06)
    assert breaker.state is CircuitState.HALF_OPEN


def test_a_clock_that_steps_back_counts_as_no_time_passed(clock, path, monkeypatch):
    breaker = CircuitBreaker(timeout=60.0)
    breaker.trip()
    clock.advance(30)
    left = breaker.retry_after

    monkeypatch.setattr(ambient, "now", lambda: clock.now() - 1000)

    assert breaker.retry_after == pytest.approx(left)
    assert Pipeline(Retry(), CircuitBreaker(), Bulkhead(1), Timeout(5)).call(lambda: 7) == 7


def test_nothing_but_the_one_real_clock_reads_time():
    """Whoever wants the time asks `ambient`, which has no zones and does not jump."""
    core = Path(holdfast.__file__).parent
    readers = []
    for folder in ("machines", "policies", "pipeline"):
        for file in (core / folder).rglob("*.py"):
            imported = {
                name.name
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(node, ast.Import)
                for name in node.names
            }
            if imported & {"time", "datetime", "random"}:
                readers.append(file.name)

    assert readers == ["real.py"]
