"""Profiles: settings that suit the length of the work."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from holdfast import (
    Backoff,
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Idempotency,
    Retry,
    RetryBudget,
    Timeout,
)
from holdfast.errors import (
    BadInputError,
    BulkheadFullError,
    CircuitBreakerOpenError,
    IdleTimeoutError,
)
from holdfast.machines.circuit import CircuitState
from holdfast.pipeline.profiles import Profile, settings_of_profiles
from holdfast.policies.scope import progress
from holdfast.testing import FakeClock

NAMES = ("rpc", "http_api", "llm", "gpu_job")
ALL = [getattr(Profile, name) for name in NAMES]
LONG = [profile for profile in ALL if profile.attempt is None or profile.attempt > 75]


def breaker_of(pipeline):
    return next(policy for policy in pipeline.policies if isinstance(policy, CircuitBreaker))


def retry_of(pipeline):
    return next(policy for policy in pipeline.policies if isinstance(policy, Retry))


@pytest.mark.parametrize("profile", ALL, ids=NAMES)
def test_the_order_is_fallback_total_retry_breaker_bulkhead_attempt(profile):
    policies = profile.pipeline("x", fallback=Fallback([])).policies
    assert [type(policy) for policy in policies] == [
        Fallback, Timeout, Retry, CircuitBreaker, Bulkhead, Timeout,
    ]  # fmt: skip
    assert (policies[1].name, policies[-1].name) == ("total", "attempt")


@pytest.mark.parametrize("profile", ALL, ids=NAMES)
def test_200_good_calls_of_75_seconds_leave_every_breaker_closed(profile):
    with FakeClock() as clock:
        breaker = breaker_of(profile.pipeline("x"))
        for _ in range(200):
            breaker.call(clock.sleep, 75)
        assert breaker.state is CircuitState.CLOSED
        assert breaker.snapshot()["failures"] == 0


@pytest.mark.parametrize("profile", ALL, ids=NAMES)
def test_work_that_becomes_1500_times_as_long_leaves_every_breaker_closed(profile):
    with FakeClock() as clock:
        breaker = profile.breaker("x")
        for seconds in [0.05] * 200 + [75.0] * 200:
            breaker.call(clock.sleep, seconds)
        assert breaker.state is CircuitState.CLOSED


def test_at_least_the_profiles_for_models_and_gpus_let_75_seconds_pass_as_a_whole():
    assert Profile.llm in LONG
    assert Profile.gpu_job in LONG


@pytest.mark.parametrize("profile", LONG)
def test_200_jobs_of_75_seconds_pass_through_the_whole_pipeline(profile):
    with FakeClock() as clock:
        pipeline = profile.pipeline("x")
        for _ in range(200):
            assert pipeline.call(lambda: clock.sleep(75) or "done") == "done"

        async def job():
            await asyncio.sleep(75)
            return "done"

        async def main():
            for _ in range(200):
                assert await pipeline.execute(job) == "done"

        clock.run(main())
        assert breaker_of(pipeline).state is CircuitState.CLOSED


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), MemoryError(), TimeoutError()])
def test_a_gpu_job_that_fails_after_40_minutes_is_tried_again(error):
    with FakeClock() as clock:
        calls = []

        async def job():
            calls.append(clock.now())
            await asyncio.sleep(40 * 60)
            if len(calls) == 1:
                raise error
            return "film"

        pipeline = Profile.gpu_job.pipeline("x")
        assert clock.run(pipeline.execute(job)) == "film"
        assert len(calls) == 2
        assert calls[1] - calls[0] == pytest.approx(40 * 60 + 15, abs=15 * 0.25)


def test_a_sync_gpu_job_that_fails_after_40_minutes_is_tried_again():
    with FakeClock() as clock:
        calls = []

        def job():
            calls.append(clock.now())
            clock.sleep(40 * 60)
            if len(calls) < 3:
                raise ConnectionResetError
            return "film"

        assert Profile.gpu_job.pipeline("x").call(job) == "film"
        assert len(calls) == 3


def test_a_gpu_job_that_is_simply_wrong_is_not_paid_for_twice():
    with FakeClock():
        outcome = Profile.gpu_job.pipeline("x").call_outcome(int, "seven")
        assert outcome.attempts == 1
        assert isinstance(outcome.error, ValueError)


def test_a_gpu_job_may_take_hours_while_it_reports_progress_and_no_longer():
    async def job(steps):
        for _ in range(steps):
            await asyncio.sleep(100)
            progress()
        await asyncio.sleep(121)

    with FakeClock() as clock:
        pipeline = Profile.gpu_job.pipeline("x", idle=120, max_attempts=1)
        began = clock.now()
        with pytest.raises(IdleTimeoutError):
            clock.run(pipeline.execute(job, 100))
        assert clock.now() - began == pytest.approx(100 * 100 + 120)


def test_the_circuit_of_a_gpu_opens_for_30_seconds_and_for_10_minutes_in_the_end(monkeypatch):
    monkeypatch.setattr("holdfast.ports.ambient.chance", lambda: 0.5, raising=True)
    with FakeClock() as clock:
        breaker = Profile.gpu_job.breaker("x")
        lengths = []
        for _ in range(3):
            breaker.record_failure()
        for _ in range(8):
            lengths.append(breaker.retry_after)
            clock.advance(breaker.retry_after)
            assert breaker.can_execute()
            breaker.record_failure()
        assert lengths == pytest.approx([30, 60, 120, 240, 480, 600, 600, 600])


def test_one_good_probe_of_a_gpu_closes_the_circuit_even_after_an_hour_of_silence():
    with FakeClock() as clock:
        breaker = Profile.gpu_job.breaker("x")
        for _ in range(3):
            breaker.record_failure()
        assert breaker.state is CircuitState.OPEN
        clock.advance(60)
        breaker.call(clock.sleep, 3600)
        assert breaker.state is CircuitState.CLOSED


def test_one_gpu_does_one_job_at_a_time_and_the_others_wait():
    running, most = 0, 0

    async def job():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(600)
        running -= 1

    async def main():
        pipeline = Profile.gpu_job.pipeline("x")
        await asyncio.gather(*(pipeline.execute(job) for _ in range(5)))

    with FakeClock() as clock:
        began = clock.now()
        clock.run(main())
        assert most == 1
        assert clock.now() - began == pytest.approx(3000)


def test_millisecond_calls_fail_in_seconds_not_in_minutes():
    async def hangs():
        await asyncio.sleep(1e6)

    with FakeClock() as clock:
        began = clock.now()
        with pytest.raises(TimeoutError):
            clock.run(Profile.rpc.pipeline("x").execute(hangs))
        assert clock.now() - began <= 5.0


@pytest.mark.parametrize("profile", ALL[:3], ids=NAMES[:3])
def test_even_when_every_attempt_times_out_the_last_one_may_end(profile):
    waits = sum(profile.backoff.longest(n) for n in range(1, profile.max_attempts))
    assert profile.max_attempts * profile.attempt + waits < profile.total


@pytest.mark.parametrize("profile", ALL, ids=NAMES)
def test_an_open_circuit_burns_no_attempts(profile):
    with FakeClock() as clock:
        pipeline = profile.pipeline("x")
        breaker_of(pipeline).trip()
        outcome = pipeline.call_outcome(clock.sleep, 1)
        assert isinstance(outcome.error, CircuitBreakerOpenError)
        assert outcome.attempts == 0
        assert clock.slept == []


def test_the_budget_bounds_the_retries_of_a_storm():
    with FakeClock():
        calls = 0

        def fails():
            nonlocal calls
            calls += 1
            raise ConnectionError

        pipeline = Profile.rpc.pipeline(
            "x", failure_threshold=None, failure_rate=1.0, backoff=Backoff.none()
        )
        for _ in range(1000):
            pipeline.call_outcome(fails)
            if breaker_of(pipeline).state is not CircuitState.CLOSED:
                breaker_of(pipeline).reset()
        assert 1000 < calls <= 1200 + 10


def test_two_pipelines_of_one_profile_share_nothing():
    one, two = Profile.llm.pipeline("one"), Profile.llm.pipeline("two")
    assert breaker_of(one) is not breaker_of(two)
    assert retry_of(one).budget is not retry_of(two).budget
    assert breaker_of(one).name == "one"


def test_what_is_given_is_shared():
    breaker, bulkhead, budget = CircuitBreaker("gpu"), Bulkhead(3), RetryBudget()
    made = [
        Profile.rpc.pipeline(name, breaker=breaker, bulkhead=bulkhead, budget=budget)
        for name in ("one", "two")
    ]
    for pipeline in made:
        assert breaker_of(pipeline) is breaker
        assert bulkhead in pipeline.policies
        assert retry_of(pipeline).budget is budget


def test_overrides_change_one_pipeline_and_not_the_profile():
    pipeline = Profile.http_api.pipeline("x", max_attempts=7, total=500, on=KeyError)
    assert retry_of(pipeline).max_attempts == 7
    assert retry_of(pipeline).on is KeyError
    assert pipeline.policies[0].seconds == 500
    assert Profile.http_api.max_attempts == 3


def test_an_override_with_a_shared_part_keeps_both():
    breaker = CircuitBreaker("gpu")
    pipeline = Profile.rpc.pipeline("x", breaker=breaker, max_attempts=2, fallback=Fallback(0))
    assert breaker_of(pipeline) is breaker
    assert retry_of(pipeline).max_attempts == 2
    assert isinstance(pipeline.policies[0], Fallback)


def test_none_leaves_a_policy_out():
    bare = Profile.rpc.pipeline(
        "x", total=None, max_attempts=1, max_concurrent=None, max_wait=None, attempt=None
    )
    assert [type(policy) for policy in bare.policies] == [CircuitBreaker]


def test_a_full_queue_refuses_at_once():
    async def main():
        pipeline = Profile.rpc.pipeline("x", max_concurrent=1, max_queue=1, max_wait=0.5)
        calls = [asyncio.ensure_future(pipeline.execute(asyncio.sleep, 0.1)) for _ in range(3)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(one, BulkheadFullError) for one in told) == 1

    with FakeClock() as clock:
        clock.run(main())


def test_a_call_that_must_not_be_repeated_needs_a_lookup():
    with pytest.raises(BadInputError, match="reconcile"):
        Profile.gpu_job.pipeline("x", idempotency=Idempotency.unsafe())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"max_atempts": 4},
            "max_atempts is no setting of a profile, got 4; did you mean max_attempts?",
        ),
        ({"fallbak": 1}, "fallbak is no setting of a profile, got 1; did you mean fallback?"),
        ({"idel": 60}, "idel is no setting of a profile, got 60; did you mean idle?"),
    ],
)
def test_an_unknown_override_is_refused_by_name_with_the_nearest_right_one(changes, told):
    with pytest.raises(BadInputError) as refused:
        Profile.rpc.pipeline("x", **changes)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"total": -1}, "total must be above 0 seconds, got -1"),
        ({"total": float("nan")}, "total must be above 0 seconds"),
        ({"attempt": 0}, "attempt must be above 0 seconds, got 0"),
        ({"open_seconds": 0}, "open_seconds must be above 0 seconds, got 0"),
        ({"open_maximum": 1}, "open_maximum must be at least open_seconds"),
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1, got 0"),
        ({"max_concurrent": 0}, "max_concurrent must be a whole number of at least 1, got 0"),
        ({"budget_ratio": -1}, "budget_ratio must be at least 0"),
        ({"total": 0.5}, r"the total timeout \(0.5 s\) must be above the attempt timeout \(1 s\)"),
        ({"fallback": 7}, "fallback must be a Policy, got 7"),
        ({"breaker": "x"}, "breaker must be a CircuitBreaker, got 'x'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(changes, told):
    with pytest.raises(BadInputError, match=told):
        Profile.rpc.pipeline("x", **changes)


def test_a_profile_of_ones_own_is_a_value():
    patient = Profile.gpu_job.but(idle=120.0)
    assert patient == Profile.gpu_job.but(idle=120.0)
    assert patient != Profile.gpu_job
    with pytest.raises(AttributeError):
        patient.idle = 5


def test_the_documented_table_is_the_truth():
    text = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert [*rows][-20:] == settings_of_profiles()
    for setting in settings_of_profiles():
        for profile, told in zip(ALL, rows[setting].split(" | "), strict=True):
            assert told == _told(getattr(profile, setting)), (setting, told)


def _told(value):
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Backoff():
            jitter = "full jitter" if value.jitter == "full" else f"± {value.jitter:.0%}"
            growth = f"{value.initial:g} s \N{MULTIPLICATION SIGN} {value.base:g}"
            return f"{growth}, up to {value.maximum:g} s, {jitter}"
        case int() | float():
            return f"{value:g}"
    return value.__name__.replace("_or_", ", ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", True),
        ("max_attempts", 1.0),
        ("max_attempts", 0),
        ("backoff", 5),
        ("on", "everything"),
        ("on", []),
        ("max_queue", -1),
        ("max_wait", -1.0),
    ],
)
def test_what_would_drop_or_hide_a_part_is_refused(field, value):
    settings = {"max_attempts": 1, "max_concurrent": None} | {field: value}
    with pytest.raises(BadInputError, match=f"^{field} must "):
        Profile.rpc.but(**settings)
