from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from holdfast.comfyui.durable.taking import Taking
from holdfast.stores.jobs import JobState, JobStore, NewJob, StoreUnavailableError


@pytest.fixture
def store(tmp_path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.db")
    yield made
    made.close()


def taking(store: JobStore, room: int = 2) -> Taking:
    made = Taking(store, "w", lambda: room)
    made.open(None)
    return made


def ids(claims) -> list[str]:
    return [each.job.id for each in claims]


async def test_a_job_that_is_being_accepted_is_claimed_in_the_same_breath(store):
    ahead = taking(store)
    accepted = store.accept([NewJob({}, id="a")])
    assert ahead.ahead()
    assert ids(await ahead.some()) == ["a"]
    assert accepted.done()
    assert not ahead.behind


async def test_who_has_no_room_or_is_closed_asks_for_nothing(store):
    full, shut = taking(store, room=0), Taking(store, "w", lambda: 2)
    store.accept([NewJob({}, id="a")]).result()
    assert not full.ahead()
    assert not shut.ahead()
    assert full.behind  # somebody has to look later
    assert await full.some() == ()
    job = store.job("a")
    assert job is not None
    assert job.state is JobState.QUEUED


async def test_one_claim_is_on_its_way_at_a_time_and_a_job_that_comes_meanwhile_is_told_of(store):
    some = taking(store)
    store.accept([NewJob({}, id="a")])
    assert some.ahead()
    store.accept([NewJob({}, id="b")]).result()
    assert not some.ahead()
    assert some.behind
    assert ids(await some.some()) == ["a"]
    assert ids(await some.some()) == ["b"]
    assert not some.behind


async def test_it_says_whether_it_took_all_there_was(store):
    some = taking(store)
    store.accept([NewJob({}) for _ in range(3)]).result()
    await some.some()
    assert not some.drained
    await some.some()
    assert some.drained


async def test_what_was_claimed_and_not_begun_goes_back_when_it_closes(store):
    some = taking(store)
    store.accept([NewJob({}, id="a")])
    assert some.ahead()
    await some.close()
    job = store.job("a")
    assert job is not None
    assert (job.state, job.tries) == (JobState.QUEUED, 0)
    assert not some.ahead()


async def test_who_is_cancelled_while_it_waits_keeps_no_job(store):
    some = taking(store)
    store.accept([NewJob({}, id="a")]).result()
    waits = asyncio.create_task(some.some())
    await asyncio.sleep(0)
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    await some.close()
    job = store.job("a")
    assert job is not None
    assert job.state is JobState.QUEUED


async def test_after_trouble_it_asks_anew(store, monkeypatch):
    some = taking(store)
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.stores.jobs.claiming.claim", lambda *_, **__: 1 / 0)
        assert some.ahead()
        with pytest.raises(ZeroDivisionError):
            await some.some()
    store.accept([NewJob({}, id="a")]).result()
    assert ids(await some.some()) == ["a"]


async def test_a_store_that_is_closed_is_told_of_by_who_waits_and_not_by_who_announces(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    some = taking(store)
    store.close()
    assert not some.ahead()
    with pytest.raises(StoreUnavailableError):
        await some.some()
