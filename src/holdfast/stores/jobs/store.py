"""`JobStore`: jobs that outlive every process, in SQLite or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from itertools import chain, islice
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from holdfast.machines.tenure import Calendar, JobState
from holdfast.policies import checks
from holdfast.ports import ambient
from holdfast.stores import address
from holdfast.stores.jobs import accepting, claiming, opening, reading, rows, settling, tables
from holdfast.stores.jobs.committing import Committer
from holdfast.stores.jobs.records import (
    Claim,
    JobEvent,
    JobFile,
    NewFile,
    NewJob,
    Renewal,
    StoredJob,
    Submitted,
    Upload,
)
from holdfast.stores.jobs.story import tell

T = TypeVar("T")
_J = tables.job.c


class JobStore:
    """A queue of jobs, with their stories and files. Safe across threads and processes.

    What writes gives a future, and that is done when the change is on the disk: call `result()`
    in plain code, and await `asyncio.wrap_future` of it in async code. What reads blocks for as
    long as the database takes.

    Args:
        url: a path, ``sqlite:///jobs.db`` or ``postgresql://user:password@host/database``.
        lease_seconds: how long a worker may be silent before its jobs are given to others.
        max_queued: jobs that may wait and run.
        max_queued_per_user: the same for one user; None for no limit.
        max_tries: workers that may go away under a job before it is given up.

    Raises:
        BadInputError: an argument is wrong, or the store can never be used as things are.
        SchemaTooNewError: a newer Holdfast made it.
        StoreUnavailableError: it cannot be reached now.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        lease_seconds: float = 30.0,
        max_queued: int = 100_000,
        max_queued_per_user: int | None = None,
        max_tries: int = 10,
    ) -> None:
        checks.number("lease_seconds", lease_seconds, above=0, unit="seconds")
        checks.whole("max_queued", max_queued, at_least=1)
        checks.whole("max_tries", max_tries, at_least=1)
        if max_queued_per_user is not None:
            checks.whole("max_queued_per_user", max_queued_per_user, at_least=1)
        self.lease_seconds = lease_seconds
        self._max_tries = max_tries
        self._address = address.parse(url)
        self.shown = self._address.shown
        """Where it lies, without credentials."""
        self._engine = opening.opened(self._address)
        self._committer = Committer(self._engine, self._address)
        self._calendar = Calendar()
        self._calendar.doubtful(ambient.wall(), ambient.now(), lease_seconds)
        self.max_queued = max_queued
        self._census = accepting.Census(max_queued, max_queued_per_user)

    @property
    def engine(self) -> Engine:
        """The database, for tables that stand beside the jobs."""
        return self._engine

    def close(self, seconds: float = 10.0) -> bool:
        """Write what waits and let go; whether all was written in time."""
        done = self._committer.close(seconds)
        self._engine.dispose()
        return done

    def write(
        self,
        write: Callable[[Connection, float], T],
        *,
        lasting: bool = True,
        soon: bool = True,
    ) -> Future[T]:
        """Have a function of (connection, now) run in the next commit.

        Args:
            write: what to do.
            lasting: whether it must survive a power cut as well as the death of processes. Who has
                a job, what was sent where, and stories need not: without them a job is run again.
            soon: whether somebody waits for it; else it shares the next commit.

        Raises:
            StoreUnavailableError: the store is closed, or too much waits.
        """
        return self._committer.ask(write, lasting=lasting, soon=soon)

    # Coming in --------------------------------------------------------------------------

    def accept(self, jobs: Sequence[NewJob]) -> Future[tuple[StoredJob, ...]]:
        """Take jobs in, all or none. The same user's job of the same key is not made twice.

        Raises:
            BadInputError: a field is wrong (at once, or in the future if an id is taken).
            QueueFullError: in the future: there is no room.
            StoreUnavailableError: in the future: the store cannot be written.
        """
        prepared = [accepting.prepare(each) for each in jobs]
        census = self._census
        return self._committer.ask(
            lambda on, now: accepting.accept(on, now, prepared, census),
            together=self._accept_together,
            about=prepared,
        )

    def _accept_together(
        self, on: Connection, now: float, several: Sequence[Sequence[accepting.Prepared]]
    ) -> list[tuple[StoredJob, ...]]:
        jobs = iter(accepting.accept(on, now, list(chain(*several)), self._census))
        return [tuple(islice(jobs, len(each))) for each in several]

    def accept_all(self, jobs: Iterable[NewJob]) -> Future[tuple[StoredJob, ...]]:
        """As `accept`, for so many jobs that they are not held in memory together.

        The writing thread reads ``jobs``, and whoever else writes waits meanwhile, about a second
        for every three thousand; what ``jobs`` raises, the future raises.
        """
        return self.write(lambda on, now: accepting.accept_all(on, now, jobs, self._census))

    def put_upload(  # noqa: PLR0917 - a row's worth of values
        self, user: str, type_: str, subfolder: str, filename: str, sha256: str, size: int
    ) -> Future[None]:
        """Keep by which name a user's file is known; an earlier one of that name is replaced."""
        table = tables.upload
        key = {"user": user, "type": type_, "subfolder": subfolder, "filename": filename}

        def write(on: Connection, now: float) -> None:
            on.execute(sa.delete(table).where(*(table.c[name] == key[name] for name in key)))
            on.execute(sa.insert(table).values(**key, sha256=sha256, size=size, at=now))

        return self.write(write)

    # For workers ------------------------------------------------------------------------

    def claim(
        self, worker: str, limit: int = 1, *, order: str | None = None
    ) -> Future[tuple[Claim, ...]]:
        """Take up to ``limit`` jobs, of one order or of all."""
        return self.write(
            lambda on, now: claiming.claim(
                on,
                now,
                worker,
                limit,
                lease=self.lease_seconds,
                max_tries=self._max_tries,
                order=order,
                doubtful=self._calendar.doubtful(now, ambient.now(), self.lease_seconds),
            ),
            lasting=False,
        )

    def renew(self, held: Mapping[str, int]) -> Future[Renewal]:
        """Keep jobs, by id and fence, for another `lease_seconds`."""
        kept = dict(held)
        return self.write(
            lambda on, now: claiming.renew(on, now, kept, lease=self.lease_seconds), lasting=False
        )

    def reclaim(self, worker: str) -> Future[int]:
        """End the leases of a worker that is known to be gone, so that its jobs go on at once.

        Its name must be one that no living process has.
        """
        return self.write(lambda on, _now: claiming.reclaim(on, worker), lasting=False)

    def note_submission(self, job: str, fence: int, sent: Submitted) -> Future[None]:
        """Keep what is about to be sent. `LeaseLostError` if the job is somebody else's."""
        return self.write(
            lambda on, now: settling.note_submission(on, now, job, fence, sent), lasting=False
        )

    def forget_submission(self, job: str, token: str) -> Future[None]:
        """Nothing of a submission is left on its server."""
        return self.write(
            lambda on, now: settling.forget_submission(on, now, job, token), lasting=False
        )

    def settle(
        self,
        job: str,
        fence: int,
        end: JobState,
        outcome: Mapping[str, Any],
        *,
        files: Sequence[NewFile] = (),
        summary: str = "",
    ) -> Future[tuple[StoredJob, dict[str, Any]]]:
        """End a job. `LeaseLostError` if it is somebody else's; then nothing was written."""
        return self.write(
            lambda on, now: settling.settle(
                on, now, job, fence, end=end, outcome=outcome, files=files, summary=summary
            )
        )

    def release(self, job: str, fence: int, why: str = "") -> Future[StoredJob]:
        """Give a job back undone. `LeaseLostError` if it is somebody else's."""
        return self.write(lambda on, now: settling.release(on, now, job, fence, why), lasting=False)

    # For people -------------------------------------------------------------------------

    def cancel(self, job: str) -> Future[StoredJob | None]:
        """Ask for a job's end; None if there is no such job."""
        return self.write(lambda on, now: settling.cancel(on, now, job))

    def retry(self, job: str) -> Future[StoredJob | None]:
        """Queue a job that failed or was cancelled once more; None if there is no such job."""

        def write(on: Connection, now: float) -> StoredJob | None:
            self._census.forget()
            return settling.retry(on, now, job)

        return self.write(write)

    def set_priority(self, job: str, priority: int) -> Future[StoredJob | None]:
        """Move a job that waits; None if there is no such job."""
        accepting.check_priority(priority)

        def write(on: Connection, now: float) -> StoredJob | None:
            on.execute(sa.update(tables.job).where(_J.id == job).values(priority=priority))
            found = reading.job(on, job)
            if found is not None:
                tell(on, now, job, "priority", {"priority": priority})
            return found

        return self.write(write)

    def hide(self, jobs: Collection[str] | None, user: str | None = None) -> Future[int]:
        """Leave ended jobs out of lists, as ComfyUI's history does on request; None for all."""
        ended = [each.value for each in JobState if each.ended]

        def write(on: Connection, _now: float) -> int:
            change = sa.update(tables.job).where(_J.state.in_(ended), _J.hidden.is_(False))
            if user is not None:
                change = change.where(_J.user == user)
            change = change.values(hidden=True)
            if jobs is None:
                return int(on.execute(change).rowcount)
            some = rows.chunks(sorted(set(jobs)))
            return sum(int(on.execute(change.where(_J.id.in_(each))).rowcount) for each in some)

        return self.write(write)

    def record(self, job: str, kind: str, data: Mapping[str, Any] | None = None) -> Future[None]:
        """Add a line to a job's story."""
        return self.write(lambda on, now: tell(on, now, job, kind, data), lasting=False, soon=False)

    def pause(self, on: bool, reason: str = "") -> Future[None]:  # noqa: FBT001 - reads as said
        """Give no more jobs to workers, or do so again."""
        return self.put_setting(tables.PAUSED, (reason or "paused") if on else None)

    def put_setting(self, name: str, value: Any) -> Future[None]:
        """Keep a setting, as JSON."""
        rows.label("name", name)
        text = rows.to_json("value", value, 1_000_000)
        table = tables.setting

        def write(on: Connection, _now: float) -> None:
            on.execute(sa.delete(table).where(table.c.name == name))
            on.execute(sa.insert(table).values(name=name, value=text))

        return self.write(write)

    def purge(
        self,
        before: float,
        states: Collection[JobState] = (JobState.DELIVERED, JobState.CANCELLED),
        limit: int = 1_000,
    ) -> Future[int]:
        """Forget up to ``limit`` jobs that ended before ``before`` (s since 1970); how many."""
        wanted = [JobState(each).value for each in states if JobState(each).ended]

        def write(on: Connection, _now: float) -> int:
            ids = list(
                on.execute(
                    sa.select(_J.id)
                    .where(_J.state.in_(wanted), _J.ended < before)
                    .order_by(_J.ended)
                    .limit(limit)
                ).scalars()
            )
            for column in (
                tables.job_body.c.job,
                tables.job_event.c.job,
                tables.job_file.c.job,
                tables.submission.c.job,
                tables.job.c.id,
            ):
                for some in rows.chunks(ids):
                    on.execute(sa.delete(column.table).where(column.in_(some)))
            return len(ids)

        return self.write(write)

    # Reading ----------------------------------------------------------------------------

    def job(self, job_id: str) -> StoredJob | None:
        """One job, or None."""
        return self.read(lambda on: reading.job(on, job_id))

    def jobs(
        self,
        *,
        states: Collection[JobState] | None = None,
        user: str | None = None,
        order: str | None = None,
        search: str = "",
        limit: int = 100,
        before: int | None = None,
        newest_first: bool = True,
        hidden: bool = True,
    ) -> list[StoredJob]:
        """Jobs, page by page.

        Args:
            states: only these.
            user: only theirs.
            order: only of this batch.
            search: part of the id, name, prompt, seed, model, order or summary.
            limit: how many at most.
            before: the number of the last job of the page before this one.
            newest_first: or the oldest.
            hidden: those too that were taken out of the history.
        """
        return self.read(
            lambda on: reading.jobs(
                on,
                states=states,
                user=user,
                order=order,
                search=search,
                limit=limit,
                before=before,
                newest_first=newest_first,
                hidden=hidden,
            )
        )

    def ended_since(self, since: float, limit: int = 1_000) -> list[StoredJob]:
        """Jobs that have ended since then (s since 1970), the oldest end first."""
        return self.read(lambda on: reading.ended_since(on, since, limit))

    def counts(self, user: str | None = None, order: str | None = None) -> dict[JobState, int]:
        """How many jobs there are in each state."""
        return self.read(lambda on: reading.counts(on, user, order))

    def body(self, job_id: str) -> dict[str, Any] | None:
        """What a job carries; None if there is no such job or it is damaged."""
        found = self.read(lambda on: reading.body(on, job_id, "payload"))
        return found if isinstance(found, dict) else None

    def outcome(self, job_id: str) -> dict[str, Any] | None:
        """How a job ended; None if it has not."""
        found = self.read(lambda on: reading.body(on, job_id, "outcome"))
        return found if isinstance(found, dict) else None

    def bodies(self, job_ids: Collection[str]) -> dict[str, tuple[Any, Any]]:
        """Payloads and outcomes of several jobs, by id."""
        return self.read(lambda on: reading.bodies(on, job_ids))

    def files(self, job_id: str) -> list[JobFile]:
        """The files of a job."""
        return self.read(lambda on: reading.files(on, job_id))

    def find_file(
        self, filename: str, subfolder: str = "", type_: str = "output", user: str | None = None
    ) -> JobFile | None:
        """The file that bears a name."""
        return self.read(lambda on: reading.find_file(on, filename, subfolder, type_, user))

    def find_upload(
        self, user: str, filename: str, subfolder: str = "", type_: str = "input"
    ) -> Upload | None:
        """The file that a user sent under a name."""
        return self.read(lambda on: reading.find_upload(on, user, filename, subfolder, type_))

    def uploads(self, user: str, limit: int = 1_000) -> list[Upload]:
        """The files that a user sent, the newest first."""
        return self.read(lambda on: reading.uploads(on, user, limit))

    def story(self, job_id: str) -> list[JobEvent]:
        """What happened to a job."""
        return self.read(lambda on: reading.story(on, job_id))

    def submissions(self, job_id: str) -> list[Submitted]:
        """What of a job may be on servers."""
        return self.read(lambda on: reading.submissions(on, job_id))

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting that was kept."""
        found = self.read(lambda on: reading.setting(on, name))
        return default if found is None else found

    def paused(self) -> str | None:
        """Why no jobs are given to workers; None if they are."""
        found = self.setting(tables.PAUSED)
        return None if found is None else str(found)

    def eta(self, order: str | None = None) -> float | None:
        """Seconds until all is done, as far as that is known; None while nothing runs."""

        def read(on: Connection) -> float | None:
            unknown = reading.typical(on) or claiming.UNKNOWN_SECONDS
            return reading.eta(on, order, unknown)

        return self.read(read)

    def used_blobs(self, digests: Collection[str]) -> set[str]:
        """Which of these contents a job's file or an upload refers to."""
        return self.read(lambda on: reading.used_blobs(on, digests))

    def read(self, question: Callable[[Connection], T]) -> T:
        """Ask the database something; it blocks as long as that takes.

        Raises:
            StoreUnavailableError: it cannot be read now.
        """
        self._committer.refuse_heirs()
        try:
            with self._engine.connect() as connection:
                return question(connection)
        except (*opening.TROUBLES, UnicodeEncodeError, OverflowError) as error:
            raise opening.told(error, self._address) from None
