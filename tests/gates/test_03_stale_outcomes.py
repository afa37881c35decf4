"""Gate 3: what began in an earlier era of a breaker changes nothing, and that is told."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import CircuitBreaker, Pipeline, Timeout
from holdfast.events import OutcomeDiscarded, listen
from holdfast.machines.circuit import CircuitState


def bare(breaker):
    return Pipeline(breaker)


def stack(breaker):
    return Pipeline(Timeout(3000), breaker, Timeout(1000))


wraps = pytest.mark.parametrize("wrap", [bare, stack])
ends = pytest.mark.parametrize("failed", [False, True])


def a_breaker():
    return CircuitBreaker("api", failure_threshold=1, success_threshold=1, timeout=60.0)


async def fail():
    raise ConnectionError("down")


class Slow:
    """A call begun now that ends when told."""

    def __init__(self, pipeline):
        self.end = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(pipeline.execute(self.wait))

    async def wait(self):
        return await self.end

    async def finish(self, failed):
        if failed:
            self.end.set_exception(ConnectionError("late"))
        else:
            self.end.set_result("late")
        await asyncio.wait([self.task])
        assert (self.task.exception() is not None) is failed


async def begun(pipeline):
    slow = Slow(pipeline)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return slow


def told(events):
    return [(e.policy, e.era, e.failed) for e in events if isinstance(e, OutcomeDiscarded)]


@wraps
@ends
def test_an_outcome_from_before_the_opening_changes_nothing(clock, wrap, failed):
    """The slow call begins on the hot path: nobody listens yet."""
    breaker, events = a_breaker(), []

    async def main():
        era = breaker.circuit.era
        slow = await begun(wrap(breaker))
        with listen(events.append):
            breaker.trip()
            before = breaker.snapshot()
            await slow.finish(failed)
            assert breaker.snapshot() == before
        assert told(events) == [("api", era, failed)]

    clock.run(main())

    assert breaker.state is CircuitState.OPEN


@ends
def test_an_outcome_from_before_the_opening_does_not_decide_the_half_open_round(
    clock, heard, failed
):
    breaker = a_breaker()

    async def main():
        slow = await begun(breaker)
        breaker.trip()
        clock.advance(67)
        assert breaker.state is CircuitState.HALF_OPEN
        await slow.finish(failed)

    clock.run(main())

    assert breaker.state is CircuitState.HALF_OPEN
    assert len(told(heard)) == 1
    assert breaker.can_execute(), "the late one must not hold the probe's place"


def test_a_failure_from_before_the_opening_does_not_count_after_the_recovery(clock, path):
    breaker = a_breaker()

    async def main():
        slow = await begun(breaker)
        breaker.trip()
        clock.advance(67)
        await breaker.execute(asyncio.sleep, 0)
        assert breaker.state is CircuitState.CLOSED
        await slow.finish(failed=True)

    clock.run(main())

    assert breaker.state is CircuitState.CLOSED


def test_a_success_of_an_earlier_closed_era_does_not_wipe_out_failures(clock, path):
    breaker = CircuitBreaker("api", failure_threshold=2, success_threshold=1)

    async def main():
        slow = await begun(breaker)
        breaker.trip()
        clock.advance(67)
        await breaker.execute(asyncio.sleep, 0)
        breaker.record_failure()
        await slow.finish(failed=False)
        breaker.record_failure()

    clock.run(main())

    assert breaker.state is CircuitState.OPEN


@ends
def test_a_probe_of_an_earlier_half_open_round_decides_nothing_in_the_next(clock, heard, failed):
    breaker = CircuitBreaker("api", half_open_max_calls=2, success_threshold=1, timeout=60.0)
    breaker.trip()
    clock.advance(67)

    async def main():
        slow = await begun(breaker)
        with pytest.raises(ConnectionError):
            await breaker.execute(fail)
        clock.advance(200)
        assert breaker.state is CircuitState.HALF_OPEN
        await slow.finish(failed)

    clock.run(main())

    assert breaker.state is CircuitState.HALF_OPEN
    assert len(told(heard)) == 1


def test_a_late_failure_while_others_fail_opens_it_once_only(clock, heard):
    breaker = a_breaker()

    async def main():
        slow = [await begun(breaker) for _ in range(5)]
        for each in slow:
            await each.finish(failed=True)

    clock.run(main())

    assert breaker.snapshot()["openings"] == 1
    assert len(told(heard)) == 4


def test_a_sync_call_that_was_overtaken_changes_nothing(clock, path):
    breaker = a_breaker()

    def overtaken():
        breaker.trip()
        return "late"

    assert breaker.call(overtaken) == "late"
    assert breaker.state is CircuitState.OPEN


def test_a_stale_outcome_of_a_sync_call_is_told(clock, heard):
    breaker = a_breaker()
    era = breaker.circuit.era

    breaker.call(breaker.trip)

    assert told(heard) == [("api", era, False)]


def test_a_cancelled_stale_call_changes_nothing(clock, path):
    breaker = a_breaker()

    async def main():
        slow = await begun(breaker)
        breaker.trip()
        clock.advance(67)
        slow.task.cancel()
        await asyncio.wait([slow.task])

    clock.run(main())

    assert breaker.state is CircuitState.HALF_OPEN
    assert [breaker.can_execute(), breaker.can_execute()] == [True, False]


def test_a_success_recorded_by_hand_after_the_opening_does_not_close_it(clock):
    breaker = a_breaker()
    assert breaker.can_execute()
    breaker.trip()

    breaker.record_success()

    assert breaker.state is CircuitState.OPEN
