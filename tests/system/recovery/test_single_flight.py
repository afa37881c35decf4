"""Twenty failures at once have one run, whatever task, thread or loop they are in."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from holdfast.errors import ErrorCategory
from holdfast.pipeline.workers import abandoned
from holdfast.system.recovery import Ending, RecoveryContext, RecoveryProcedure, RecoverySettings
from holdfast.testing import FakeClock
from tests.gates.cancelling import CutShort
from tests.system.recovery.conftest import AsyncScripted, Scripted, eventually, eventually_async

NETWORK = ErrorCategory.NETWORK


def procedure_of(*strategies, **settings):
    procedure = RecoveryProcedure(RecoverySettings(**settings))
    for strategy in strategies:
        procedure.register(NETWORK, strategy)
    return procedure


def slow(seconds=1.0):
    async def apply(context):
        await asyncio.sleep(seconds)
        context.note("reconnected")

    return apply


def last(result):
    return result.tried[-1].ending


def counts(procedure):
    snapshot = procedure.snapshot()
    return snapshot["running"], snapshot["waiting"]


@pytest.mark.parametrize("verified", [True, False])
def test_twenty_tasks_have_one_run_and_share_how_it_ends(make_error, clock, verified):
    strategy = AsyncScripted(apply=slow(), verify=verified)
    procedure = procedure_of(strategy)

    async def main():
        return await asyncio.gather(*(procedure.recover(make_error()) for _ in range(20)))

    results = clock.run(main())
    assert strategy.runs == 1
    assert [r.success for r in results] == [verified] * 20
    rates = procedure.rates()["scripted"]
    assert (rates["runs"], rates["shared"] + rates["shared_failure"]) == (1, 19)
    if verified:
        assert sorted(r.shared for r in results) == [False] + [True] * 19
        assert {r.notes for r in results} == {("reconnected",)}
    assert counts(procedure) == (0, 0)


def test_twenty_threads_have_one_run(make_error):
    go_on = threading.Event()
    strategy = Scripted(apply=lambda context: go_on.wait(10))
    procedure = procedure_of(strategy)
    results = []

    def fail():
        results.append(procedure.recover_sync(make_error()))

    threads = [threading.Thread(target=fail) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: counts(procedure) == (1, 19))
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert strategy.runs == 1
    assert [r.success for r in results] == [True] * 20
    assert sum(r.shared for r in results) == 19
    assert counts(procedure) == (0, 0)


def test_threads_and_two_event_loops_share_one_run(make_error):
    go_on = threading.Event()
    strategy = Scripted(apply=lambda context: go_on.wait(10))
    procedure = procedure_of(strategy)
    results = []

    def thread():
        results.append(procedure.recover_sync(make_error()))

    def loop():
        async def main():
            return await asyncio.gather(*(procedure.recover(make_error()) for _ in range(3)))

        results.extend(asyncio.run(main()))

    threads = [threading.Thread(target=t) for t in (thread, loop, thread, loop)]
    for one in threads:
        one.start()
    eventually(lambda: counts(procedure) == (1, 7))
    go_on.set()
    for one in threads:
        one.join(10)
    assert strategy.runs == 1
    assert [r.success for r in results] == [True] * 8


def test_another_dependency_or_category_is_another_run(make_error, clock):
    strategy = AsyncScripted(apply=slow())
    procedure = RecoveryProcedure()
    procedure.register(None, strategy)

    async def main():
        await asyncio.gather(
            procedure.recover(make_error()),
            procedure.recover(make_error(dependency="other")),
            procedure.recover(make_error(category=ErrorCategory.MODEL)),
        )

    clock.run(main())
    assert strategy.runs == 3


def test_a_strategy_for_one_call_runs_for_each(make_error, clock):
    strategy = AsyncScripted(apply=slow(), shared=False, cooldown=0)
    procedure = procedure_of(strategy)

    async def main():
        return await asyncio.gather(*(procedure.recover(make_error()) for _ in range(5)))

    results = clock.run(main())
    assert strategy.runs == 5
    assert not any(r.shared for r in results)


# -- the pause after a run -----------------------------------------------------------------


@pytest.mark.parametrize("verified", [True, False])
def test_after_a_run_it_rests(make_error, recover, kind, clock, verified):
    strategy, second = kind("a", cooldown=10, verify=verified), kind("b", cooldown=0)
    procedure = procedure_of(strategy, second)
    recover(procedure, make_error())
    clock.advance(9.9)
    result = recover(procedure, make_error())
    assert (result.tried[0].ending, result.strategy) == (Ending.COOLING, "b")
    ended = "succeeded" if verified else "failed"
    assert result.tried[0].reason == f"a run {ended} 9.9 s ago; again in 0.1 s"
    clock.advance(0.2)
    recover(procedure, make_error())
    assert strategy.runs == 2


def test_a_failure_that_began_before_the_success_shares_it(make_error, recover, kind, clock):
    strategy = kind(cooldown=10)
    procedure = procedure_of(strategy)
    early = clock.now()
    clock.advance(5)
    assert recover(procedure, make_error()).success
    clock.advance(5)
    result = recover(procedure, make_error(), RecoveryContext("db", began=early))
    assert (result.success, result.shared, strategy.runs) == (True, True, 1)
    result = recover(procedure, make_error(), RecoveryContext("db"))
    assert (result.success, last(result)) == (False, Ending.COOLING)
    clock.advance(5)
    assert recover(procedure, make_error(), RecoveryContext("db", began=early)).success
    assert strategy.runs == 2, "after the pause, it is run again even for an old failure"


def test_a_failure_of_the_same_instant_shares_only_if_it_was_there_before(
    make_error, recover, kind
):
    """The clock stands still: what came first is told by order."""
    strategy = kind(cooldown=10)
    procedure = procedure_of(strategy)
    before = RecoveryContext("db")
    assert recover(procedure, make_error()).success
    assert recover(procedure, make_error(), before).shared
    assert last(recover(procedure, make_error())) is Ending.COOLING


def test_an_old_failure_does_not_share_a_failed_run(make_error, recover, kind, clock):
    strategy = kind(cooldown=10, verify=False)
    procedure = procedure_of(strategy)
    before = RecoveryContext("db")
    recover(procedure, make_error())
    result = recover(procedure, make_error(), before)
    assert (result.success, last(result), strategy.runs) == (False, Ending.COOLING, 1)


def test_a_strategy_for_one_call_may_rest_too_and_shares_nothing(make_error, recover, kind):
    strategy = kind(cooldown=10, shared=False)
    procedure = procedure_of(strategy)
    before = RecoveryContext("db")
    assert recover(procedure, make_error()).success
    assert last(recover(procedure, make_error(), before)) is Ending.COOLING


def test_a_failure_from_within_a_run_does_not_wait_for_itself(make_error, clock):
    procedure = RecoveryProcedure()
    inner = []

    async def apply(context):
        inner.append(await procedure.recover(make_error()))

    strategy = AsyncScripted(apply=apply)
    procedure.register(NETWORK, strategy)
    result = clock.run(procedure.recover(make_error()))
    assert (result.success, strategy.runs) == (True, 1)
    assert last(inner[0]) is Ending.BUSY


def test_a_million_dependencies_do_not_exhaust_memory(make_error, recover, scripted):
    procedure = procedure_of(scripted(), max_keys=5)
    for number in range(12):
        recover(procedure, make_error(dependency=f"d{number}"))
    snapshot = procedure.snapshot()
    assert (snapshot["keys"], snapshot["forgotten"]) == (5, 7)


# -- cancellation --------------------------------------------------------------------------


def test_a_cancelled_leader_hands_over_to_one_who_waits(make_error, clock):
    strategy = AsyncScripted(apply=slow())
    procedure = procedure_of(strategy)

    async def main():
        tasks = [asyncio.create_task(procedure.recover(make_error())) for _ in range(4)]
        await asyncio.sleep(0.5)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = clock.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert [r.success for r in others] == [True] * 3
    assert strategy.runs == 2
    rates = procedure.rates()["scripted"]
    assert (rates["runs"], rates["interrupted"], rates["shared"]) == (1, 1, 2)
    assert counts(procedure) == (0, 0)


def test_a_waiter_that_is_cancelled_leaves_the_leader_alone(make_error, clock):
    strategy = AsyncScripted(apply=slow())
    procedure = procedure_of(strategy)

    async def main():
        tasks = [asyncio.create_task(procedure.recover(make_error())) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = clock.run(main())
    assert (first.success, third.success, strategy.runs) == (True, True, 1)
    assert isinstance(second, asyncio.CancelledError)
    assert counts(procedure) == (0, 0)


def test_a_leader_cancelled_over_blocking_work_ends_the_run_for_all(make_error):
    """The thread goes on, so nobody else may begin a second run beside it."""
    go_on = threading.Event()
    strategy = Scripted(apply=lambda context: go_on.wait(10), cooldown=0)
    procedure = procedure_of(strategy)

    async def main():
        tasks = [asyncio.create_task(procedure.recover(make_error())) for _ in range(3)]
        await eventually_async(lambda: counts(procedure) == (1, 2))
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [*results, await procedure.recover(make_error())]

    cancelled, *waited, after = asyncio.run(main())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [r.success for r in waited] == [False, False]
    assert "its work goes on in a thread" in waited[0].reason
    assert last(after) is Ending.BUSY
    go_on.set()
    eventually(lambda: not abandoned.count)
    assert procedure.recover_sync(make_error()).success
    assert strategy.runs == 2


def test_a_leader_short_of_time_hands_over(make_error, clock):
    strategy = AsyncScripted(apply=slow(5), timeout=20)
    procedure = procedure_of(strategy)

    async def main():
        hasty = RecoveryContext("db", deadline=2)
        return await asyncio.gather(
            procedure.recover(make_error(), hasty), procedure.recover(make_error())
        )

    hasty, patient = clock.run(main())
    assert (hasty.success, last(hasty)) == (False, Ending.OUT_OF_TIME)
    assert (patient.success, patient.shared) == (True, False)


def test_a_leader_short_of_time_with_nobody_waiting_leaves_a_pause(make_error, clock):
    strategy = AsyncScripted(apply=slow(5), timeout=20, cooldown=10)
    procedure = procedure_of(strategy)
    clock.run(procedure.recover(make_error(), RecoveryContext("db", deadline=2)))
    assert counts(procedure) == (0, 0)
    assert last(clock.run(procedure.recover(make_error()))) is Ending.COOLING


def test_a_waiter_short_of_time_leaves(make_error, clock):
    strategy = AsyncScripted(apply=slow(5), timeout=20)
    procedure = procedure_of(strategy)

    async def main():
        hasty = RecoveryContext("db", deadline=2)
        return await asyncio.gather(
            procedure.recover(make_error()), procedure.recover(make_error(), hasty)
        )

    patient, hasty = clock.run(main())
    assert patient.success
    assert (hasty.success, last(hasty)) == (False, Ending.OUT_OF_TIME)
    assert counts(procedure) == (0, 0)


def test_a_leader_whose_loop_died_is_replaced(make_error, clock):
    """Its loop is stopped and thrown away in the middle of a run; nobody cancels its task."""
    strategy = AsyncScripted(apply=slow(1), timeout=3, cooldown=0)
    procedure = procedure_of(strategy)
    loop = clock.new_loop()
    vanished = loop.create_task(procedure.recover(make_error()))
    loop.call_later(0.5, loop.stop)
    loop.run_forever()
    assert counts(procedure) == (1, 0)
    result = clock.run(procedure.recover(make_error()))
    assert (result.success, last(result)) == (False, Ending.LATE)
    result = clock.run(procedure.recover(make_error()))
    assert (result.success, result.shared) == (True, False)
    vanished.cancel()
    loop.run_until_complete(asyncio.wait([vanished]))
    loop.close()
    assert counts(procedure) == (0, 0)


def test_waiters_in_a_closed_loop_do_not_take_the_lead_to_the_grave(make_error, clock):
    strategy = AsyncScripted(apply=slow(5), timeout=60)
    procedure = procedure_of(strategy)
    grave = clock.new_loop()

    async def lead():
        leader = asyncio.create_task(procedure.recover(make_error()))
        await asyncio.sleep(1)
        dead = threading.Thread(target=die)
        dead.start()
        await eventually_async(lambda: counts(procedure) == (1, 1))
        dead.join()
        alive = asyncio.create_task(procedure.recover(make_error()))
        await asyncio.sleep(0.1)
        leader.cancel()
        return await alive

    kept = []

    def die():
        kept.append(grave.create_task(procedure.recover(make_error())))
        grave.call_soon(grave.stop)
        grave.run_forever()
        grave.run_until_complete(asyncio.sleep(0))
        kept[0]._log_destroy_pending = False
        grave.close()

    result = clock.run(lead())
    assert (result.success, strategy.runs) == (True, 2)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("role", ["alone", "leader", "follower"])
@pytest.mark.parametrize("make_kind", [AsyncScripted, Scripted])
def test_cancelled_at_every_await_it_leaves_nothing_behind(make_error, role, turns, make_kind):
    """Whoever is cancelled, whenever: the others come to an end, and the key is free again."""

    async def look(context):
        await asyncio.sleep(0)
        await asyncio.sleep(1)
        return True

    script = {"apply": slow(1), "verify": look} if make_kind is AsyncScripted else {}

    async def scenario(suspension):
        strategy = make_kind(cooldown=0, **script)
        procedure = procedure_of(strategy)
        others = []

        def another():
            others.append(asyncio.create_task(procedure.recover(make_error())))

        cutting = CutShort(procedure.recover(make_error()), suspension, turns)

        async def run():
            return await cutting

        if role == "follower":
            another()
            await asyncio.sleep(0)
        task = asyncio.create_task(run())
        if role == "leader":
            await asyncio.sleep(0)
            another()
            another()
        await asyncio.wait([task, *others])
        assert task.cancelled() is cutting.cut
        assert task.cancelling() == cutting.cut
        # Only blocking work that went on without its leader may end it for the others.
        assert all(other.result().success for other in others) or make_kind is Scripted
        await eventually_async(lambda: not abandoned.count)
        assert counts(procedure) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (await procedure.recover(make_error())).success
        return cutting.reached

    for suspension in range(50):
        with FakeClock() as clock:
            if not clock.run(scenario(suspension)):
                break
    else:
        raise AssertionError("endless")
    assert suspension >= (1 if role == "follower" else 2)


def test_a_failed_step_is_free_after_the_recovery(make_error, recover, kind):
    """What a strategy raised holds its frames; none of it may be kept."""
    import weakref

    class Heavy:
        pass

    kept = []

    def fail(context):
        heavy = Heavy()
        kept.append(weakref.ref(heavy))
        raise ValueError("x")

    procedure = procedure_of(kind(apply=fail))
    gc.disable()
    try:
        recover(procedure, make_error())
        assert kept[0]() is None
    finally:
        gc.enable()


def test_counters_are_right_under_eight_threads(make_error):
    strategy = Scripted(cooldown=0)
    procedure = procedure_of(strategy)
    successes = []

    def work():
        successes.extend(procedure.recover_sync(make_error()).success for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert successes == [True] * 200
    rates = procedure.rates()["scripted"]
    assert rates["runs"] == strategy.runs
    assert rates["runs"] + rates["shared"] == 200
    assert procedure.snapshot()["recoveries"] == 200
    assert counts(procedure) == (0, 0)
