"""Any order of calls: a job store does what a few dictionaries do, and forgets nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from holdfast.stores.jobs import (
    JobState,
    JobStore,
    LeaseLostError,
    NewJob,
    QueueFullError,
    Submitted,
)
from holdfast.testing import FakeClock
from tests.stores.jobs.model import FULL, FULL_PER_USER, LEASE, TRIES, Model

ENDS = (JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED)
NOW = 1_750_000_000.0
NEW = st.builds(
    NewJob,
    payload=st.just({"graph": {}}),
    key=st.sampled_from(["", "", "k1", "k2"]),
    user=st.sampled_from(["ann", "bob", ""]),
    order=st.sampled_from(["", "night"]),
    priority=st.sampled_from([-1, 0, 0, 5]),
    deadline=st.sampled_from([None, None, NOW + 20, NOW + 100, NOW + 1_000]),
)


class Queue(RuleBasedStateMachine):
    """A store and its model, told the same."""

    jobs = Bundle("jobs")
    claims = Bundle("claims")
    make = None

    def __init__(self):
        super().__init__()
        self.clock = FakeClock(wall=NOW)
        self.clock.__enter__()
        self.url, self.remove = self.make()
        self.store, self.model, self.count = None, Model(), 0
        self.reopen()

    @rule()
    def reopen(self):
        if self.store is not None:
            assert self.store.close()
        self.store = JobStore(
            self.url, lease_seconds=LEASE, max_tries=TRIES, max_queued=FULL,
            max_queued_per_user=FULL_PER_USER,
        )  # fmt: skip

    @rule(target=jobs, new=st.lists(NEW, min_size=1, max_size=4))
    def accept(self, new):
        named = []
        for each in new:
            self.count += 1
            fields = {name: getattr(each, name) for name in NewJob.__slots__}
            named.append(NewJob(**fields | {"id": f"job-{self.count}"}))
        wanted = self.model.accept(named)
        future = self.store.accept(named)
        if wanted is None:
            with pytest.raises(QueueFullError) as raised:
                future.result()
            assert raised.value.retry_after > 0
            return multiple()
        assert [job.id for job in future.result()] == wanted
        return multiple(*wanted)

    @rule(
        target=claims,
        worker=st.sampled_from(["w1", "w2"]),
        limit=st.integers(1, 4),
        order=st.sampled_from([None, None, None, "night"]),
    )
    def claim(self, worker, limit, order):
        wanted = self.model.claim(self.clock.wall(), worker, limit, order)
        given = self.store.claim(worker, limit, order=order).result()
        told = [(c.job.id, c.fence, tuple(sent.token for sent in c.submissions)) for c in given]
        assert told == wanted
        assert all(claim.payload == {"graph": {}} for claim in given)
        return multiple(*((job, fence) for job, fence, _ in wanted))

    @rule(held=st.lists(claims, max_size=4))
    def renew(self, held):
        held = dict(held)
        kept = {each for each, fence in held.items() if self.model.held(each, fence)}
        told = self.store.renew(held).result()
        for each in kept:
            self.model.jobs[each].lease_until = self.clock.wall() + LEASE
        assert told.lost == set(held) - kept
        assert told.cancelled == {each for each in kept if self.model.jobs[each].cancel}

    @rule(claim=claims)
    def note(self, claim):
        self.count += 1
        sent = Submitted("http://gpu", f"p{self.count}", f"t{self.count}", "c")
        future = self.store.note_submission(*claim, sent)
        job = self.model.held(*claim)
        if job is None:
            with pytest.raises(LeaseLostError):
                future.result()
        else:
            future.result()
            job.submissions.append(sent.token)
            # The clock stands still, and what is sent later is later.
            self.clock.advance(0.01)

    @rule(claim=claims)
    def forget(self, claim):
        job = self.model.jobs.get(claim[0])
        if job is not None and job.submissions:
            self.store.forget_submission(job.id, job.submissions.pop(0)).result()

    @rule(claim=claims, end=st.sampled_from(ENDS))
    def settle(self, claim, end):
        future = self.store.settle(*claim, end, {"status": end.value}, summary=f"was {end}")
        job = self.model.held(*claim)
        if job is None:
            with pytest.raises(LeaseLostError):
                future.result()
        else:
            settled, outcome = future.result()
            self.model.end(self.clock.wall(), job, end.value)
            assert (settled.state, settled.summary) == (end, f"was {end}")
            assert outcome == self.store.outcome(job.id) == {"status": end.value}

    @rule(claim=claims)
    def release(self, claim):
        future = self.store.release(*claim, "drained")
        job = self.model.held(*claim)
        if job is None:
            with pytest.raises(LeaseLostError):
                future.result()
        else:
            future.result()
            job.state, job.lease_until = "queued", None

    @rule(job=jobs)
    def cancel(self, job):
        known = self.model.jobs.get(job)
        assert (self.store.cancel(job).result() is None) == (known is None)
        if known is not None:
            self.model.cancel(self.clock.wall(), known)

    @rule(job=jobs)
    def retry(self, job):
        known = self.model.jobs.get(job)
        assert (self.store.retry(job).result() is None) == (known is None)
        if known is not None:
            self.model.retry(self.clock.wall(), known)

    @rule(job=jobs, priority=st.integers(-2, 9))
    def set_priority(self, job, priority):
        known = self.model.jobs.get(job)
        assert (self.store.set_priority(job, priority).result() is None) == (known is None)
        if known is not None:
            known.priority = priority

    @rule(on=st.booleans())
    def pause(self, on):
        self.store.pause(on, "lunch").result()
        self.model.paused = on
        assert self.store.paused() == ("lunch" if on else None)

    @rule(seconds=st.sampled_from([0.5, 5, 14, 31]))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @rule(states=st.sets(st.sampled_from(ENDS)), ago=st.sampled_from([0, 10]))
    def purge(self, states, ago):
        self.clock.advance(0.01)
        before = self.clock.wall() - ago
        told = self.store.purge(before, states).result()
        assert told == self.model.purge(before, {each.value for each in states}, 1_000)

    @rule(job=consumes(jobs))
    def look(self, job):
        known = self.model.jobs.get(job)
        story = [event.kind for event in self.store.story(job)]
        if known is None:
            assert story == []
            assert self.store.body(job) is None
        else:
            assert story[0] == "accepted"
            assert story.count("accepted") == 1
            assert story.count("delivered") == known.delivered <= 1
            assert self.store.body(job) == {"graph": {}}

    @invariant()
    def both_say_the_same(self):
        if self.store is None:
            return
        stored = self.store.jobs(limit=1_000, newest_first=False)
        fields = ("id", "number", "user", "key", "order", "state", "priority", "deadline", "tries",
                  "worker", "cancel", "ended")  # fmt: skip
        told = [tuple(getattr(job, name) for name in fields) for job in stored]
        wanted = sorted(self.model.jobs.values(), key=lambda job: job.number)
        assert told == [tuple(getattr(job, name) for name in fields) for job in wanted]
        counts = self.store.counts()
        assert sum(counts.values()) == len(wanted)
        assert counts[JobState.QUEUED] == sum(job.state == "queued" for job in wanted)

    def teardown(self):
        self.store.close()
        self.clock.__exit__(None, None, None)
        self.remove()


def run(make, examples):
    machine = type("Queue", (Queue,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(180)
def test_sqlite_does_what_the_model_does(empty_file):
    def make():
        folder = tempfile.TemporaryDirectory(prefix="holdfast-jobs-")
        return shutil.copy(empty_file, Path(folder.name) / "jobs.db"), folder.cleanup

    run(make, 40)


@pytest.mark.timeout(180)
def test_postgresql_does_what_the_model_does(postgres):
    url = postgres.database()
    JobStore(url).close()
    names = "job, job_body, job_event, job_file, submission, counter, share, pace, setting, upload"

    def make():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {names}")
        return url, lambda: None

    run(make, 10)
