"""More work than can be done: what matters most is done, in time, and the rest is told at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from math import inf, nan

import pytest

from benchmarks import overload
from holdfast.errors import BadInputError, LoadShedError, QueueTimeoutError
from holdfast.events import Rejected, listen
from holdfast.pipeline import Pipeline
from holdfast.policies.policy import Bound
from holdfast.policies.scope import Deadline
from holdfast.policies.shedder import LoadShedder
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock(start=0.0) as clock:
        yield clock


def learned(seconds, **settings):
    """A shedder for one worker that knows how long its work takes."""
    shedder = LoadShedder(1, **settings)
    for _ in range(4):
        shedder.call(ambient.sleep, seconds)
    return shedder


def idle(shedder):
    return shedder.running == 0 and shedder.waiting == 0


async def started(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def test_calls_beyond_the_limit_wait_and_beyond_the_queue_are_refused(clock):
    shedder = LoadShedder(2, max_queue=1)

    async def main():
        calls = (shedder.outcome(asyncio.sleep, 1.0, n) for n in range(5))
        outcomes = await asyncio.gather(*calls)
        assert [outcome.value for outcome in outcomes] == [0, 1, 2, None, None]
        assert isinstance(outcomes[4].error, LoadShedError)
        assert outcomes[4].attempts == 0

    clock.run(main())
    assert ambient.now() == pytest.approx(2.0)
    assert idle(shedder)


def test_without_a_queue_nobody_waits(clock):
    shedder = LoadShedder(1, max_queue=0)

    async def main():
        outcomes = await asyncio.gather(*(shedder.outcome(asyncio.sleep, 1.0) for _ in range(2)))
        assert [outcome.ok for outcome in outcomes] == [True, False]

    clock.run(main())


def test_a_more_important_arrival_takes_the_place_of_the_least_important_waiter(clock):
    shedder = LoadShedder(1, max_queue=2, priority=lambda level: level)
    ran = []

    async def work(level):
        await asyncio.sleep(1.0)
        ran.append(level)

    async def main():
        tasks = await started(*(shedder.outcome(work, level) for level in (5, 7, 8, 0)))
        assert (await tasks[2]).error.args[0].endswith("more important work took its place")
        assert ambient.now() == 0.0
        await asyncio.gather(*tasks)

    clock.run(main())
    assert ran == [5, 0, 7]


def test_a_block_gives_its_calls_a_priority_and_has_the_last_word(clock):
    shedder = LoadShedder(1, priority=lambda: 3)
    ran = []

    async def main():
        async def one(name):
            async def work():
                ran.append(name)
                await asyncio.sleep(1.0)

            await shedder.execute(work)

        first = await started(one("first"))
        plain = await started(one("plain"))
        with LoadShedder.priority(0):
            urgent = await started(one("urgent"))
        await asyncio.gather(*first, *plain, *urgent)

    clock.run(main())
    assert ran == ["first", "urgent", "plain"]


def test_work_that_cannot_be_done_in_time_is_refused_at_once(clock):
    shedder = learned(10.0)
    began = ambient.now()
    with Deadline.after(9.0):
        outcome = shedder.call_outcome(ambient.sleep, 10.0)
    assert isinstance(outcome.error, LoadShedError)
    assert "before its deadline" in str(outcome.error)
    assert ambient.now() == began
    with Deadline.after(11.0):
        assert shedder.call_outcome(ambient.sleep, 10.0).ok


def test_the_wait_counts_too_and_what_is_done_already_of_the_work_ahead(clock):
    shedder = learned(75.0)

    async def main():
        tasks = await started(shedder.outcome(asyncio.sleep, 75.0))
        await asyncio.sleep(70.0)
        with Deadline.after(79.0):
            late = await shedder.outcome(asyncio.sleep, 75.0)
        assert isinstance(late.error, LoadShedError)
        assert late.error.retry_after == pytest.approx(5.0)
        with Deadline.after(81.0):
            assert (await shedder.outcome(asyncio.sleep, 75.0)).ok
        await asyncio.gather(*tasks)

    clock.run(main())
    assert idle(shedder)


def test_whoever_turns_late_while_waiting_is_told_when_its_turn_comes(clock):
    shedder = learned(10.0)

    async def main():
        tasks = await started(shedder.outcome(asyncio.sleep, 30.0))
        with Deadline.after(25.0):
            waiter = await started(shedder.outcome(asyncio.sleep, 10.0))
        outcome = await waiter[0]
        assert isinstance(outcome.error, QueueTimeoutError | LoadShedError)
        assert outcome.attempts == 0
        await asyncio.gather(*tasks)

    clock.run(main())
    assert idle(shedder)


def test_an_estimate_from_a_bad_time_is_doubted_after_a_while(clock):
    shedder = learned(10.0)
    with Deadline.after(5.0):
        assert not shedder.call_outcome(ambient.sleep, 1.0).ok
    clock.advance(101.0)
    for _ in range(40):
        with Deadline.after(5.0):
            shedder.call_outcome(ambient.sleep, 1.0)
        clock.advance(101.0)
    with Deadline.after(5.0):
        assert shedder.call_outcome(ambient.sleep, 1.0).ok


def test_long_jobs_without_a_deadline_are_never_refused_for_their_length(clock):
    shedder = LoadShedder(1)
    assert all(shedder.call_outcome(ambient.sleep, 2400.0).ok for _ in range(20))


def test_a_wait_beyond_max_wait_is_refused_at_once_when_it_can_be_foreseen(clock):
    shedder = learned(10.0, max_wait=5.0)

    async def main():
        tasks = await started(shedder.outcome(asyncio.sleep, 10.0))
        late = await shedder.outcome(asyncio.sleep, 10.0)
        assert "longer than it may" in str(late.error)
        assert late.elapsed == 0.0
        await asyncio.gather(*tasks)

    clock.run(main())


def test_a_wait_beyond_max_wait_ends_when_it_could_not_be_foreseen(clock):
    shedder = LoadShedder(1, max_wait=5.0)

    async def main():
        tasks = await started(shedder.outcome(asyncio.sleep, 10.0))
        late = await shedder.outcome(asyncio.sleep, 10.0)
        assert "did not come in time" in str(late.error)
        assert late.elapsed == pytest.approx(5.0)
        await asyncio.gather(*tasks)

    clock.run(main())
    assert idle(shedder)


def test_failures_teach_nothing_about_how_long_work_takes(clock):
    shedder = learned(10.0)
    for _ in range(50):
        shedder.call_outcome(lambda: 1 / 0)
    assert shedder.snapshot()["service_seconds"] == 10.0


def test_the_learned_limit_shrinks_when_calls_time_out_and_not_when_they_fail(clock):
    timing_out, failing = LoadShedder(initial=20), LoadShedder(initial=20)

    def time_out():
        ambient.sleep(0.1)
        raise TimeoutError

    for _ in range(200):
        timing_out.call_outcome(time_out)
        failing.call_outcome(lambda: 1 / 0)
    assert timing_out.limit < 10
    assert failing.limit == 20


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("ticks", range(5))
def test_a_cancellation_at_any_moment_leaves_no_trace(clock, moment, ticks):
    shedder = LoadShedder(1, max_queue=4)

    async def main():
        tasks = [asyncio.create_task(shedder.execute(asyncio.sleep, 1.0)) for _ in range(4)]
        await asyncio.sleep(moment)
        for _ in range(ticks):
            await asyncio.sleep(0)
        for task in tasks[:3]:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
        assert ends[3] is None
        assert idle(shedder)

    clock.run(main())


def test_a_timeout_inside_is_not_started_by_the_wait(clock):
    pipeline = Pipeline(LoadShedder(1), Timeout(1.5))

    async def main():
        outcomes = await asyncio.gather(*(pipeline.outcome(asyncio.sleep, 1.0) for _ in range(3)))
        assert all(outcome.ok for outcome in outcomes)

    clock.run(main())


def test_a_timeout_around_it_ends_the_wait_as_a_wait(clock):
    shedder = LoadShedder(1)

    async def main():
        tasks = await started(shedder.outcome(asyncio.sleep, 10.0))
        outcome = await Pipeline(Timeout(3.0), shedder).outcome(asyncio.sleep, 1.0)
        assert isinstance(outcome.error, QueueTimeoutError)
        assert shedder.waiting == 0
        await asyncio.gather(*tasks)

    clock.run(main())
    assert idle(shedder)


def test_eight_threads_keep_to_the_limit_and_all_are_served():
    shedder, inside, most = LoadShedder(3, max_queue=100), [], []
    done = []

    def work():
        inside.append(None)
        most.append(len(inside))
        time.sleep(0)  # let another thread in
        inside.pop()

    def run():
        done.append(sum(shedder.call_outcome(work).ok for _ in range(200)))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 1_600
    assert max(most) <= 3
    assert idle(shedder)


def test_two_loops_in_two_threads_share_the_limit():
    shedder, inside, most, done = LoadShedder(2, max_queue=100), [], [], []

    async def work():
        inside.append(None)
        most.append(len(inside))
        await asyncio.sleep(0)
        inside.pop()

    def run():
        async def main():
            outcomes = await asyncio.gather(*(shedder.outcome(work) for _ in range(40)))
            done.append(sum(outcome.ok for outcome in outcomes))

        asyncio.run(main())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [40, 40]
    assert max(most) <= 2
    assert idle(shedder)


def test_a_place_granted_to_a_loop_that_is_closed_goes_to_the_next(clock):
    shedder = LoadShedder(1, max_queue=5)
    loop = asyncio.new_event_loop()

    context = contextvars.copy_context()

    async def begin():
        task = asyncio.create_task(shedder.execute(asyncio.sleep, 0.0), context=context)
        for _ in range(3):
            await asyncio.sleep(0)
        return task

    hold = threading.Event()
    entered = threading.Event()

    def busy():
        entered.set()
        hold.wait(10.0)

    thread = threading.Thread(target=lambda: shedder.call(busy))
    thread.start()
    entered.wait(10.0)
    task = loop.run_until_complete(begin())
    assert shedder.waiting == 1
    loop.close()
    hold.set()
    thread.join()
    assert idle(shedder)
    # The abandoned coroutine is thrown out at last, and gives nothing back twice.
    task._log_destroy_pending = False
    context.run(task.get_coro().close)
    assert idle(shedder)
    assert shedder.call(lambda: "ok") == "ok"


def test_a_priority_that_is_none_fails_the_call_and_takes_no_place(clock):
    shedder = LoadShedder(1, priority=lambda: "high")
    outcome = shedder.call_outcome(lambda: None)
    assert isinstance(outcome.error, BadInputError)
    assert idle(shedder)
    with pytest.raises(BadInputError, match="priority must be a whole number"):
        with LoadShedder.priority(1.5):
            pass


def test_a_condition_that_raises_keeps_no_place(clock):
    shedder = LoadShedder(1, dropped=lambda error: error.status == 503)
    with pytest.raises(AttributeError):
        shedder.call(lambda: 1 / 0)
    assert idle(shedder)


def test_work_that_is_hopeless_with_nobody_in_the_way_is_not_told_to_come_back(clock):
    shedder = learned(10.0)
    with Deadline.after(5.0), pytest.raises(LoadShedError) as refused:
        shedder.call(ambient.sleep, 10.0)
    assert refused.value.retry_after is None


def test_a_call_cut_short_of_its_usual_time_does_not_shrink_the_limit(clock):
    shedder = LoadShedder(initial=20)

    async def main():
        for _ in range(20):
            await shedder.execute(asyncio.sleep, 1.0)
        for _ in range(100):
            # Nobody can foresee it, because it sets no deadline.
            outcome = await Pipeline(Timeout(idle=0.1), shedder).outcome(asyncio.sleep, 1.0)
            assert outcome.attempts == 1
            assert not outcome.ok
        assert shedder.limit == 20
        assert shedder.snapshot()["service_seconds"] == pytest.approx(1.0)

    clock.run(main())
    assert idle(shedder)


def test_a_refusal_is_an_event_and_is_counted(clock):
    shedder, heard = learned(10.0, name="gpu"), []
    with listen(heard.append), Deadline.after(5.0):
        shedder.call_outcome(ambient.sleep, 10.0)
    assert [type(event) for event in heard if isinstance(event, Rejected)] == [Rejected]
    assert shedder.snapshot()["shed"] == 1


def test_it_tells_what_it_does(clock):
    shedder = LoadShedder(2, max_queue=3, max_wait=4.0)
    assert shedder.describe() == (
        "LoadShedder 'load_shedder': 2 at once, 3 may wait for at most 4 s, by priority"
    )
    assert "as many at once as it learns, twice as many may wait" in LoadShedder().describe()
    assert "worst case: 5 s" in Pipeline(shedder, Timeout(1)).explain()
    assert shedder.snapshot()["limit"] == 2
    assert "limit=2" in repr(shedder)


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("limit", {"limit": 0}),
        ("limit", {"limit": True}),
        ("initial", {"initial": 1}),
        ("minimum", {"minimum": 0}),
        ("maximum", {"minimum": 10, "maximum": 9}),
        ("initial", {"limit": 3, "initial": 9}),
        ("minimum", {"limit": 3, "minimum": 5}),
        ("maximum", {"limit": 3, "maximum": 5}),
        ("max_queue", {"max_queue": -1}),
        ("max_wait", {"max_wait": nan}),
        ("priority", {"priority": 1.5}),
        ("dropped", {"dropped": 503}),
        ("name", {"name": ""}),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(field, settings):
    with pytest.raises(BadInputError, match=f"^{field} "):
        LoadShedder(**settings)


@pytest.mark.parametrize(("load", "critical"), [(1.0, 0.99), (2.0, 0.99), (5.0, 0.99)])
def test_in_overload_nearly_all_that_can_be_done_is_done_and_the_critical_first(load, critical):
    score = overload.measure("LoadShedder", load, seconds=5.0)
    assert score.goodput >= 0.9
    assert score.critical >= critical


def test_after_a_burst_everything_is_as_before_within_two_seconds():
    after = overload.recover("LoadShedder").burst[22:25]
    assert min(after) >= 0.95


def test_the_least_that_makes_sense_is_allowed():
    assert LoadShedder(initial=1, minimum=1, maximum=1).limit == 1
    assert LoadShedder(1, max_queue=0, max_wait=0).max_wait == 0


def test_a_call_cut_beyond_its_usual_time_teaches_that_work_takes_longer(clock):
    shedder = learned(10.0)

    async def main():
        outcome = await Pipeline(Timeout(idle=60.0), shedder).outcome(asyncio.sleep, 90.0)
        assert not outcome.ok

    clock.run(main())
    assert shedder.snapshot()["service_seconds"] == pytest.approx(20.0)


def test_the_worst_case_of_a_queue_without_a_limit_has_no_end():
    assert LoadShedder(1, max_queue=0).bound(Bound(2.0)).seconds == 2.0
    assert LoadShedder(1, max_queue=1).bound(Bound(2.0)).seconds == inf


def test_the_priority_of_a_block_ends_with_it_and_without_one_work_is_normal(clock):
    shedder, ran = LoadShedder(1, max_queue=3), []

    async def main():
        first = await started(shedder.execute(asyncio.sleep, 1.0))
        with LoadShedder.priority(6):
            minor = await started(shedder.execute(lambda: ran.append("minor")))
        unranked = await started(shedder.execute(lambda: ran.append("unranked")))
        with LoadShedder.priority(5):
            ranked = await started(shedder.execute(lambda: ran.append("ranked")))
        await asyncio.gather(*first, *minor, *unranked, *ranked)

    clock.run(main())
    assert ran == ["unranked", "ranked", "minor"]


def test_the_learned_limit_begins_at_ten():
    assert LoadShedder().limit == 10
