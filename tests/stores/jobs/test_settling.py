"""What servers say beside their pictures never keeps these from their owners."""

from __future__ import annotations

import math

import pytest

from holdfast.stores.jobs import FILE_KEY, JobState, JobStore, NewFile, NewJob

PICTURE = NewFile("9", "picture.png", "0" * 64, 5, "image/png")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([math.nan, math.inf, 1.5], [None, None, 1.5]),
        (["\ud800", "\U0001f600"], ["?", "\U0001f600"]),
        ([{FILE_KEY: 7}], [{FILE_KEY: 7}]),
        ([{FILE_KEY: -1}], [{FILE_KEY: -1}]),
        ([{FILE_KEY: [0]}], [{FILE_KEY: [0]}]),
    ],
)
def test_a_job_is_delivered_whatever_its_nodes_showed(tmp_path, said, kept):
    store = JobStore(tmp_path / "jobs.db")
    try:
        store.accept([NewJob({}, id="job")]).result()
        (claim,) = store.claim("worker").result()
        shown = {"9": {"images": [{FILE_KEY: 0}], "values": said}}
        outcome = {"status": "delivered", "outputs": shown}
        job, final = store.settle(
            "job", claim.fence, JobState.DELIVERED, outcome, files=[PICTURE]
        ).result()
        assert job.state is JobState.DELIVERED
        assert final["outputs"]["9"]["values"] == kept
        assert final["outputs"]["9"]["images"][0]["filename"] == "picture.png"
        assert store.outcome("job") == final
    finally:
        store.close()
