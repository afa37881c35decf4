"""Many at once, and processes that are killed at any instruction: no job is lost or given twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from holdfast.stores.jobs import JobState, JobStore, NewJob

ROOT = Path(__file__).parents[3]


def child(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.jobs.children", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, err
    assert not err, err
    return out.split()


def at_once(several):
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finished(process) for process in several]


def test_processes_that_open_a_new_store_at_once_all_succeed(url):
    at_once([child("open_when_told", url) for _ in range(3)])
    store = JobStore(url)
    jobs = store.jobs()
    assert store.close()
    assert sorted(job.number for job in jobs) == [1, 2, 3]


def test_processes_that_claim_at_once_never_get_the_same_job(url):
    store = JobStore(url)
    store.accept([NewJob({"n": n}, user=f"u{n % 3}") for n in range(60)]).result()
    told = at_once([child("work_when_told", url, f"w{n}") for n in range(3)])
    given = [job for each in told for job in each]
    assert len(given) == len(set(given)) == 60
    assert store.counts()[JobState.DELIVERED] == 60
    assert store.close()


def test_threads_that_claim_at_once_never_get_the_same_job(store):
    store.accept([NewJob({"n": n}) for n in range(100)]).result()
    given = []

    def work():
        while claims := store.claim(threading.current_thread().name, 3).result():
            given.extend(claim.job.id for claim in claims)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(set(given)) == 100


@pytest.mark.timeout(120)
def test_whoever_is_killed_at_any_moment_loses_nothing_and_leaves_nothing_half(url):
    store = JobStore(url, lease_seconds=0.2, max_tries=1_000)
    accepted, delivered = set(), []
    chance = random.Random(6)
    for turn in range(6):
        process = child("everything_for_ever", url, f"p{turn}")
        lines = [process.stdout.readline()]
        time.sleep(chance.uniform(0.01, 0.4))
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=30)
        assert "Error" not in err, err
        for line in [*lines, *out.splitlines(keepends=True)]:
            if line.endswith("\n"):
                kind, job = line.split()
                (accepted.add if kind == "accepted" else delivered.append)(job)
    assert accepted
    assert len(delivered) == len(set(delivered))
    jobs = {job.id: job for job in store.jobs(limit=10_000)}
    assert accepted <= set(jobs)
    assert all(jobs[each].state is JobState.DELIVERED for each in delivered)
    for job in jobs.values():
        kinds = [event.kind for event in store.story(job.id)]
        assert kinds[0] == "accepted"
        assert store.body(job.id) == {"graph": {"id": job.id}}
        assert kinds.count("delivered") == (job.state is JobState.DELIVERED)
        assert (store.outcome(job.id) is not None) == job.state.ended
        assert not job.state.ended or store.submissions(job.id) == []
    # What the dead had is done by others.
    until = time.monotonic() + 30
    while store.counts()[JobState.QUEUED] + store.counts()[JobState.RUNNING]:
        assert time.monotonic() < until
        for claim in store.claim("heir", 50).result():
            store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}).result()
    assert store.counts()[JobState.DELIVERED] == len(jobs)
    assert store.close()
    if str(url).startswith("sqlite"):
        file = sqlite3.connect(str(url).removeprefix("sqlite:///"))
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.close()


def test_a_forked_child_is_told_to_open_its_own(path):
    finished(child("fork_while_it_is_used", path))
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()


def test_a_full_disk_accepts_nothing_and_keeps_what_there_is(path):
    finished(child("fill_the_disk", path))


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written_is_a_clear_error(existing):
    # Root may write everywhere, so another user tries; and pytest's folders are root's alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "jobs.db"
        if existing:
            JobStore(path).close()
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            out = finished(child("open_unwritable", path))
        finally:
            folder.chmod(0o755)
    told = " ".join(out)
    assert told.startswith("BadInputError: store must be one that can be written")
    assert str(path) in told
