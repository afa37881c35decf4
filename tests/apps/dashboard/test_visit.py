"""Retrying on a page is another job in the queue, and quotas hold for it."""

from __future__ import annotations

import pytest

from holdfast.apps.dashboard.caller import Visitor
from holdfast.apps.dashboard.live_jobs import LiveJobs
from holdfast.apps.dashboard.visit import Deck, Visit
from holdfast.errors import BadInputError
from holdfast.stores.jobs import JobState, JobStore, NewJob


class Key:
    user = "ann"

    def __init__(self, *scopes):
        self.scopes = scopes

    def can(self, scope):
        return scope in self.scopes


class Source:
    """Of the live source, what deals with jobs."""

    def __init__(self, store):
        self._jobs = LiveJobs(store)

    async def jobs(self, user, *, state, limit):
        return self._jobs.page(user, state, "", None, limit)

    async def retry(self, job_id, user):
        return self._jobs.retry(job_id, user)

    async def retry_all(self, user):
        return self._jobs.retry_all(user)


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs.db")
    for number in range(4):
        made.accept([NewJob({"graph": {}}, id=f"job{number}", user="ann")]).result()
        (claim,) = made.claim("worker").result()
        made.settle(claim.job.id, claim.fence, JobState.FAILED, {}).result()
    yield made
    made.close()


def visit(store, *scopes, room=2):
    left = [room]

    async def admit(caller):
        assert caller.user == "ann"
        if not left[0]:
            raise BadInputError("2 jobs may wait")
        left[0] -= 1

    return Visit(Deck(Source(store), "", admit=admit), Visitor(Key(*scopes)), "", "dark", "")


def queued(store):
    return {job.id for job in store.jobs(states=[JobState.QUEUED])}


async def test_a_retry_that_a_quota_does_not_allow_is_refused_and_changes_nothing(store):
    page = visit(store, "dashboard", "run", room=1)
    await page.retry("job2")
    with pytest.raises(BadInputError, match="2 jobs may wait"):
        await page.retry("job3")
    assert queued(store) == {"job2"}


async def test_retrying_all_goes_as_far_as_the_quota_and_says_so(store):
    said = await visit(store, "dashboard", "run").retry_all()
    assert said == "2 jobs are queued again; then: 2 jobs may wait"
    assert queued(store) == {"job0", "job1"}


async def test_who_administers_retries_all_at_once(store):
    assert "4 jobs" in await visit(store, "admin", room=0).retry_all()
    assert len(queued(store)) == 4
