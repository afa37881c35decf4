"""Gate 18: work that takes long is not work that fails."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Pipeline,
    Profile,
    Retry,
    Timeout,
    progress,
)
from holdfast.machines.circuit import CircuitState

PROFILES = {
    "rpc": Profile.rpc,
    "http_api": Profile.http_api,
    "llm": Profile.llm,
    "gpu_job": Profile.gpu_job,
}
RULES = {
    "default": {},
    "failure rate": {"failure_rate": 0.5},
    "slow rate": {"slow_rate": 0.5},
    "slow rate over calls": {"slow_rate": 0.5, "window_calls": 50},
    "all": {"failure_rate": 0.5, "slow_rate": 0.5, "window": 3600.0},
}

profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
rules = pytest.mark.parametrize("settings", RULES.values(), ids=RULES)


async def render():
    """75 seconds of work that shows its progress, as a server would."""
    for _ in range(5):
        await asyncio.sleep(15)
        progress()
    return "picture"


@profiles
def test_200_good_calls_of_75_seconds_leave_the_breaker_of_every_profile_closed(
    clock, path, profile
):
    """The breaker alone: the time limits of profiles for short calls are theirs to set."""
    breaker = profile.breaker("api")

    async def main():
        for _ in range(200):
            assert await breaker.execute(render) == "picture"

    clock.run(main())

    assert breaker.state is CircuitState.CLOSED
    assert breaker.snapshot()["openings"] == 0


@rules
def test_200_good_calls_of_75_seconds_open_no_rule(clock, path, settings):
    breaker = CircuitBreaker("api", **settings)

    async def main():
        for _ in range(200):
            await breaker.execute(asyncio.sleep, 75)

    clock.run(main())

    assert breaker.state is CircuitState.CLOSED


def test_the_profile_for_them_lets_all_of_them_through(clock, path):
    pipeline = Profile.gpu_job.pipeline("renders")

    async def main():
        return [await pipeline.execute(render) for _ in range(200)]

    assert clock.run(main()) == ["picture"] * 200


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_failed_attempt_of_40_minutes_is_still_retried(clock, path, colour):
    pipeline, calls = Profile.gpu_job.pipeline("renders"), []

    def fails_first():
        calls.append(clock.now())
        if len(calls) == 1:
            raise ConnectionError("the server went away")
        return "film"

    def render_40_minutes():
        clock.advance(40 * 60)
        return fails_first()

    async def render_40_minutes_later():
        for _ in range(160):
            await asyncio.sleep(15)
            progress()
        return fails_first()

    if colour == "sync":
        result = pipeline.call(render_40_minutes)
    else:
        result = clock.run(pipeline.execute(render_40_minutes_later))

    assert result == "film"
    assert len(calls) == 2


def test_a_job_of_10_hours_that_shows_progress_is_left_alone(clock, path):
    pipeline = Pipeline(Retry(), CircuitBreaker(), Bulkhead(1), Timeout(idle=60))

    async def train():
        for _ in range(720):
            await asyncio.sleep(50)
            progress()
        return "model"

    assert clock.run(pipeline.execute(train)) == "model"


def test_a_retry_alone_knows_no_limit_of_time(clock, path):
    calls = []

    def film():
        calls.append(None)
        clock.advance(12 * 3600)
        if len(calls) < 3:
            raise ConnectionError("down")
        return "film"

    assert Retry(3, Backoff.fixed(60.0)).call(film) == "film"


def test_probes_of_75_seconds_close_a_breaker(clock, path):
    breaker = Profile.gpu_job.breaker("gpu")
    breaker.trip()
    clock.advance(3600)

    async def main():
        for _ in range(5):
            await breaker.execute(render)

    clock.run(main())

    assert breaker.state is CircuitState.CLOSED
