"""The pool as a whole, on a clock that jumps: capacity, ejection, ramp, coming and going."""

from __future__ import annotations

import asyncio
import functools

import pytest

from holdfast.comfyui import FailureKind, events
from holdfast.comfyui.failures import Failure
from holdfast.comfyui.line import Line
from holdfast.comfyui.roster import status_of
from holdfast.comfyui.status import ServerState
from holdfast.errors import BadInputError
from holdfast.testing import FakeClock
from tests.comfyui.pool_of_fakes import EAGER, fakes, fleet_of, give_back, needing, take


def on_fake_time(test):
    """Run a coroutine test on a clock that jumps."""

    @functools.wraps(test)
    def run():
        with FakeClock() as clock:
            clock.run(test())

    return run


def state_of(fleet, name):
    place = next(each for each in fleet.places if each.name == name)
    return status_of(place, fleet.speeds, fleet.health)


async def fill(fleet, count):
    return [await take(fleet, f"filler {number}") for number in range(count)]


async def deliver(fleet, times, *, needs=None, failing=(), seconds=1.0):
    """Jobs one after the other; those on `failing` servers fail."""
    for number in range(times):
        key = f"delivery {number}"
        place = await take(fleet, key, needs)
        await asyncio.sleep(seconds)
        give_back(fleet, place, key, FailureKind.NODE_ERROR if place.name in failing else None)


@on_fake_time
async def test_no_server_has_more_jobs_of_ours_than_it_may_have():
    fleet = fleet_of(3)
    places = await fill(fleet, 3)
    assert {each.name for each in places} == set(fleet.names)
    more = asyncio.create_task(take(fleet, "more"))
    await asyncio.sleep(5)
    assert not more.done()
    give_back(fleet, places[1], "filler 1")
    assert (await more) is places[1]
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_server_may_have_several_once_it_has_delivered():
    fleet = fleet_of(1, capacity=3)
    first = await take(fleet, "first")
    waiting = [asyncio.create_task(take(fleet, f"next {number}")) for number in range(5)]
    await asyncio.sleep(1)
    assert first.room == 1
    assert len(first.leases) == 1
    give_back(fleet, first, "first")
    for number in range(5):
        await waiting[number]
        assert len(first.leases) <= first.room <= 3
        give_back(fleet, first, f"next {number}")
    assert first.room == 3
    assert first.leases == {}
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_job_goes_where_its_models_are():
    fleet = fleet_of(2)
    sd, xl = needing("sd"), needing("xl")
    one, two = await take(fleet, "a", sd), await take(fleet, "b", xl)
    await asyncio.sleep(30)
    give_back(fleet, one, "a")
    give_back(fleet, two, "b")
    for number, (needs, home) in enumerate([(xl, two), (sd, one), (sd, one), (xl, two)]):
        place = await take(fleet, str(number), needs)
        assert place is home
        await asyncio.sleep(5)
        give_back(fleet, place, str(number))
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_server_that_said_it_lacks_a_model_is_left_alone_by_jobs_that_need_it():
    fleet = fleet_of(2)
    needs = needing("rare")
    place = await take(fleet, "a", needs)
    refusal = Failure(FailureKind.REJECTED, "no rare here", place.name, elsewhere=True)
    fleet.report(place, refusal, "a")
    fleet.release(place, "a")
    others = {(await take(fleet, str(number), needs)).name for number in range(1)}
    assert place.name not in others
    waits = asyncio.create_task(take(fleet, "waits", needs))
    await asyncio.sleep(5)
    assert not waits.done()
    waits.cancel()
    assert (await take(fleet, "plain")) is place
    await fleet.close(seconds=1)


@on_fake_time
async def test_if_all_lack_it_they_are_asked_all_the_same():
    fleet = fleet_of(1)
    needs = needing("rare")
    place = await take(fleet, "a", needs)
    fleet.report(place, Failure(FailureKind.REJECTED, "no rare", elsewhere=True), "a")
    fleet.release(place, "a")
    assert (await take(fleet, "b", needs)) is place
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_server_whose_jobs_fail_where_others_deliver_is_ejected_and_comes_back_on_trial():
    heard: list[object] = []
    fleet = fleet_of(3, heard, ejection=EAGER)
    bad = "http://gpu1"
    await deliver(fleet, 15, failing={bad})
    (ejected,) = [each for each in heard if isinstance(each, events.ServerEjected)]
    assert ejected.server == bad
    assert "it broke" in ejected.reason
    status = state_of(fleet, bad)
    assert (status.state, status.reason) == (ServerState.EJECTED, ejected.reason)
    assert status.failed >= 3
    # While it is out nobody gets it.
    holds = [await take(fleet, f"holds {number}") for number in range(2)]
    assert bad not in {each.name for each in holds}
    waits = asyncio.create_task(take(fleet, "waits"))
    back = await waits
    assert back.name == bad
    assert isinstance(heard[-1], events.ServerUp)
    assert state_of(fleet, bad).state is ServerState.RAMPING
    # On trial, one more failure is enough, and it stays out for longer.
    give_back(fleet, back, "waits", FailureKind.NODE_ERROR)
    again = heard[-1]
    assert isinstance(again, events.ServerEjected)
    assert again.seconds == 2 * ejected.seconds
    late = await asyncio.create_task(take(fleet, "late"))
    give_back(fleet, late, "late")
    assert late.name == bad
    assert state_of(fleet, bad).state is ServerState.UP
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_workflow_that_fails_everywhere_ejects_nobody():
    heard: list[object] = []
    fleet = fleet_of(4, heard, ejection=EAGER)
    await deliver(fleet, 40, failing=set(fleet.names))
    assert not [each for each in heard if isinstance(each, events.ServerEjected)]
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_job_that_fails_twice_on_a_server_counts_against_it_once():
    fleet = fleet_of(2, ejection=EAGER)
    place = await take(fleet, "a")
    failure = Failure(FailureKind.NODE_ERROR, "it broke", place.name)
    fleet.report(place, failure, "a")
    fleet.report(place, failure, "a")
    assert place.record.outcomes == 1
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_pool_of_one_never_loses_it_for_its_results():
    heard: list[object] = []
    fleet = fleet_of(1, heard, ejection=EAGER)
    await deliver(fleet, 12, failing=set(fleet.names))
    assert not [each for each in heard if isinstance(each, events.ServerEjected)]
    await fleet.close(seconds=1)


@on_fake_time
async def test_an_ejected_server_gets_its_chance_early_when_the_others_die():
    fleet = fleet_of(2, ejection=EAGER)
    await deliver(fleet, 14, failing={"http://gpu0"})
    assert state_of(fleet, "http://gpu0").state is ServerState.EJECTED
    other = fleet.places[1]
    other.server.trouble = "dies"
    other.server.phases = [_ALWAYS]
    place = await take(fleet, "a")
    began = asyncio.get_running_loop().time()
    give_back(fleet, place, "a", FailureKind.SERVER_DIED)
    assert (await take(fleet, "b")).name == "http://gpu0"
    assert asyncio.get_running_loop().time() - began < EAGER.seconds / 2
    await fleet.close(seconds=1)


class _Always:
    begins, ends = 0.0, 1e9


_ALWAYS = _Always()


@on_fake_time
async def test_a_server_that_comes_back_is_no_spare_until_it_has_delivered():
    fleet = fleet_of(2)
    await deliver(fleet, 4)
    first, second = fleet.places
    assert fleet.spare(first, needing()) is second
    held = await take(fleet, "held", never=frozenset({first.name}))
    give_back(fleet, held, "held", FailureKind.SERVER_DIED)
    assert state_of(fleet, second.name).state is ServerState.DOWN
    busy = await take(fleet, "busy", never=frozenset({second.name}))
    back = await take(fleet, "again")
    assert back is second
    assert state_of(fleet, second.name).state is ServerState.RAMPING
    fleet.release(back, "again")
    assert fleet.spare(first, needing()) is None
    back = await take(fleet, "proof")
    give_back(fleet, back, "proof")
    assert fleet.spare(first, needing()) is second
    give_back(fleet, busy, "busy")
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_server_added_under_load_gets_the_next_job():
    heard: list[object] = []
    fleet = fleet_of(1, heard)
    await fill(fleet, 1)
    waits = asyncio.create_task(take(fleet, "waits"))
    await asyncio.sleep(3)
    assert not waits.done()
    fleet.add(fakes(2)[1])
    assert (await waits).name == "http://gpu1"
    assert events.ServerAdded("http://gpu1") in heard
    with pytest.raises(BadInputError, match="in the pool already"):
        fleet.add(fakes(2)[1])
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_server_is_removed_once_its_job_is_done_and_gets_no_other():
    heard: list[object] = []
    fleet = fleet_of(2, heard)
    places = await fill(fleet, 2)
    leaves = asyncio.create_task(fleet.remove(places[0].name, drain=True))
    await asyncio.sleep(2)
    assert not leaves.done()
    assert state_of(fleet, places[0].name).state is ServerState.DRAINING
    assert fleet.names == [places[1].name]
    waits = asyncio.create_task(take(fleet, "waits"))
    give_back(fleet, places[0], "filler 0")
    await leaves
    assert [each.name for each in fleet.places] == [places[1].name]
    assert events.ServerRemoved(places[0].name) in heard
    await asyncio.sleep(2)
    assert not waits.done()
    give_back(fleet, places[1], "filler 1")
    assert (await waits) is places[1]
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_removal_that_is_called_off_leaves_the_server_where_it_was():
    fleet = fleet_of(2)
    places = await fill(fleet, 2)
    leaves = asyncio.create_task(fleet.remove(places[0].name, drain=True))
    await asyncio.sleep(1)
    leaves.cancel()
    await asyncio.wait({leaves})
    give_back(fleet, places[0], "filler 0")
    assert (await take(fleet, "next")) is places[0]
    await fleet.close(seconds=1)


@on_fake_time
async def test_the_last_server_and_one_that_is_not_there_cannot_be_removed():
    fleet = fleet_of(1)
    with pytest.raises(BadInputError, match="the last server"):
        await fleet.remove("http://gpu0", drain=True)
    with pytest.raises(BadInputError, match="http://gpu0"):
        await fleet.remove("http://gpu7", drain=True)
    await fleet.close(seconds=1)


@on_fake_time
async def test_a_job_called_off_in_the_moment_it_gets_a_server_gives_it_back():
    fleet = fleet_of(1)
    (place,) = await fill(fleet, 1)
    waits = asyncio.create_task(take(fleet, "waits"))
    await asyncio.sleep(1)
    give_back(fleet, place, "filler 0")
    waits.cancel()
    await asyncio.wait({waits})
    assert waits.cancelled()
    assert place.leases == {}
    assert (await take(fleet, "next")) is place
    await fleet.close(seconds=1)


@on_fake_time
async def test_giving_a_server_away_looks_at_one_job_of_each_kind_and_wakes_one():
    fleet = fleet_of(1)
    (place,) = await fill(fleet, 1)
    waiting = [
        asyncio.create_task(take(fleet, f"w{number}", needing(kind=str(number % 3))))
        for number in range(3_000)
    ]
    await asyncio.sleep(1)
    assert len(fleet._line.heads()) == 3
    give_back(fleet, place, "filler 0")
    await asyncio.sleep(0.1)
    assert [number for number, each in enumerate(waiting) if each.done()] == [0]
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    assert len(fleet._line) == 0
    await fleet.close(seconds=1)


def test_a_line_that_everybody_left_keeps_nothing():
    line = Line()
    assert line.heads() == []
    assert line.nevers == []
    assert line.of("nobody") is None
