"""Who has a job, and for how long: leases with fencing.

A worker has a job until its lease runs out; each claim carries a higher fence,
and whatever comes with an older fence is refused. So a worker that was
suspended, and wakes after somebody else took over, can do no harm.

Leases are counted by the wall clock, since they outlive machines. When the date
is changed, no lease is lost and none is kept for ever:

- forward: all leases seem to have run out. Whoever gives out jobs notices that
  the date moved and the monotonic clock did not (`Calendar`), and takes none
  away for the time of one lease, in which workers that live renew theirs.
- back: leases end later than any could. Such a lease is cut to one that begins
  now (`Tenure.cut`): who lives renews it, and of who is gone it runs out.

A process that begins after the change cannot know of it: a lease that has run
out by its clock has run out. The next worker finds the job's running submission
and joins it, so even then nothing is done twice. Machines that share a store
need clocks that agree within a third of a lease.

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

    def expired(self, now: float) -> bool:
        """Whether a worker had the job and is held to be gone."""
        if self.state is not JobState.RUNNING:
            return False
        return self.lease_until is None or now >= self.lease_until

    def ahead(self, now: float, lease: float) -> bool:
        """Whether the lease ends later than one given now could, by far: the date went back."""
        until = self.lease_until
        return self.state is JobState.RUNNING and until is not None and until > now + 2 * lease

    def cut(self, now: float, lease: float) -> Tenure:
        """A lease that is `ahead` begins now; any other stays."""
        return replace(self, lease_until=now + lease) if self.ahead(now, lease) else self

    def claimed(self, now: float, lease: float) -> Tenure | None:
        """A worker takes the job; None if it cannot be had."""
        lost = self.expired(now)
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


class Calendar:
    """Notices when the date is changed, and says for how long leases cannot be judged by it."""

    __slots__ = ("_offset", "_until")

    def __init__(self) -> None:
        self._offset: float | None = None
        self._until: float | None = None

    def doubtful(self, wall: float, monotonic: float, lease: float) -> bool:
        """Whether a lease that seems to have run out may be one whose worker lives.

        Args:
            wall: seconds since 1970.
            monotonic: seconds by a clock that is never set.
            lease: seconds.
        """
        offset = wall - monotonic
        if self._offset is not None and offset - self._offset > lease / 4:
            self._until = monotonic + lease
        self._offset = offset
        if self._until is not None and monotonic >= self._until:
            self._until = None
        return self._until is not None
