"""Scripted dependencies, sync and async."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast import (
    Backoff,
    BadInputError,
    Bulkhead,
    CircuitBreaker,
    DeadlineExceededError,
    Fallback,
    Pipeline,
    Retry,
    Timeout,
)
from holdfast.testing import FakeClock, Scenario, ScriptOverError, Step, scenario


def test_it_fails_and_then_succeeds_as_written():
    upload = scenario().fails(2, ConnectionError).then_succeeds("ok")
    with FakeClock() as clock:
        retry = Retry(max_attempts=3, backoff=Backoff.fixed(5.0))
        assert retry.call(upload, "a.png", size=3) == "ok"
    assert upload.count == 3
    assert upload.finished
    assert upload.gaps == clock.slept == [5.0, 5.0]
    assert [(call.number, call.args, call.kwargs) for call in upload.calls] == [
        (number, ("a.png",), {"size": 3}) for number in (1, 2, 3)
    ]


def test_the_last_step_is_for_ever_only_if_told():
    endless, short = scenario().returns(1).then_succeeds(2), scenario().returns(1, times=2)
    assert [endless() for _ in range(5)] == [1, 2, 2, 2, 2]
    assert [short(), short()] == [1, 1]
    with pytest.raises(ScriptOverError, match="called 3 times, and its script has 2 steps"):
        short()
    assert short.count == 2


def test_no_policy_swallows_the_end_of_the_script():
    used_up = scenario(name="gpu").fails(1)
    pipeline = Pipeline(
        Fallback("x", on=ZeroDivisionError), Retry(on=Exception), CircuitBreaker("x")
    )
    with FakeClock(), pytest.raises(ScriptOverError, match="'gpu'"):
        pipeline.call(used_up)


async def test_the_end_of_the_script_passes_through_async_policies_too():
    with pytest.raises(ScriptOverError):
        await Retry(on=Exception).execute(scenario().as_async())


def test_more_can_be_written_while_it_is_played():
    play = scenario().returns(1)
    assert play() == 1
    play.returns(2)
    assert not play.finished
    assert play() == 2


def test_each_step_takes_the_seconds_written_before_it():
    play = scenario().returns("a").takes(5).fails(1, KeyError).returns("b").takes(0).returns("c")
    with FakeClock(start=0.0):
        assert play() == "a"
        with pytest.raises(KeyError):
            play()
        assert [play(), play()] == ["b", "c"]
    assert [call.seconds for call in play.calls] == [0.0, 5.0, 5.0, 0.0]
    assert play.times == [0.0, 0.0, 5.0, 10.0]


def test_async_calls_take_the_time_of_the_loop():
    fetch = scenario().takes(30).returns("slow").takes(0).then_succeeds("fast").as_async()

    async def main():
        with pytest.raises(DeadlineExceededError):
            await Timeout(10).execute(fetch)
        return await fetch("x")

    with FakeClock(start=0.0) as clock:
        assert clock.run(main()) == "fast"
        assert clock.now() == pytest.approx(10.0)
    assert fetch.count == 2
    assert fetch.calls[0].seconds == pytest.approx(10.0)
    assert fetch.scenario.running == 0


def test_an_async_dependency_can_be_decorated_and_called_by_method():
    play = scenario().fails(1).then_succeeds(3)

    async def main():
        assert await Retry(backoff=Backoff.none())(play.as_async())() == 3
        return await Retry().execute(play.async_call)

    assert FakeClock().run(main()) == 3
    assert play.count == 3


def test_a_hanging_async_call_ends_by_cancellation():
    play = scenario().hangs().then_succeeds(1)

    async def main():
        outcome = await Timeout(60).outcome(play.async_call)
        assert isinstance(outcome.error, DeadlineExceededError)

    with FakeClock(start=0.0) as clock:
        clock.run(main())
        assert clock.now() == pytest.approx(60.0)
    assert play.running == 0


def test_a_hanging_sync_call_is_left_behind_by_a_thread_timeout_and_can_be_released():
    play, ended = scenario().hangs(), threading.Event()

    def work():
        play()
        ended.set()

    with FakeClock(start=0.0) as clock:
        with pytest.raises(DeadlineExceededError):
            Timeout(60, thread=True).call(work)
        assert clock.now() == 60.0
        assert play.running == 1
        play.release()
        assert ended.wait(30)
    assert play.running == 0


def test_a_hanging_call_that_nobody_can_end_is_an_error():
    with FakeClock(patience=0.0), pytest.raises(RuntimeError, match="would hang"):
        scenario().hangs()()


def test_a_step_can_answer_by_a_function_sync_or_async():
    async def double(number):
        await asyncio.sleep(1)
        return number * 2

    assert scenario().does(lambda number: number + 1)(3) == 4
    assert FakeClock().run(scenario().does(double).async_call(3)) == 6


def test_callers_at_once_take_different_steps_and_are_counted():
    play = Scenario([Step.returns(n, 1.0) for n in range(40)])
    got, lock = [], threading.Lock()

    def body():
        for _ in range(5):
            number = play()
            with lock:
                got.append(number)

    with FakeClock(grace=0.2):
        threads = [threading.Thread(target=body) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(got) == list(range(40))
    assert play.running == 0


def test_the_most_calls_at_once_tells_whether_a_limit_held():
    play = scenario().takes(1).then_succeeds()
    limit = Bulkhead(3, max_queue=20)

    async def main():
        await asyncio.gather(*[limit.execute(play.async_call) for _ in range(10)])

    with FakeClock(start=0.0) as clock:
        clock.run(main())
        assert clock.now() == pytest.approx(4.0)
    assert play.most_at_once == 3


@pytest.mark.parametrize(
    "write",
    [
        lambda play: play.takes(-1),
        lambda play: play.returns(1, times=-1),
        lambda play: play.fails(1, "text"),
        lambda play: play.does(None),
        lambda play: play.forever(),
    ],
)
def test_what_cannot_be_played_is_refused_when_it_is_written(write):
    with pytest.raises(BadInputError):
        write(scenario())


def test_it_tells_itself_in_words():
    play = scenario(name="gpu").fails(1, KeyError).takes(2).then_succeeds("x")
    assert repr(play) == (
        "<scenario 'gpu': raises KeyError, returns 'x' after 2 s for ever; 0 calls so far>"
    )
    assert repr(play.as_async()).endswith("as async")
