"""What goes when, and what never goes."""

from __future__ import annotations

import hashlib
import os

import pytest

from holdfast.errors import BadInputError
from holdfast.stores import tidying
from holdfast.stores.blobs import BlobStore
from holdfast.stores.integrity import Trouble, examine
from holdfast.stores.jobs import JobState, JobStore, NewFile, NewJob
from holdfast.stores.tidying import Keep, tidy
from holdfast.testing import FakeClock

DAY = 86_400.0


@pytest.fixture
def store(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    yield store
    store.close()


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path / "files")


def aged(blobs, content, seconds=3 * DAY):
    digest = blobs.put(content)
    path = blobs.path(digest)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return digest


def ended(store, state, contents=(), **fields):
    store.accept([NewJob({"graph": {}}, **fields)]).result()
    (claim,) = store.claim("w").result()
    files = [NewFile("1", f"{each[:8]}.png", each, size, "image/png") for each, size in contents]
    store.settle(claim.job.id, claim.fence, state, {"status": state.value}, files=files).result()
    return claim.job.id


def test_a_file_that_nothing_refers_to_goes_when_its_grace_is_over(store, blobs):
    old, new = aged(blobs, b"old"), blobs.put(b"new")
    done = tidy(store, blobs, Keep())
    assert (done.jobs, done.files, done.bytes) == (0, 1, 3)
    assert list(blobs.all()) == [new]
    assert old != new


@pytest.mark.parametrize("state", [None, JobState.RUNNING, JobState.FAILED, JobState.CANCELLED])
def test_what_a_job_still_loads_never_goes(store, blobs, state):
    photo = aged(blobs, b"photo")
    job = NewJob({"graph": {}, "files": {"1.image": photo}})
    (accepted,) = store.accept([job]).result()
    if state is JobState.CANCELLED:
        store.cancel(accepted.id).result()
    elif state is not None:
        (claim,) = store.claim("w").result()
        if state is JobState.FAILED:
            store.settle(accepted.id, claim.fence, state, {"status": "failed"}).result()
    assert tidy(store, blobs, Keep()).files == 0
    assert list(blobs.all()) == [photo]


def test_what_only_a_delivered_job_has_loaded_goes(store, blobs):
    photo = aged(blobs, b"photo")
    store.accept([NewJob({"graph": {}, "files": {"1.image": photo}})]).result()
    (claim,) = store.claim("w").result()
    store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {"status": "delivered"}).result()
    assert tidy(store, blobs, Keep()).files == 1


def test_what_a_user_has_sent_stays(store, blobs):
    photo = aged(blobs, b"photo")
    store.put_upload("ann", "input", "", "a.png", photo, 5).result()
    assert tidy(store, blobs, Keep()).files == 0


def test_dead_letters_are_kept_longer(tmp_path, blobs):
    with FakeClock() as clock:
        store = JobStore(tmp_path / "clock.db")
        ended(store, JobState.DELIVERED)
        dead = ended(store, JobState.FAILED)
        clock.advance(31 * DAY)
        assert tidy(store, blobs, Keep()).jobs == 1
        assert store.job(dead) is not None
        clock.advance(150 * DAY)
        assert tidy(store, blobs, Keep()).jobs == 1
        assert store.job(dead) is None
        store.close()


def test_what_waits_is_never_forgotten(store, blobs):
    (job,) = store.accept([NewJob({"graph": {}})]).result()
    tidy(store, blobs, Keep(seconds=0, dead_seconds=0, max_bytes=0, grace_seconds=0))
    assert store.job(job.id) is not None


def test_the_oldest_go_until_the_others_fit(store, blobs):
    made = []
    for number in range(5):
        digest = aged(blobs, bytes([number]) * 100)
        made.append(ended(store, JobState.DELIVERED, [(digest, 100)]))
    done = tidy(store, blobs, Keep(seconds=None, max_bytes=250))
    assert (done.jobs, done.files, done.bytes) == (3, 3, 300)
    assert [store.job(each) is not None for each in made] == [False, False, False, True, True]


def test_contents_that_jobs_share_count_once(store, blobs):
    digest = aged(blobs, b"x" * 100)
    jobs = [ended(store, JobState.DELIVERED, [(digest, 100)]) for _ in range(5)]
    assert tidy(store, blobs, Keep(seconds=None, max_bytes=100)).jobs == 0
    assert all(store.job(each) for each in jobs)


def test_more_jobs_than_a_page_go(store, blobs, monkeypatch):
    monkeypatch.setattr(tidying, "_PAGE", 2)
    for number in range(7):
        digest = aged(blobs, bytes([number]) * 10)
        ended(store, JobState.DELIVERED, [(digest, 10)])
    done = tidy(store, blobs, Keep(seconds=None, max_bytes=0))
    assert (done.jobs, done.files) == (7, 7)


def test_a_file_that_is_used_again_just_then_is_put_back(store, blobs, monkeypatch):
    old = aged(blobs, b"old")
    real = BlobStore.path

    def touched(self, digest):
        # Whoever takes the content in again touches it after it was looked at.
        path = real(self, digest)
        replace = type(path).replace

        def just_then(place, target):
            os.utime(place)
            monkeypatch.setattr(type(path), "replace", replace)
            return replace(place, target)

        monkeypatch.setattr(type(path), "replace", just_then)
        return path

    monkeypatch.setattr(BlobStore, "path", touched)
    assert tidy(store, blobs, Keep()).files == 0
    monkeypatch.undo()
    assert blobs.path(old).read_bytes() == b"old"


def test_what_a_killed_process_had_put_aside_is_put_back(store, blobs):
    content = blobs.put(b"needed")
    blobs.path(content).rename(blobs.staging() / f"{content}.going")
    ended(store, JobState.DELIVERED, [(content, 6)])
    assert tidy(store, blobs, Keep()).files == 0
    assert blobs.path(content).read_bytes() == b"needed"


@pytest.mark.parametrize(
    "wrong", [{"seconds": -1}, {"dead_seconds": "x"}, {"max_bytes": -1}, {"grace_seconds": -1}]
)
def test_a_wrong_setting_is_named(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        Keep(**wrong)


# What is wrong -----------------------------------------------------------------------------


def test_all_is_well(store, blobs):
    ended(store, JobState.DELIVERED, [(blobs.put(b"one"), 3)])
    store.accept([NewJob({"graph": {}, "files": {"1.image": blobs.put(b"in")}})]).result()
    store.put_upload("ann", "input", "", "a.png", blobs.put(b"up"), 2).result()
    assert list(examine(store, blobs)) == []


def test_every_kind_of_trouble_is_told(store, blobs):
    lost, bad = blobs.put(b"lost"), blobs.put(b"bad")
    job = ended(store, JobState.DELIVERED, [(lost, 4), (bad, 3)])
    photo = hashlib.sha256(b"photo").hexdigest()
    (waits,) = store.accept([NewJob({"graph": {}, "files": {"1.image": photo}})]).result()
    (broken,) = store.accept([NewJob({"graph": {}})]).result()
    extra = blobs.put(b"extra")
    blobs.remove(lost)
    blobs.path(bad).write_bytes(b"other")
    store.write(
        lambda on, _now: on.exec_driver_sql(
            "UPDATE job_body SET payload = '{' WHERE job = ?", (broken.id,)
        )
    ).result()
    found = {(each.trouble, each.job, each.sha256, each.harmless) for each in examine(store, blobs)}
    assert found == {
        (Trouble.MISSING, job, lost, False),
        (Trouble.DAMAGED, job, bad, False),
        (Trouble.MISSING, waits.id, photo, False),
        (Trouble.ROW, broken.id, "", False),
        (Trouble.EXTRA, "", extra, True),
    }


def test_a_file_nobody_wants_is_told_with_its_size(store, blobs):
    blobs.put(b"extra")
    (found,) = examine(store, blobs)
    assert found.size == 5
