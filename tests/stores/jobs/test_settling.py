"""What servers say beside their pictures never keeps these from their owners."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa

from holdfast.stores.jobs import FILE_KEY, JobState, JobStore, NewFile, NewJob
from holdfast.stores.jobs.opening import writes

PICTURE = NewFile("9", "picture.png", "0" * 64, 5, "image/png")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([math.nan, math.inf, 1.5], [None, None, 1.5]),
        (["\ud800", "\U0001f600"], ["?", "\U0001f600"]),
        ([{FILE_KEY: 7}], [{FILE_KEY: 7}]),
        ([{FILE_KEY: -1}], [{FILE_KEY: -1}]),
        ([{FILE_KEY: [0]}], [{FILE_KEY: [0]}]),
        ([{FILE_KEY: 0.0}], [{FILE_KEY: 0.0}]),
        ([{FILE_KEY: False}], [{FILE_KEY: False}]),
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


def test_whoever_waited_for_the_lock_sees_what_was_written_whatever_the_default(
    postgres, open_store
):
    url = postgres.database()
    more = "options=-c%20default_transaction_isolation%3Dserializable"
    odd = f"{url}{'&' if '?' in url else '?'}{more}"
    with writes(open_store(odd).engine) as connection:
        level = connection.execute(sa.text("SHOW transaction_isolation")).scalar()
    assert level == "read committed"
