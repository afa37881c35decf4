"""A job store moves to another database whole, and what is damaged is saved as far as it goes."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

from holdfast.errors import BadInputError
from holdfast.stores import copying as steps
from holdfast.stores.jobs import (
    FILE_KEY,
    JobState,
    JobStore,
    NewFile,
    NewJob,
    StoreUnavailableError,
    Submitted,
    userdata,
)
from holdfast.stores.jobs.copying import copy
from holdfast.stores.jobs.salvaging import salvage


def fill(store, count=40):
    store.accept(
        [
            NewJob({"graph": {"n": n, "text": "x" * 300}}, id=f"job-{n}", user=f"u{n % 3}",
                   order="night", key=f"k{n}", priority=n % 5, signature="kind",
                   prompt=f"cat {n} " * 30)
            for n in range(count)
        ]
    ).result()  # fmt: skip
    claims = store.claim("w", 6).result()
    for claim in claims[:4]:
        sent = Submitted("http://gpu", claim.job.id, f"t-{claim.job.id}", "c")
        store.note_submission(claim.job.id, claim.fence, sent).result()
    for claim, end in zip(claims, [JobState.DELIVERED, JobState.FAILED], strict=False):
        files = [NewFile("9", "ComfyUI_00001_.png", "a" * 64, 5, "image/png")]
        outcome = {"outputs": {"9": {"images": [{FILE_KEY: 0}]}}, "seconds": 3}
        store.settle(claim.job.id, claim.fence, end, outcome, files=files).result()
    store.pause(True, "moving").result()
    store.put_upload("u1", "input", "", "a.png", "b" * 64, 3).result()


def everything(store):
    jobs = store.jobs(limit=10_000)
    each = [
        (store.body(j.id), store.outcome(j.id), store.files(j.id), store.story(j.id),
         store.submissions(j.id))
        for j in jobs
    ]  # fmt: skip
    return jobs, each, store.counts(), store.paused(), store.uploads("u1")


@pytest.fixture
def source(path, monkeypatch):
    monkeypatch.setattr(steps, "STEP", 7)
    store = JobStore(path)
    fill(store)
    assert store.close()
    return path


def test_every_job_arrives_and_work_goes_on_there(source, url, open_store):
    rows = copy(source, url)
    assert (rows["job"], rows["job_file"], rows["submission"]) == (40, 2, 2)
    old, new = open_store(source), open_store(url)
    assert everything(old) == everything(new)
    (job,) = new.accept([NewJob({"n": 1})]).result()
    assert job.number == 41
    new.pause(False).result()
    (claim,) = new.claim("w").result()
    files = [NewFile("9", "ComfyUI_00001_.png", "c" * 64, 5, "image/png")]
    new.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}, files=files).result()
    assert len(new.files(claim.job.id)) == 1


def test_a_target_with_jobs_or_a_source_that_is_none_is_refused(source, url, open_store, tmp_path):
    open_store(url).accept([NewJob({})]).result()
    with pytest.raises(BadInputError, match="target_url must be an empty store"):
        copy(source, url)
    assert len(open_store(url).jobs()) == 1
    with pytest.raises(BadInputError, match="source_url must be a store that exists"):
        copy(tmp_path / "none.db", url)
    with pytest.raises(BadInputError, match="target_url must be another store"):
        copy(source, f"sqlite:///{source}")


def test_a_copy_that_fails_leaves_nothing_behind(source, url, monkeypatch):
    from holdfast.stores.jobs import copying

    real, calls = copying.copy_table, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise OSError("no more")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_table", fail)
        with pytest.raises(StoreUnavailableError, match="was not copied to"):
            copy(source, url)
    assert copy(source, url)["job"] == 40


# -- salvage ---------------------------------------------------------------------------------------


def checkpointed(path):
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()


def pages_of(path, table):
    """The leaves of a table, by what they hold: pages whose rows bear our ids."""
    content = path.read_bytes()
    size = int.from_bytes(content[16:18], "big")
    with sqlite3.connect(path) as file:
        root = file.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        number = root.fetchone()[0]
    file.close()
    page = content[(number - 1) * size : number * size]
    if page[0] == 13:
        return size, [number]
    cells = int.from_bytes(page[3:5], "big")
    places = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i], "big") for i in range(cells)]
    children = [int.from_bytes(page[place : place + 4], "big") for place in places]
    return size, [*children, int.from_bytes(page[8:12], "big")]


def destroy(path, size, number):
    with path.open("r+b") as file:
        file.seek((number - 1) * size)
        file.write(os.urandom(size))


def test_a_damaged_store_says_what_to_do_and_stays_as_it_was(source):
    checkpointed(source)
    size, pages = pages_of(source, "job_body")
    destroy(source, size, pages[len(pages) // 2])
    before = source.read_bytes()
    with pytest.raises(BadInputError, match=r"is damaged. It was left as it is.*jobs salvage"):
        JobStore(source)
    assert source.read_bytes() == before
    assert [p.name for p in source.parent.iterdir() if "corrupt" in p.name] == []


def test_all_but_the_destroyed_page_is_saved(source, url, open_store):
    whole = {job.id: job for job in open_store(source).jobs()}
    open_store(source).close()
    checkpointed(source)
    size, pages = pages_of(source, "job_body")
    assert len(pages) > 3
    destroy(source, size, pages[len(pages) // 2])
    before = source.read_bytes()
    saved = salvage(source, url)
    assert source.read_bytes() == before
    assert saved.jobs == 40
    assert 0 < len(saved.damaged) < 20
    assert any("job_body" in note for note in saved.notes)
    store = open_store(url)
    for job in store.jobs():
        if job.id in saved.damaged:
            assert job.state is JobState.FAILED
            assert store.outcome(job.id)["failure"]["kind"] == "damaged"
            assert "lost when the store was damaged" in job.summary
        else:
            assert job == whole[job.id]
            assert store.body(job.id)["graph"]["text"] == "x" * 300
    (job,) = store.accept([NewJob({})]).result()
    assert job.number == 41


def test_a_page_of_jobs_itself_costs_only_its_own(source, url, open_store):
    checkpointed(source)
    size, pages = pages_of(source, "job")
    destroy(source, size, pages[1])
    saved = salvage(source, url)
    assert 10 < saved.jobs < 40
    assert saved.damaged == ()
    assert len(open_store(url).jobs()) == saved.jobs


def test_a_store_whose_first_page_is_gone_is_told_to_hold_nothing(source, url):
    checkpointed(source)
    destroy(source, 4096, 1)
    saved = salvage(source, url)
    assert saved.jobs == 0
    assert "file is not a database" in saved.notes[0]


def test_salvaging_a_store_that_is_well_is_copying_it(source, url, open_store):
    saved = salvage(source, url)
    assert (saved.jobs, saved.damaged, saved.notes) == (40, (), ())
    assert everything(open_store(source)) == everything(open_store(url))


def test_salvaging_refuses_what_makes_no_sense(source, tmp_path):
    with pytest.raises(BadInputError, match="path must be a SQLite job store that exists"):
        salvage(tmp_path / "none.db", tmp_path / "new.db")
    with pytest.raises(BadInputError, match="into must be another store"):
        salvage(source, source)
    full = shutil.copy(source, tmp_path / "full.db")
    with pytest.raises(BadInputError, match="into must be an empty store"):
        salvage(source, full)


@pytest.mark.parametrize("way", [copy, salvage])
def test_saved_workflows_arrive_byte_by_byte(tmp_path, url, open_store, way):
    files = [(f"w/{number:03}", bytes(range(256)) * (number % 3)) for number in range(50)]
    path = tmp_path / "old.db"
    store = open_store(path)
    store.write(userdata.writing(userdata.put_missing, "ann", files)).result()
    store.close()
    way(path, url)
    there = open_store(url)
    for name, content in files:
        saved = there.read(lambda on, name=name: userdata.read(on, "ann", name))
        assert saved is not None
        assert saved[1] == content
