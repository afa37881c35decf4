"""Programs that the tests run, and kill: `python -m tests.stores.jobs.children NAME`."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
import warnings

from holdfast.stores.jobs import JobState, JobStore, NewJob, StoreUnavailableError, Submitted


def say(words):
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def wait_for_go():
    say("ready")
    sys.stdin.readline()


def open_when_told(url):
    """Open at the same moment as others, and use it."""
    wait_for_go()
    store = JobStore(url)
    store.accept([NewJob({"graph": {}}, name=str(os.getpid()))]).result(30)
    assert store.close()


def work_when_told(url, worker):
    """Claim one after another with others, and say which."""
    store = JobStore(url)
    wait_for_go()
    while given := store.claim(worker, 2).result(30):
        for claim in given:
            say(claim.job.id)
            store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}).result(30)
    assert store.close()


def everything_for_ever(url, prefix):
    """Accept, claim, note and settle without end; say what was answered."""
    store = JobStore(url, lease_seconds=0.2, max_tries=1_000)
    for number in range(1_000_000):
        ids = [f"{prefix}-{number}-{part}" for part in range(3)]
        asked = [store.accept([NewJob({"graph": {"id": each}}, id=each)]) for each in ids]
        for each, future in zip(ids, asked, strict=True):
            future.result(30)
            say(f"accepted {each}")
        for claim in store.claim(prefix, 2).result(30):
            token = f"{claim.job.id}/{claim.fence}"
            sent = Submitted("http://gpu", claim.job.id, token, "c")
            store.note_submission(claim.job.id, claim.fence, sent).result(30)
            settled = store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {"by": prefix})
            settled.result(30)
            say(f"delivered {claim.job.id}")


def fill_the_disk(path):
    """Accept under a limit on the size of files, then without it."""
    store = JobStore(path)
    kept = [store.accept([NewJob({"n": 0}, name="before")]).result()[0].id]
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
    refused = 0
    for number in range(200):
        job = NewJob({"text": "x" * 20_000}, id=f"job-{number}")
        try:
            store.accept([job]).result()
        except StoreUnavailableError as error:
            refused += "there is no room left to write" in str(error)
        else:
            kept.append(job.id)
    assert refused, "the disk was never full"
    assert {job.id for job in store.jobs(limit=1_000)} == set(kept)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    kept.append(store.accept([NewJob({"n": 1}, id="after")]).result()[0].id)
    assert store.close()
    again = JobStore(path)
    assert {job.id for job in again.jobs(limit=1_000)} == set(kept)
    assert all(again.body(each) for each in kept)
    assert again.close()


def open_unwritable(path):
    """Say what opening it raises to somebody who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        JobStore(os.path.join(folder, "loads-what-is-needed.db")).close()  # noqa: PTH118
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        JobStore(path)
    except Exception as raised:  # told to the test
        say(f"{type(raised).__name__}: {raised}")


def fork_while_it_is_used(path):
    """A child that uses its parent's store, and ends as any process does."""
    store = JobStore(path)
    store.accept([NewJob({"n": 1})]).result()
    asked = [store.accept([NewJob({"n": 2})]) for _ in range(50)]
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
    if not child:
        told = []
        for use in (lambda: store.accept([NewJob({})]), store.jobs, lambda: store.cancel("x")):
            try:
                use()
            except StoreUnavailableError as error:
                told.append(str(error))
        assert sum("open it in each process" in words for words in told) == 3, told
        own = JobStore(path)
        own.accept([NewJob({"n": 3})]).result(30)
        assert own.close()
        assert store.close()
        return
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    for future in asked:
        future.result(30)
    store.accept([NewJob({"n": 4})]).result(30)
    time.sleep(0.05)
    assert store.counts()[JobState.QUEUED] == 53
    assert store.close()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
