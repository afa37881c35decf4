from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.comfyui import ComfyUI, Workflow
from holdfast.comfyui.durable import Worker, new_job
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore
from tests.comfyui.graphs import node, painting, picture


@pytest.fixture
def store(tmp_path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.db", lease_seconds=1.0)
    yield made
    made.close()


@pytest.fixture
def blobs(tmp_path) -> BlobStore:
    return BlobStore(tmp_path / "files")


@contextlib.asynccontextmanager
async def working(store, blobs, *urls, **settings) -> AsyncIterator[Worker]:
    async with ComfyUI(*urls, previews=True, reach_seconds=60.0) as comfy:
        worker = Worker(comfy, store, blobs, name="test", **settings)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            await worker.stop()
            await task


async def until(condition, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - it is a store that is asked
            await asyncio.sleep(0.02)


def state(store: JobStore, job: str) -> JobState:
    found = store.job(job)
    assert found is not None
    return found.state


def put(store: JobStore, *jobs) -> list[str]:
    return [each.id for each in store.accept(jobs).result()]


def history(server: StandIn) -> int:
    with urllib.request.urlopen(f"{server.url}/history", timeout=5) as answer:
        return len(json.load(answer))


async def test_a_job_is_made_and_its_picture_lies_in_the_blob_store(store, blobs, tmp_path):
    with StandIn() as server:
        (job,) = put(store, new_job(picture(), name="one", export=tmp_path / "out"))
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.DELIVERED)
    (file,) = store.files(job)
    assert file.filename == "pic_00001_.png"
    assert blobs.path(file.sha256) is not None
    assert blobs.check() == []
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["one.png"]
    assert [each.kind for each in store.story(job)] == [
        "accepted", "claimed", "submitted", "attempt", "delivered",
    ]  # fmt: skip
    assert list(blobs.staging().iterdir()) == []


async def test_a_worker_that_stops_leaves_what_runs_and_the_next_one_joins_it(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.2)) as server:
        (job,) = put(store, new_job(painting(steps=8)))
        async with working(store, blobs, server.url) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
        assert state(store, job) is JobState.QUEUED
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.DELIVERED)
        assert await asyncio.to_thread(history, server) == 1
    assert "joined" in [each.kind for each in store.story(job)]
    assert store.job(job).tries == 0


async def test_what_ended_while_nobody_watched_is_fetched_and_not_run_again(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.05)) as server:
        (job,) = put(store, new_job(painting(steps=6)))
        async with working(store, blobs, server.url) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
        await until(lambda: history(server) == 1)
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.DELIVERED)
        assert await asyncio.to_thread(history, server) == 1


async def test_a_job_whose_end_is_asked_for_is_interrupted_on_its_server(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.3)) as server:
        (job,) = put(store, new_job(painting(steps=50)))
        async with working(store, blobs, server.url) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
            store.cancel(job).result()
            worker.nudge()
            await until(lambda: state(store, job) is JobState.CANCELLED)
            (late,) = put(store, new_job(picture()))
            worker.nudge()
            await until(lambda: state(store, late) is JobState.DELIVERED)


async def test_a_job_left_on_a_server_and_then_cancelled_is_taken_back_from_it(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.3)) as server:
        (job,) = put(store, new_job(painting(steps=50)))
        async with working(store, blobs, server.url) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
        store.cancel(job).result()
        assert state(store, job) is JobState.QUEUED
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.CANCELLED)
        await until(lambda: history(server) == 1)  # as interrupted


async def test_a_job_that_no_server_can_make_is_a_dead_letter_with_its_reasons(store, blobs):
    graph = picture().to_api()
    graph["1"] = node("NoSuchNode")

    with StandIn() as server:
        (job,) = put(store, new_job(Workflow.from_api(graph, name="broken")))
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.FAILED)
    outcome = store.outcome(job)
    assert outcome["failure"]["kind"] == "rejected"
    assert "NoSuchNode" in store.job(job).summary


async def test_a_failed_job_can_be_tried_again(store, blobs):
    fault = Fault("raise", node="KSampler", times=20)
    with StandIn(StandInConfig(step_seconds=0.01, faults=(fault,))) as server:
        (job,) = put(store, new_job(painting(steps=2)))
        async with working(store, blobs, server.url):
            await until(lambda: state(store, job) is JobState.FAILED, 30)
    with StandIn() as well:
        store.retry(job).result()
        async with working(store, blobs, well.url):
            await until(lambda: state(store, job) is JobState.DELIVERED)
    kinds = [each.kind for each in store.story(job)]
    assert kinds.index("failed") < kinds.index("retried") < kinds.index("delivered")


async def test_a_worker_whose_lease_was_taken_is_fenced_off(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.2)) as server:
        (job,) = put(store, new_job(painting(steps=8)))
        async with working(store, blobs, server.url) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
            # As if it had slept past its lease, and another worker had come.
            store.reclaim("test").result()
            (taken,) = store.claim("other").result()
            assert taken.job.id == job
            assert taken.submissions
            await until(lambda: not worker.running)
        assert store.job(job).worker == "other"
        queue = await asyncio.to_thread(history, server)
        assert queue == 0  # what runs there was left alone


async def test_a_full_disk_is_no_fault_of_the_job(store, blobs, monkeypatch):
    (job,) = put(store, new_job(picture()))
    full = [True]
    monkeypatch.setattr(Worker, "_disk_trouble", lambda _self: full[0])
    real = Path.mkdir

    def mkdir(self, *args, **kwargs):
        if full[0] and self.parent.name == "staging":
            raise OSError(28, "No space left on device")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr("holdfast.comfyui.durable.worker.PAUSE_SECONDS", 0.05)
    with StandIn() as server:
        async with working(store, blobs, server.url):
            await until(lambda: any(e.kind == "released" for e in store.story(job)))
            full[0] = False
            await until(lambda: state(store, job) is JobState.DELIVERED)


async def test_who_watches_hears_of_beginning_frames_and_end(store, blobs):
    heard: list[str] = []

    class Ear:
        def began(self, job):
            heard.append("began")

        def frame(self, job, server, frame):
            heard.append("frame")

        def ended(self, job, outcome):
            heard.append(f"ended {outcome['outputs']['3']['images'][0]['filename']}")

    with StandIn() as server:
        (job,) = put(store, new_job(picture()))
        async with working(store, blobs, server.url, relay=Ear()):
            await until(lambda: state(store, job) is JobState.DELIVERED)
    assert heard[0] == "began"
    assert "frame" in heard
    assert heard[-1] == "ended pic_00001_.png"


async def test_jobs_that_come_as_a_worker_stops_are_given_back_at_once(store, blobs, monkeypatch):
    (job,) = put(store, new_job(painting()))
    claim, stops = store.claim, []
    async with ComfyUI("http://127.0.0.1:1", reach_seconds=60.0) as comfy:
        worker = Worker(comfy, store, blobs, name="test")

        def stopped_meanwhile(*args, **fields):
            stops.append(asyncio.create_task(worker.stop()))
            return claim(*args, **fields)

        monkeypatch.setattr(store, "claim", stopped_meanwhile)
        await worker.run()
        await asyncio.gather(*stops)
    found = store.job(job)
    assert (found.state, found.tries) == (JobState.QUEUED, 0)


async def test_a_job_that_is_called_as_another_would_be_told_apart_keeps_its_own_story(
    store, blobs
):
    with StandIn() as server:
        # The first waits for the server beside the others, so all three are in hand together.
        put(
            store,
            new_job(painting(1), name="x [3]", id="a"),
            new_job(painting(2), name="x", id="b"),
            new_job(painting(3), name="x", id="c"),
        )
        async with working(store, blobs, server.url, concurrency=3):
            await until(lambda: all(state(store, each) is JobState.DELIVERED for each in "abc"))
    for each in "abc":
        assert [line.kind for line in store.story(each)].count("attempt") == 1


async def test_a_worker_that_drains_lets_what_runs_end_and_takes_nothing_new(store, blobs):
    with StandIn(StandInConfig(step_seconds=0.2)) as server:
        (job,) = put(store, new_job(painting(steps=8)))
        async with working(store, blobs, server.url, concurrency=2) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
            stops = asyncio.create_task(worker.stop(10.0))
            await asyncio.sleep(0)
            (late,) = put(store, new_job(picture()))
            worker.expect()
            worker.nudge()
            await stops
            assert state(store, job) is JobState.DELIVERED
            assert state(store, late) is JobState.QUEUED


async def test_a_job_whose_lease_ran_out_here_and_was_taken_here_again_is_watched_once(
    store, blobs
):
    def carried() -> int:
        return sum("_carry" in repr(task.get_coro()) for task in asyncio.all_tasks())

    with StandIn(StandInConfig(step_seconds=0.3)) as server:
        (job,) = put(store, new_job(painting(steps=12)))
        async with working(store, blobs, server.url, concurrency=2) as worker:
            await until(lambda: worker.progress.get(job) and worker.progress[job].value > 0)
            store.reclaim("test")
            worker.expect()
            await until(lambda: [each.kind for each in store.story(job)].count("claimed") == 2)
            await asyncio.sleep(0.5)
            assert carried() == 1
            assert state(store, job) is JobState.RUNNING
            await until(lambda: state(store, job) is JobState.DELIVERED)
        assert await asyncio.to_thread(history, server) == 1


async def test_a_job_that_waits_is_taken_though_room_came_while_another_was_asked_for(
    store, blobs, monkeypatch
):
    monkeypatch.setattr("holdfast.comfyui.durable.worker.LOOK_SECONDS", 60.0)
    with StandIn(StandInConfig(step_seconds=0.3)) as server:
        async with working(store, blobs, server.url, concurrency=1) as worker:
            await asyncio.sleep(0.3)  # it has looked, and found nothing
            put(store, new_job(painting(1, steps=50)), new_job(painting(2, steps=50)))
            worker.expect()
            worker._concurrency = 2
            await until(lambda: len(worker.running) == 2)
