"""A client that holds back what the server would refuse, and only that."""

from __future__ import annotations

import asyncio
import threading
from math import nan
from random import Random

import pytest

from holdfast.errors import (
    BadInputError,
    BulkheadFullError,
    DeadlineExceededError,
    RejectedError,
    ThrottledError,
)
from holdfast.events import Rejected, listen
from holdfast.pipeline import Pipeline
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.fallback import Fallback
from holdfast.policies.throttle import AdaptiveThrottle, refused_by_server
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock


class HTTPError(Exception):
    def __init__(self, status):
        self.status = status


class ResponseError(Exception):
    def __init__(self, status):
        self.response = type("Response", (), {"status_code": status})()


def refuse():
    raise HTTPError(503)


@pytest.fixture
def clock(monkeypatch):
    with FakeClock() as clock:
        monkeypatch.setattr(ambient, "chance", Random(1).random)
        yield clock


def refused(throttle, times, fn=refuse):
    return [throttle.call_outcome(fn).error for _ in range(times)]


def test_while_the_server_accepts_everything_passes(clock):
    throttle = AdaptiveThrottle()
    assert all(throttle.call(lambda: True) for _ in range(100))
    assert throttle.probability == 0.0


def test_a_server_that_refuses_is_asked_less_and_less_but_never_left_alone(clock):
    throttle = AdaptiveThrottle()
    errors = refused(throttle, 1_000)
    held_back = [isinstance(error, ThrottledError) for error in errors]
    assert not any(held_back[:10])
    assert 950 < sum(held_back) < 1_000
    assert 0.9 < throttle.probability < 1.0


def test_a_server_that_heals_gets_everything_again(clock):
    throttle = AdaptiveThrottle(seconds=120.0)
    refused(throttle, 200)
    for _ in range(1_500):
        clock.advance(1.0)
        throttle.call_outcome(lambda: True)
    assert throttle.probability == 0.0


def test_a_failure_is_an_answer_and_no_refusal(clock):
    throttle = AdaptiveThrottle()
    errors = refused(throttle, 100, fn=lambda: 1 / 0)
    assert all(isinstance(error, ZeroDivisionError) for error in errors)
    assert throttle.probability == 0.0


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("kind", [HTTPError, ResponseError])
def test_http_statuses_that_mean_too_much_are_refusals(kind, status):
    assert refused_by_server(kind(status))
    assert not refused_by_server(kind(500))
    assert not refused_by_server(ValueError())


def test_what_counts_as_a_refusal_can_be_said(clock):
    by_type = AdaptiveThrottle(rejected=TimeoutError, minimum=0)
    by_result = AdaptiveThrottle(rejected_on_result=lambda status: status == 503, minimum=0)

    def time_out():
        raise TimeoutError

    refused(by_type, 3, time_out)
    refused(by_result, 3, lambda: 503)
    assert by_type.probability > 0.5
    assert by_result.probability > 0.5
    other = AdaptiveThrottle(rejected=TimeoutError, minimum=0)
    refused(other, 3)
    assert other.probability == 0.0


def test_a_hundred_long_calls_under_way_are_no_refusals(clock):
    throttle = AdaptiveThrottle()

    async def main():
        calls = (throttle.outcome(asyncio.sleep, 2400.0) for _ in range(100))
        assert all(outcome.ok for outcome in await asyncio.gather(*calls))

    clock.run(main())
    assert throttle.probability == 0.0


def test_a_refusal_by_a_policy_further_in_counts_as_nothing(clock):
    throttle, bulkhead = AdaptiveThrottle(minimum=0), Bulkhead(1)
    assert bulkhead.try_take()
    errors = [Pipeline(throttle, bulkhead).call_outcome(lambda: None).error for _ in range(9)]
    assert all(isinstance(error, BulkheadFullError) for error in errors)
    assert throttle.probability == 0.0
    assert throttle._machine._counts.totals == [0, 0]


def test_a_rejection_raised_by_the_call_itself_is_a_refusal(clock):
    throttle = AdaptiveThrottle(minimum=0)

    def far_away():
        raise RejectedError("too busy")

    refused(throttle, 3, far_away)
    assert throttle.probability > 0.5


def test_a_call_taken_back_counts_as_nothing(clock):
    throttle = AdaptiveThrottle(minimum=0)

    async def main():
        for ticks in range(5):
            task = asyncio.create_task(throttle.execute(asyncio.sleep, 5.0))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    clock.run(main())
    assert throttle._machine._counts.totals == [0, 0]


@pytest.mark.parametrize(("rejected", "accepts"), [(TimeoutError, 0), (HTTPError, 1)])
def test_a_call_ended_by_a_limit_counts_as_the_timeout_it_is(clock, rejected, accepts):
    throttle = AdaptiveThrottle(minimum=0, rejected=rejected)

    async def main():
        with pytest.raises(DeadlineExceededError):
            await Pipeline(Timeout(1.0), throttle).execute(asyncio.sleep, 5.0)

    clock.run(main())
    assert throttle._machine._counts.totals == [1, accepts]


def test_a_condition_that_raises_does_not_replace_a_time_limit(clock):
    throttle = AdaptiveThrottle(rejected=lambda error: error.status == 503)

    async def main():
        with pytest.raises(DeadlineExceededError):
            await Pipeline(Timeout(1.0), throttle).execute(asyncio.sleep, 5.0)

    clock.run(main())


def test_a_fallback_around_it_takes_over_when_it_holds_back(clock):
    throttle = AdaptiveThrottle()
    refused(throttle, 500)
    pipeline = Pipeline(Fallback("cached", on=ThrottledError), throttle)
    assert "cached" in [pipeline.call_outcome(refuse).value for _ in range(20)]


def test_eight_threads_are_counted_right(clock):
    throttle = AdaptiveThrottle()

    def work():
        for n in range(200):
            throttle.call_outcome(refuse if n % 4 == 0 else int)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert throttle._machine._counts.totals == [1_600, 1_200]


def test_two_loops_in_two_threads_are_counted_together(clock):
    throttle = AdaptiveThrottle()

    def work():
        async def main():
            for _ in range(50):
                await throttle.outcome(int)

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert throttle._machine._counts.totals == [100, 100]


def test_a_call_held_back_is_an_event_and_never_ran(clock):
    throttle, heard = AdaptiveThrottle(name="api"), []
    refused(throttle, 500)
    with listen(heard.append):
        outcomes = [throttle.call_outcome(refuse) for _ in range(20)]
    held_back = [o for o in outcomes if isinstance(o.error, ThrottledError)]
    assert held_back
    assert all(outcome.attempts == 0 for outcome in held_back)
    events = [event for event in heard if isinstance(event, Rejected)]
    assert [event.policy for event in events] == ["api"] * len(held_back)


def test_it_tells_what_it_does(clock):
    throttle = AdaptiveThrottle(k=1.5)
    assert "less than one in 1.5" in throttle.describe()
    assert throttle.snapshot() == {"k": 1.5, "minimum": 10, "probability": 0.0}
    assert "k=1.5" in repr(throttle)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("k", {"k": 0.5}),
        ("k", {"k": nan}),
        ("k", {"k": True}),
        ("seconds", {"seconds": 0}),
        ("minimum", {"minimum": -1}),
        ("minimum", {"minimum": 1.5}),
        ("rejected", {"rejected": 503}),
        ("rejected_on_result", {"rejected_on_result": 503}),
        ("name", {"name": " "}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(field, settings):
    with pytest.raises(BadInputError, match=f"^{field} "):
        AdaptiveThrottle(**settings)


def test_the_defaults_are_those_of_the_contract(clock):
    assert AdaptiveThrottle().snapshot() == {"k": 2.0, "minimum": 10, "probability": 0.0}


def test_a_call_held_back_says_why(clock):
    throttle = AdaptiveThrottle(name="api")
    refused(throttle, 500)
    outcomes = [throttle.call_outcome(refuse) for _ in range(20)]
    held_back = [o for o in outcomes if isinstance(o.error, ThrottledError)]
    assert held_back
    assert all("api: refused: the server refuses most" in o.steps[-1] for o in held_back)
