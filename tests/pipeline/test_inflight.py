"""Closing in good order: who is on the way is waited for, cancelled and counted."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.errors import BadInputError, RejectedError
from holdfast.events import listen
from holdfast.pipeline import Pipeline
from holdfast.pipeline.inflight import Closed, Inflight
from holdfast.policies.breaker import CircuitBreaker
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.retry import Retry
from holdfast.policies.timeout import Timeout
from holdfast.ports import ambient
from holdfast.testing import FakeClock

KINDS = {
    "hot": lambda: Pipeline(Retry()),
    "limited": lambda: Pipeline(Timeout(600.0), Retry()),
    "bulkhead": lambda: Pipeline(Retry(), Bulkhead(9, max_queue=9)),
    "flows": lambda: Pipeline(
        CircuitBreaker(failure_threshold=999, failure_on_result=lambda _: False)
    ),
}


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), True, "5", None])
def test_a_limit_that_makes_no_sense_is_refused(limit):
    with pytest.raises(BadInputError, match="limit must be at least 0"):
        Pipeline(Retry()).close(limit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told", [False, True])
def test_a_sync_call_is_known_while_it_runs(kind, told):
    pipeline = KINDS[kind]()
    if told:
        with listen(lambda _: None):
            assert pipeline.call(lambda: pipeline.in_flight) == 1
    else:
        assert pipeline.call(lambda: pipeline.in_flight) == 1
    assert pipeline.in_flight == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_async_call_is_known_while_it_runs(clock, kind):
    pipeline = KINDS[kind]()
    assert clock.run(pipeline.execute(lambda: pipeline.in_flight)) == 1
    assert pipeline.in_flight == 0


def test_a_call_that_waits_in_a_queue_is_known_too(clock):
    pipeline = Pipeline(Bulkhead(1, max_queue=1))

    async def main() -> int:
        tasks = [asyncio.create_task(pipeline.execute(asyncio.sleep, 1.0)) for _ in range(2)]
        await asyncio.sleep(0.5)
        known = pipeline.in_flight
        await asyncio.gather(*tasks)
        return known

    assert clock.run(main()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_pipeline_lets_no_more_calls_in(clock, kind):
    pipeline = KINDS[kind]()
    assert pipeline.close() == Closed(0, 0, 0)
    for attempt in (
        lambda: pipeline.call(lambda: 1),
        lambda: pipeline(lambda: 1)(),  # noqa: PLW0108  # a lambda is what is tested
        lambda: clock.run(pipeline.execute(lambda: 1)),
        lambda: pipeline.call_outcome(lambda: 1).unwrap(),
        lambda: clock.run(pipeline.outcome(lambda: 1)).unwrap(),
    ):
        with pytest.raises(RejectedError, match="'pipeline' is closed"):
            attempt()


@pytest.mark.parametrize("kind", KINDS)
def test_calls_on_their_way_are_waited_for(clock, kind):
    pipeline = KINDS[kind]()

    async def main() -> tuple[Closed, list[str]]:
        tasks = [asyncio.create_task(pipeline.execute(asyncio.sleep, 5.0, "done")) for _ in "abc"]
        await asyncio.sleep(0)
        closed = await pipeline.aclose(limit=10.0)
        return closed, await asyncio.gather(*tasks)

    assert clock.run(main()) == (Closed(3, 0, 0), ["done"] * 3)
    assert clock.now() == pytest.approx(1_005.0, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_take_too_long_are_cancelled_and_counted(clock, kind):
    pipeline = KINDS[kind]()

    async def main() -> tuple[Closed, list[object]]:
        lengths = [5.0, 60.0, 60.0]
        tasks = [asyncio.create_task(pipeline.execute(asyncio.sleep, s, "done")) for s in lengths]
        await asyncio.sleep(0)
        closed = await pipeline.aclose(limit=10.0)
        return closed, await asyncio.gather(*tasks, return_exceptions=True)

    closed, results = clock.run(main())
    assert closed == Closed(1, 2, 0)
    assert [type(result) for result in results] == [str, *[asyncio.CancelledError] * 2]
    assert pipeline.in_flight == 0


def test_a_pipeline_closed_from_inside_one_of_its_calls_does_not_cancel_that_call(clock):
    pipeline = Pipeline(Retry())

    async def main() -> Closed:
        return await pipeline.execute(lambda: pipeline.aclose(limit=1.0))

    assert clock.run(main()) == Closed(0, 0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_sync_calls_that_run_on_are_counted(kind):
    pipeline = KINDS[kind]()
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(10.0)

    thread = threading.Thread(target=pipeline.call, args=(work,))
    thread.start()
    try:
        assert started.wait(10.0)
        assert pipeline.close(limit=0.0) == Closed(0, 0, 1)
    finally:
        release.set()
        thread.join(10.0)
    assert pipeline.in_flight == 0


def test_closing_waits_for_calls_in_threads():
    pipeline = Pipeline(Retry())
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(10.0)

    thread = threading.Thread(target=pipeline.call, args=(work,))
    with FakeClock() as clock:
        thread.start()
        assert started.wait(10.0)

        def sleep(seconds: float) -> None:
            release.set()
            thread.join(10.0)
            clock.advance(seconds)

        ambient.sleep = sleep
        assert pipeline.close(limit=5.0) == Closed(1, 0, 0)


def test_closing_twice_does_no_harm():
    pipeline = Pipeline(Retry())
    assert pipeline.close() == pipeline.close() == Closed(0, 0, 0)


class Model(RuleBasedStateMachine):
    """Calls that begin, end, fail and are cancelled in several loops; the count is always right."""

    @initialize(kind=st.sampled_from(sorted(KINDS)), loops=st.integers(1, 3))
    def begin(self, kind: str, loops: int) -> None:
        self.clock = FakeClock()
        self.clock.__enter__()
        self.pipeline = KINDS[kind]()
        self.loops = [self.clock.new_loop() for _ in range(loops)]
        self.calls: list[tuple[asyncio.AbstractEventLoop, asyncio.Task, asyncio.Event]] = []
        self.sync = 0

    @staticmethod
    def turn(loop: asyncio.AbstractEventLoop) -> None:
        async def settle() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        loop.run_until_complete(settle())

    @precondition(lambda self: len(self.calls) < 9)
    @rule(which=st.integers(0, 9), fails=st.booleans())
    def start(self, which: int, fails) -> None:
        loop, end = self.loops[which % len(self.loops)], asyncio.Event()

        async def work() -> None:
            await end.wait()
            if fails:
                raise KeyError

        task = loop.create_task(self.pipeline.execute(work))
        self.calls.append((loop, task, end))
        self.turn(loop)

    @precondition(lambda self: self.calls)
    @rule(which=st.integers(0, 99), cancelled=st.booleans())
    def end(self, which: int, cancelled) -> None:
        loop, task, end = self.calls.pop(which % len(self.calls))
        task.cancel() if cancelled else end.set()
        self.turn(loop)
        assert task.done()
        if not task.cancelled():
            task.exception()

    @precondition(lambda self: len(self.calls) < 8)
    @rule(fails=st.booleans())
    def call_in_this_thread(self, fails) -> None:
        seen = []

        def work() -> None:
            seen.append(self.pipeline.in_flight)
            if fails:
                raise KeyError

        try:
            self.pipeline.call(work)
        except KeyError:
            assert fails
        # Of the others, those run by flows are known without their loops running.
        assert seen == [1 + self.listed()]

    def listed(self) -> int:
        return len(self.pipeline._inflight.entries)

    def known(self) -> int:
        """All calls: those on the hot path are seen while their loop runs."""

        async def look() -> int:
            return self.pipeline.in_flight - self.listed()

        return sum(loop.run_until_complete(look()) for loop in self.loops) + self.listed()

    @invariant()
    def the_count_is_right(self) -> None:
        if hasattr(self, "pipeline"):
            assert self.known() == len(self.calls)

    def teardown(self) -> None:
        if not hasattr(self, "pipeline"):
            return
        try:
            self.close_all()
        finally:
            self.clock.__exit__(None, None, None)

    def close_all(self) -> None:
        cancelled = 0
        for loop in self.loops:
            closed = loop.run_until_complete(self.pipeline.aclose(0.0))
            assert (closed.finished, closed.left) == (0, 0)
            cancelled += closed.cancelled
        for loop in self.loops:
            self.turn(loop)
        assert cancelled >= len(self.calls)
        for loop in self.loops:
            loop.close()
        assert all(task.cancelled() for _, task, _ in self.calls)
        assert self.pipeline.in_flight == 0


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


def test_loops_of_many_threads_get_their_queues_at_once():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            inflight = Inflight()

            def ask(inflight=inflight):
                loops = [asyncio.new_event_loop() for _ in range(30)]
                queues = [inflight.queue(loop) for loop in loops]
                for loop in loops:
                    loop.close()
                return len(set(map(id, queues)))

            with ThreadPoolExecutor(8) as pool:
                assert [one.result() for one in [pool.submit(ask) for _ in range(8)]] == [30] * 8
    finally:
        sys.setswitchinterval(before)
