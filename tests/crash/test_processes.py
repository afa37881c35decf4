"""Gateways and workers as processes: killed, and frozen past their lease."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid

import pytest

from benchmarks.crash.cast import Actor, free_port, wait_for
from benchmarks.crash.load import ask
from holdfast.comfyui.durable import new_job
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore
from tests.comfyui.graphs import painting
from tests.crash.worker import LEASE

pytestmark = pytest.mark.timeout(120)


def until(condition, seconds=40.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError


def kinds(store, job):
    return [each.kind for each in store.story(job)]


def runs(server):
    with urllib.request.urlopen(f"{server.url}/history", timeout=5) as answer:
        return len(json.load(answer))


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs.db", lease_seconds=LEASE)
    yield made
    made.close()


@pytest.fixture
def worker(tmp_path):
    """Starts workers, each a process."""
    started = []

    def start(name, server):
        with (tmp_path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.worker", str(tmp_path), name, server.url],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()  # a frozen one as well
        process.wait()


def test_a_killed_gateway_finds_what_runs_and_joins_it(tmp_path):
    port = free_port()
    with StandIn(StandInConfig(step_seconds=0.2)) as server:
        serve = ["serve", "--server", server.url, "--port", str(port), "--no-keys",
                 "--no-dashboard", "--data", str(tmp_path / "data")]  # fmt: skip
        gateway = Actor("gateway", serve, tmp_path / "log.txt")
        gateway.start()
        try:
            wait_for(port)
            job = str(uuid.uuid4())
            ask(port, "/prompt", {"prompt": painting(5, steps=25).to_api(), "prompt_id": job})
            until(lambda: ask(server.port, "/queue", None)["queue_running"])
            gateway.kill()
            assert runs(server) == 0
            gateway.revive()
            wait_for(port)
            entry = until(lambda: ask(port, f"/history/{job}", None))[job]
        finally:
            gateway.stop()
        assert entry["status"]["status_str"] == "success"
        assert runs(server) == 1
    store = JobStore(tmp_path / "data" / "jobs.db")
    assert kinds(store, job).count("joined") == 1
    assert kinds(store, job).count("submitted") == 1
    assert kinds(store, job).count("delivered") == 1
    store.close()


def test_a_worker_frozen_past_its_lease_is_fenced_off_when_it_wakes(store, worker, tmp_path):
    with StandIn(StandInConfig(step_seconds=0.2)) as server:
        (job,) = (each.id for each in store.accept([new_job(painting(5, steps=25))]).result())
        slow = worker("slow", server)
        until(lambda: ask(server.port, "/queue", None)["queue_running"])
        slow.send_signal(signal.SIGSTOP)
        quick = worker("quick", server)
        until(lambda: store.job(job).state is JobState.DELIVERED)
        assert store.job(job).worker == "quick"
        quick.kill()
        quick.wait()
        slow.send_signal(signal.SIGCONT)
        # It lives, and takes the next one.
        (late,) = (each.id for each in store.accept([new_job(painting(6))]).result())
        until(lambda: store.job(late).state is JobState.DELIVERED)
        assert store.job(late).worker == "slow"
        assert runs(server) == 2
    assert store.job(job).worker == "quick"
    assert [kinds(store, job).count(each) for each in ("claimed", "joined", "delivered")] == [
        2, 1, 1,
    ]  # fmt: skip
    assert len(store.files(job)) == 1
    assert BlobStore(tmp_path / "files").check() == []
