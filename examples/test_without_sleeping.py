"""Tests of code that waits, none of which waits: fake time, fixed chance, scripted dependencies."""

from __future__ import annotations

import asyncio
import time

from holdfast import Backoff, CircuitBreaker, CircuitBreakerOpenError, Pipeline, Retry, Timeout
from holdfast.events import CircuitChanged
from holdfast.testing import FakeClock, FixedChance, recorded_events, scenario


def test_an_upload_is_tried_three_times_with_longer_and_longer_waits() -> None:
    upload = scenario().fails(2, ConnectionError).then_succeeds("ok")
    with FakeClock() as clock, FixedChance(0.5):
        retry = Retry(max_attempts=3, backoff=Backoff.exponential(initial=10.0))
        assert retry.call(upload, "a.png") == "ok"
    assert clock.slept == [10.0, 20.0]
    assert [call.args for call in upload.calls] == [("a.png",)] * 3


def test_a_render_that_hangs_is_given_up_after_an_hour_and_tried_again() -> None:
    render = scenario().hangs().takes(75).then_succeeds("picture").as_async()
    pipeline = Pipeline(Retry(on=TimeoutError, backoff=Backoff.none()), Timeout(3600))
    with FakeClock(start=0.0) as clock:
        assert clock.run(pipeline.execute(render)) == "picture"
        assert round(clock.now()) == 3675


def test_a_breaker_opens_and_lets_a_probe_through_a_minute_later() -> None:
    ask = scenario().fails(2).then_succeeds("back")
    breaker = CircuitBreaker("gpu1", failure_threshold=2, timeout=60.0, success_threshold=1)
    guarded = Pipeline(breaker)
    with FakeClock() as clock, FixedChance(0.5), recorded_events(CircuitChanged) as seen:
        for _ in range(2):
            assert not guarded.call_outcome(ask).ok
        assert isinstance(guarded.call_outcome(ask).error, CircuitBreakerOpenError)
        clock.advance(60.0)
        assert guarded.call(ask) == "back"
    assert [event.new for event in seen.of(CircuitChanged)] == ["open", "half_open", "closed"]


def test_four_at_once_take_as_long_as_one() -> None:
    render = scenario().takes(60).then_succeeds()

    async def main() -> None:
        await asyncio.gather(*[render.async_call(number) for number in range(4)])

    with FakeClock(start=0.0) as clock:
        clock.run(main())
        assert round(clock.now()) == 60
    assert render.most_at_once == 4


if __name__ == "__main__":
    began = time.monotonic()
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("passed:", name.removeprefix("test_").replace("_", " "))
    print(f"more than an hour of waiting, in {time.monotonic() - began:.2f} s")
