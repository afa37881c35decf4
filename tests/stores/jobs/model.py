"""What a job store promises, as plain dictionaries: the other side of the state machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

LEASE = 30.0
TRIES = 3
FULL, FULL_PER_USER = 12, 8
UNKNOWN = 10.0


@dataclass
class Modelled:
    """One job as it should be."""

    id: str
    number: int
    user: str
    key: str
    order: str
    priority: int
    deadline: float | None
    state: str = "queued"
    fence: int = 0
    lease_until: float | None = None
    tries: int = 0
    worker: str = ""
    cancel: bool = False
    ended: float | None = None
    submissions: list[str] = field(default_factory=list)
    delivered: int = 0

    @property
    def open(self):
        return self.state in {"queued", "running"}


class Model:
    """A queue without a disk."""

    def __init__(self):
        self.jobs: dict[str, Modelled] = {}
        self.paused = False
        self.numbers = 0
        self.used: dict[str, float] = {}
        self.virtual = 0.0

    def number(self):
        self.numbers += 1
        return self.numbers

    def accept(self, new):
        """Ids, or None if there is no room."""
        keys = {(job.user, job.key): job.id for job in self.jobs.values() if job.key}
        ids, fresh = [], []
        for each in new:
            held = keys.get((each.user, each.key)) if each.key else None
            if held is None:
                held = each.id
                fresh.append(each)
                if each.key:
                    keys[each.user, each.key] = each.id
            ids.append(held)
        waiting = [job for job in self.jobs.values() if job.open]
        if len(waiting) + len(fresh) > FULL and fresh:
            return None
        for user in {each.user for each in fresh}:
            own = sum(job.user == user for job in [*waiting, *fresh])
            if own > FULL_PER_USER:
                return None
        for each in fresh:
            self.jobs[each.id] = Modelled(
                each.id, self.number(), each.user, each.key, each.order, each.priority,
                each.deadline,
            )  # fmt: skip
        return ids

    def claim(self, now, worker, limit, order):
        """(id, fence, submissions) of each that is given out."""
        for job in list(self.jobs.values()):
            if job.state == "queued" and job.deadline is not None and job.deadline <= now:
                self.fail(now, job)
        given = []
        for job in sorted(self.jobs.values(), key=lambda job: job.number):
            wanted = order is None or job.order == order
            if job.state == "running" and wanted and job.lease_until <= now:
                if job.tries + 1 >= TRIES:
                    self.fail(now, job)
                elif len(given) < limit:
                    job.tries += 1
                    given.append(self.take(now, job, worker))
        while len(given) < limit and not self.paused:
            job = self.next(order)
            if job is None:
                break
            used = max(self.used.get(job.user, 0.0), self.virtual)
            self.used[job.user], self.virtual = used + UNKNOWN, used
            given.append(self.take(now, job, worker))
        return given

    def next(self, order):
        queued = [job for job in self.jobs.values() if job.state == "queued"]
        if order is not None:
            queued = [job for job in queued if job.order == order]
            return min(queued, key=lambda job: (-job.priority, job.number), default=None)
        if not queued:
            return None
        highest = max(job.priority for job in queued)
        queued = [job for job in queued if job.priority == highest]
        users = sorted({job.user for job in queued})
        user = min(users, key=lambda user: max(self.used.get(user, 0.0), self.virtual))
        own = [job for job in queued if job.user == user]
        return min(own, key=lambda job: (job.deadline or math.inf, job.number))

    def take(self, now, job, worker):
        job.state, job.worker, job.fence = "running", worker, job.fence + 1
        job.lease_until = now + LEASE
        return job.id, job.fence, tuple(job.submissions)

    def held(self, job_id, fence):
        job = self.jobs.get(job_id)
        return job if job and job.state == "running" and job.fence == fence else None

    def fail(self, now, job):
        job.fence += 1
        self.end(now, job, "failed")

    def end(self, now, job, state):
        job.state, job.lease_until, job.ended = state, None, now
        job.submissions = []
        job.delivered += state == "delivered"

    def cancel(self, now, job):
        if job.open:
            job.cancel = True
            if job.state == "queued" and not job.submissions:
                self.end(now, job, "cancelled")

    def retry(self, now, job):
        if job.state in {"failed", "cancelled"}:
            job.state, job.tries, job.cancel, job.ended = "queued", 0, False, None
            job.number = self.number()
            if job.deadline is not None and job.deadline <= now:
                job.deadline = None

    def purge(self, before, states, limit):
        gone = [job for job in self.jobs.values() if job.state in states and job.ended < before]
        gone = sorted(gone, key=lambda job: job.ended)[:limit]
        for job in gone:
            del self.jobs[job.id]
        return len(gone)
