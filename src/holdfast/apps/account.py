"""What happened, put together from the events: what was delivered, what failed, what was mended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from holdfast.comfyui import Failure, RunResult, events


@dataclass(frozen=True, slots=True)
class Mishap:
    """One attempt that came to nothing, and what was done about it."""

    job: str
    server: str
    failure: Failure
    recovery: str


@dataclass(slots=True)
class Account:
    """Collects events; says nothing by itself."""

    delivered: dict[str, RunResult] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    mishaps: list[Mishap] = field(default_factory=list)
    outages: list[tuple[str, str]] = field(default_factory=list)
    """Servers that were out for a while: (server, reason)."""
    withdrawn: list[tuple[str, str, str]] = field(default_factory=list)
    """What was taken back from servers: (job, server, what became of it)."""
    left_behind: list[tuple[str, str, str]] = field(default_factory=list)
    """What may still run somewhere: (job, server, why)."""

    uncopied: dict[str, str] = field(default_factory=dict)
    """Jobs that are delivered, but whose files are not all where they were wanted, and why."""
    unrun: dict[str, str] = field(default_factory=dict)
    """Jobs that failed without being run, and why."""

    def note(self, event: object) -> None:
        """Take an event into account."""
        match event:
            case events.JobDelivered(job=job, result=result):
                self.delivered[job] = result
            case events.JobFailed(job=job, failure=failure):
                self.failed[job] = failure
            case events.AttemptFailed():
                self.mishaps.append(Mishap(event.job, event.server, event.failure, event.recovery))
            case events.Withdrawn(clean=True):
                self.withdrawn.append((event.job, event.server, event.words))
            case events.ServerDown(server=server, reason=reason):
                self.outages.append((server, reason))

    def begin_anew(self) -> None:
        """Forget what has happened so far."""
        for each in (self.delivered, self.failed, self.uncopied, self.unrun):
            each.clear()
        for listed in (self.mishaps, self.outages, self.withdrawn, self.left_behind):
            listed.clear()

    @property
    def mended(self) -> dict[str, list[Mishap]]:
        """Jobs that were delivered in spite of mishaps, with those mishaps in order."""
        found: dict[str, list[Mishap]] = {}
        for mishap in self.mishaps:
            if mishap.job in self.delivered:
                found.setdefault(mishap.job, []).append(mishap)
        return found

    @property
    def changed(self) -> dict[str, tuple[str, ...]]:
        """Jobs whose workflow was changed to get a result, with what was changed."""
        return {
            job: result.degradations
            for job, result in self.delivered.items()
            if result.degradations
        }

    @property
    def suspects(self) -> list[tuple[str, str, str]]:
        """Delivered files that may not be what was wanted: (job, file, why)."""
        return [
            (job, file.filename, file.suspect)
            for job, result in self.delivered.items()
            for file in result.suspects
        ]

    @property
    def by_server(self) -> Counter[str]:
        """How many jobs each server delivered."""
        return Counter(result.server for result in self.delivered.values())

    @property
    def files(self) -> int:
        """How many files were delivered to where they were wanted."""
        return sum(
            len(result.files) for job, result in self.delivered.items() if job not in self.uncopied
        )
