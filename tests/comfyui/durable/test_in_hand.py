"""Each job has a folder of its own on its way in, whatever its id is."""

from __future__ import annotations

import pytest

from holdfast.comfyui.durable.in_hand import clear, folder_of
from holdfast.stores.jobs import JobStore, NewJob


@pytest.mark.parametrize(
    ("one", "other"),
    [("shot", "shot-1"), ("x" * 60 + "1", "x" * 60 + "2"), ("a/b", "a?b"), ("Shot", "shot")],
)
def test_a_job_never_works_in_another_s_folder_nor_clears_it(tmp_path, one, other):
    store = JobStore(tmp_path / "jobs.db")
    try:
        store.accept([NewJob({}, id=one), NewJob({}, id=other)]).result()
        for claim in store.claim("early", 2).result():
            store.release(claim.job.id, claim.fence).result()
            if claim.job.id == other:
                late = claim
        again = {claim.job.id: claim for claim in store.claim("late", 2).result()}
    finally:
        store.close()
    theirs = folder_of(tmp_path, late)
    theirs.mkdir()
    (theirs / "picture.png").write_bytes(b"half")
    mine = folder_of(tmp_path, again[one])
    mine.mkdir(exist_ok=True)

    clear(mine)

    assert not mine.exists()
    assert (theirs / "picture.png").read_bytes() == b"half"


def test_what_a_killed_worker_left_of_the_same_job_is_cleared_away(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    try:
        store.accept([NewJob({}, id="shot")]).result()
        (early,) = store.claim("early").result()
        store.release("shot", early.fence).result()
        (late,) = store.claim("late").result()
    finally:
        store.close()
    for claim in (early, late):
        folder_of(tmp_path, claim).mkdir()
    clear(folder_of(tmp_path, late))
    assert not list(tmp_path.glob("*-*"))
