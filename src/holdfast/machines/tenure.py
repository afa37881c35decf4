"""Who has a job, and for how long: leases with fencing.

A worker has a job until its lease runs out; each claim carries a higher fence,
and whatever comes with an older fence is refused. So a worker that was
suspended, and wakes after somebody else took over, can do no harm.

Leases are counted by the wall clock, since they outlive machines. A clock that
jumps forward ends leases early: the next worker then finds the job's running
submission and joins it. One that jumps back would keep them for ever, so a
lease that lies further ahead than any could is held to have run out.

Source: Gray and Cheriton, "Leases", 1989; Kleppmann, "How to do distributed
locking", 2016 (fencing).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. Delivered, failed and cancelled are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERED = "delivered"
    FAILED = "failed"
    """The dead letter: it can be retried by hand."""
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who has a job."""

    state: JobState = JobState.QUEUED
    fence: int = 0
    lease_until: float | None = None
    """Seconds since 1970."""
    tries: int = 0
    """Leases that ran out."""
    cancel: bool = False

    def expired(self, now: float, lease: float) -> bool:
        """Whether a worker had the job and is held to be gone."""
        if self.state is not JobState.RUNNING:
            return False
        until = self.lease_until
        return until is None or now >= until or until > now + 2 * lease

    def claimed(self, now: float, lease: float) -> Tenure | None:
        """A worker takes the job; None if it cannot be had."""
        lost = self.expired(now, lease)
        if self.state is not JobState.QUEUED and not lost:
            return None
        return replace(
            self,
            state=JobState.RUNNING,
            fence=self.fence + 1,
            lease_until=now + lease,
            tries=self.tries + lost,
        )

    def holds(self, fence: int) -> bool:
        """Whether the claim with this fence is the one that counts."""
        return self.state is JobState.RUNNING and self.fence == fence

    def renewed(self, fence: int, now: float, lease: float) -> Tenure | None:
        """The worker is alive; None if it has the job no more."""
        return replace(self, lease_until=now + lease) if self.holds(fence) else None

    def released(self, fence: int) -> Tenure | None:
        """The worker gives the job back undone, which is no fault of the job."""
        if not self.holds(fence):
            return None
        return replace(self, state=JobState.QUEUED, lease_until=None)

    def settled(self, fence: int, end: JobState) -> Tenure | None:
        """The job has ended; None if it was not this worker's to end."""
        if not end.ended:
            raise ValueError(f"{end} is no end")
        return replace(self, state=end, lease_until=None) if self.holds(fence) else None

    def called_off(self, *, left: bool) -> Tenure:
        """Somebody wants no more of it.

        Args:
            left: whether something of it may be on a server, which a worker must take back.
        """
        if self.state.ended:
            return self
        if self.state is JobState.QUEUED and not left:
            return replace(self, state=JobState.CANCELLED, cancel=True)
        return replace(self, cancel=True)

    def again(self) -> Tenure | None:
        """The job is put into the queue once more; None if it has not failed or been cancelled."""
        if self.state not in (JobState.FAILED, JobState.CANCELLED):
            return None
        return replace(self, state=JobState.QUEUED, lease_until=None, tries=0, cancel=False)
