"""A rate is kept, whoever asks: by refusing the surplus, or by letting it wait its turn."""

from __future__ import annotations

import asyncio
import threading
from math import inf, nan

import pytest

from holdfast.errors import BadInputError, QueueTimeoutError, RateLimitedError
from holdfast.events import Rejected, listen
from holdfast.pipeline import Pipeline
from holdfast.policies.policy import Bound
from holdfast.policies.rate_limit import RateLimiter
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands


@pytest.fixture
def clock():
    with FakeClock(start=0.0) as clock:
        yield clock


def test_the_surplus_is_refused_and_told_when_to_come_back(clock):
    limiter = RateLimiter(2, per=1.0)
    assert [limiter.call(lambda: "ok") for _ in range(2)] == ["ok", "ok"]
    with pytest.raises(RateLimitedError, match="used up") as refused:
        limiter.call(lambda: "ok")
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.advance(0.5)
    assert limiter.call(lambda: "ok") == "ok"


def test_async_calls_are_refused_alike(clock):
    limiter = RateLimiter(1, per=10.0)

    async def main():
        outcomes = [await limiter.outcome(ambient.now) for _ in range(3)]
        assert [outcome.ok for outcome in outcomes] == [True, False, False]
        assert outcomes[1].attempts == 0
        assert "refused" in outcomes[1].steps[0]

    clock.run(main())


def test_a_retry_around_it_waits_as_long_as_it_was_told(clock):
    limiter = RateLimiter(1, per=30.0)
    limiter.call(lambda: None)
    retry = Retry(max_attempts=2, on=RateLimitedError)
    assert Pipeline(retry, limiter).call(ambient.now) >= 30.0


def test_a_sync_call_waits_for_its_turn(clock):
    limiter = RateLimiter(2, per=1.0, burst=1, wait=True)
    assert [limiter.call(ambient.now) for _ in range(3)] == pytest.approx([0.0, 0.5, 1.0])
    assert limiter.waiting == 0


def test_async_calls_wait_in_order_of_arrival(clock):
    limiter = RateLimiter(1, per=1.0, wait=True)
    ran = []

    async def one(n):
        await limiter.execute(lambda: ran.append((n, round(ambient.now(), 6))))

    async def main():
        await asyncio.gather(*(one(n) for n in range(4)))

    clock.run(main())
    assert ran == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_wait_beyond_max_wait_is_refused_at_once(clock):
    limiter = RateLimiter(1, per=10.0, wait=True, max_wait=5.0)
    limiter.call(lambda: None)
    with pytest.raises(RateLimitedError) as refused:
        limiter.call(lambda: None)
    assert refused.value.retry_after == pytest.approx(10.0)
    assert clock.slept == []


@pytest.mark.parametrize(("left", "slept"), [(10.0, []), (10.1, [10.0])])
def test_a_wait_that_would_use_the_deadline_up_is_refused_at_once(clock, left, slept):
    limiter = RateLimiter(1, per=10.0, wait=True)
    limiter.call(lambda: None)
    with Deadline.after(left):
        assert limiter.call_outcome(lambda: None).ok == bool(slept)
    assert clock.slept == slept


def test_a_waiter_who_gives_up_gives_its_turn_to_the_next_who_comes(clock):
    limiter = RateLimiter(1, per=1.0, wait=True)
    ran = {}

    async def one(name):
        await limiter.execute(lambda: ran.setdefault(name, round(ambient.now(), 6)))

    async def main():
        tasks = {name: asyncio.create_task(one(name)) for name in "abc"}
        await asyncio.sleep(0.25)
        assert limiter.waiting == 2
        tasks["b"].cancel()
        await asyncio.sleep(0)
        assert limiter.waiting == 1
        await asyncio.gather(one("d"), one("e"), tasks["a"], tasks["c"])

    clock.run(main())
    assert ran == {"a": 0.0, "d": 1.0, "c": 2.0, "e": 3.0}


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("ticks", range(4))
def test_a_cancellation_at_any_moment_leaves_nobody_waiting(clock, moment, ticks):
    limiter = RateLimiter(1, per=1.0, wait=True)

    async def main():
        await limiter.execute(lambda: None)
        tasks = [asyncio.create_task(limiter.execute(asyncio.sleep, 1.0)) for _ in range(2)]
        await asyncio.sleep(moment)
        for _ in range(ticks):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
        assert limiter.waiting == 0
        began = ambient.now()
        await limiter.execute(lambda: None)
        assert ambient.now() - began <= 1.0 + 1e-6

    clock.run(main())


def test_a_timeout_around_it_refuses_a_wait_that_is_too_long(clock):
    limiter = RateLimiter(1, per=10.0, wait=True)

    async def main():
        await limiter.execute(lambda: None)
        with pytest.raises(RateLimitedError):
            await Pipeline(Timeout(3.0), limiter).execute(lambda: None)

    clock.run(main())
    assert ambient.now() == 0.0


def test_a_wait_for_its_turn_is_no_silence(clock):
    limiter = RateLimiter(1, per=10.0, wait=True)

    async def main():
        await limiter.execute(lambda: None)
        outcome = await Pipeline(Timeout(idle=3.0), limiter).outcome(lambda: None)
        assert (outcome.attempts, outcome.error) == (1, None)
        assert limiter.waiting == 0

    clock.run(main())


def test_by_hand_it_takes_what_is_there(clock):
    limiter = RateLimiter(10, per=1.0, burst=5)
    assert limiter.try_acquire(4)
    assert not limiter.try_acquire(2)
    assert limiter.available == pytest.approx(1.0)
    assert limiter.try_acquire()
    with pytest.raises(BadInputError, match="cost must be at least 0 and at most 5, got 6"):
        limiter.try_acquire(6)


def test_eight_threads_together_get_no_more_than_the_rate(clock):
    limiter, passed = RateLimiter(500, per=3600.0), []

    def work():
        passed.append(sum(limiter.call_outcome(lambda: None).ok for _ in range(200)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 500


def test_two_loops_in_two_threads_share_the_rate(clock):
    limiter, passed = RateLimiter(30, per=3600.0), []

    def work():
        async def main():
            outcomes = [await limiter.outcome(lambda: None) for _ in range(40)]
            passed.append(sum(outcome.ok for outcome in outcomes))

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 30


def test_a_refusal_is_an_event(clock):
    limiter, heard = RateLimiter(1, name="api"), []
    with listen(heard.append):
        limiter.call(lambda: None)
        limiter.call_outcome(lambda: None)
    refusals = [event for event in heard if isinstance(event, Rejected)]
    assert [(event.policy, event.retry_after) for event in refusals] == [("api", 1.0)]


def test_it_tells_what_it_does(clock):
    limiter = RateLimiter(10, per=60.0, wait=True, max_wait=5.0)
    assert limiter.describe() == (
        "RateLimiter 'rate_limiter': 10 per 60 s, 10 at once, the rest waits for at most 5 s"
    )
    assert "the rest is refused" in RateLimiter(1).describe()
    assert "worst case: 5 s" in Pipeline(limiter, Timeout(1)).explain().replace("6 s", "5 s")
    assert limiter.snapshot()["available"] == 10.0
    assert "per=60" in repr(limiter)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("rate", {"rate": 0}),
        ("rate", {"rate": nan}),
        ("rate", {"rate": True}),
        ("rate", {"rate": "5"}),
        ("per", {"per": 0}),
        ("per", {"per": inf}),
        ("burst", {"burst": 0.5}),
        ("wait", {"wait": 1}),
        ("max_wait", {"max_wait": 3.0}),
        ("max_wait", {"wait": True, "max_wait": -1}),
        ("name", {"name": ""}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(field, settings):
    with pytest.raises(BadInputError, match=f"^{field} "):
        RateLimiter(**{"rate": 1, **settings})


def test_a_queue_timeout_is_not_what_a_refusal_is(clock):
    assert not issubclass(RateLimitedError, QueueTimeoutError)


def test_one_that_is_ended_while_it_waits_is_told_that_it_never_ran(clock):
    limiter = RateLimiter(1, per=10.0, wait=True)
    limiter.call(lambda: None)
    hands = Hands(limiter)
    hands.interrupt(KeyboardInterrupt())
    assert hands.call.scope.queued_out
    assert limiter.waiting == 0


def test_to_wait_not_at_all_is_allowed():
    assert RateLimiter(1, wait=True, max_wait=0).max_wait == 0


def test_what_refuses_at_once_adds_nothing_to_the_worst_case():
    assert RateLimiter(1).bound(Bound(2.0)) == Bound(2.0)
