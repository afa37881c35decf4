"""The part of the live source that reads and moves jobs: over a `JobStore`.

Everything here blocks for as long as the database takes; `live_source` calls it in a thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from itertools import islice
from typing import Any

import sqlalchemy as sa

from holdfast.apps.dashboard.phrases import cut, plural
from holdfast.apps.dashboard.series import MINUTE, MINUTES, Ended, series_of
from holdfast.apps.dashboard.sources import (
    STATES,
    AttemptView,
    FailureView,
    FileView,
    JobDetail,
    JobPage,
    JobRow,
    Overview,
    Series,
)
from holdfast.apps.dashboard.story import step_of
from holdfast.errors import BadInputError
from holdfast.ports import ambient
from holdfast.stores.jobs import JobState, JobStore, StoredJob, tables

MOST_ROWS = 100
MOST_STEPS = 300
MOST_FILES = 200
MOST_ENDED = 20_000
"""Jobs of the last hour that are looked at for a plot."""
MOST_RETRIED = 1_000
"""Dead letters that are queued again at once."""
MOST_WORKFLOW = 200_000
"""Characters of a workflow that are shown."""
WRITE_SECONDS = 30.0
_SERIES_SECONDS = 5.0
_ENDED = (JobState.DELIVERED, JobState.FAILED)


class LiveJobs:
    """Jobs of one store, as the pages show them."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._series: dict[str | None, tuple[float, Series]] = {}
        self._lock = threading.Lock()

    # Reading ----------------------------------------------------------------------------

    def overview(self, user: str | None) -> Overview:
        """The whole, at one look."""
        eta = self._store.eta() if user is None else None
        return Overview(self._counts(user), self._store.paused(), eta, self._series_for(user))

    def page(
        self, user: str | None, state: str, search: str, before: int | None, limit: int
    ) -> JobPage:
        """Some jobs, the newest first."""
        limit = max(1, min(limit, MOST_ROWS))
        states = [JobState(state)] if state in STATES else None
        found = self._store.jobs(
            states=states, user=user, search=search[:200], before=before, limit=limit + 1
        )
        shown = found[:limit]
        thumbs = self._thumbs([job.id for job in shown])
        return JobPage(
            tuple(row_of(job, thumbs.get(job.id, "")) for job in shown),
            self._counts(user),
            shown[-1].number if len(found) > limit else None,
        )

    def detail(self, job_id: str, user: str | None) -> JobDetail | None:
        """One job with all that is known of it."""
        job = self._find(job_id, user)
        if job is None:
            return None
        outcome = self._store.outcome(job_id) or {}
        files = tuple(
            FileView(
                each.filename, each.node, each.sha256, each.size, each.media_type, each.width,
                each.height, each.suspect,
            )
            for each in self._store.files(job_id)[:MOST_FILES]
        )  # fmt: skip
        thumb = next((each.sha256 for each in files if each.is_picture), "")
        story = self._store.story(job_id)
        if len(story) > MOST_STEPS:  # its beginning and its end tell the most
            story = story[: MOST_STEPS // 2] + story[-MOST_STEPS // 2 :]
        return JobDetail(
            row_of(job, thumb),
            job.deadline,
            job.key,
            job.order,
            job.client_id,
            job.worker,
            tuple(step_of(each.at, each.kind, each.data) for each in story),
            attempts_of(outcome),
            _texts(outcome.get("degradations")),
            _texts(outcome.get("notes")),
            files,
            failure_of(outcome.get("failure")),
            workflow_of(self._store.body(job_id)),
        )

    def owns_file(self, sha256: str, user: str | None) -> bool:
        """Whether a job that ``user`` may see has made it."""
        file = tables.job_file.c
        wanted = sa.select(sa.literal(1)).where(file.sha256 == sha256)
        if user is not None:
            wanted = wanted.where(file.user == user)
        with self._store.engine.connect() as connection:
            return connection.execute(wanted.limit(1)).first() is not None

    # Moving -----------------------------------------------------------------------------

    def cancel(self, job_id: str, user: str | None) -> str:
        """End a job that waits or runs."""
        job = self._must(job_id, user)
        if job.state.ended:
            raise BadInputError(f"the job has ended already: it is {job.state}")
        now = _done(self._store.cancel(job_id))
        if now is not None and now.state.ended:
            return "The job is cancelled"
        return "The job will be cancelled: it is being taken back from its server"

    def retry(self, job_id: str, user: str | None) -> str:
        """Queue a job again."""
        job = self._must(job_id, user)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise BadInputError(f"only a failed or cancelled job can be retried: it is {job.state}")
        _done(self._store.retry(job_id))
        return "The job is queued again"

    def retry_all(self, user: str | None) -> str:
        """Queue all dead letters again, the oldest first."""
        dead = self._store.jobs(
            states=[JobState.FAILED], user=user, limit=MOST_RETRIED, newest_first=False
        )
        for written in [self._store.retry(job.id) for job in dead]:
            _done(written)
        return f"{plural(len(dead), 'job is', 'jobs are')} queued again"

    def set_priority(self, job_id: str, priority: int, user: str | None) -> str:
        """Rank a job."""
        job = self._must(job_id, user)
        if job.state is not JobState.QUEUED:
            raise BadInputError(f"only a job that waits has a rank: it is {job.state}")
        _done(self._store.set_priority(job_id, priority))
        return f"The job has priority {priority}"

    def pause(self, reason: str) -> str:
        """Start no more jobs."""
        _done(self._store.pause(True, cut(reason, 200)))
        return "The queue is paused: what runs goes on, nothing new begins"

    def resume(self) -> str:
        """Start jobs again."""
        _done(self._store.pause(False))
        return "The queue goes on"

    # ------------------------------------------------------------------------------------

    def _find(self, job_id: str, user: str | None) -> StoredJob | None:
        job = self._store.job(job_id)
        return None if job is None or (user is not None and job.user != user) else job

    def _must(self, job_id: str, user: str | None) -> StoredJob:
        job = self._find(job_id, user)
        if job is None:
            raise BadInputError(f"there is no job {job_id!r:.100}")
        return job

    def _counts(self, user: str | None) -> dict[str, int]:
        return {state.value: count for state, count in self._store.counts(user).items()}

    def _series_for(self, user: str | None) -> Series:
        """The figures by the minute, counted anew every few seconds whoever asks."""
        now, wall = ambient.now(), ambient.wall()
        with self._lock:
            known = self._series.get(user)
            if known is not None and now - known[0] < _SERIES_SECONDS:
                return known[1]
        job = tables.job.c
        wanted = (
            sa.select(job.ended, job.created, job.state)
            .where(
                job.state.in_([state.value for state in _ENDED]),
                job.ended > wall - MINUTES * MINUTE,
            )
            .order_by(job.ended.desc())
            .limit(MOST_ENDED)
        )
        if user is not None:
            wanted = wanted.where(job.user == user)
        with self._store.engine.connect() as connection:
            ended = [
                Ended(row.ended, row.ended - row.created, row.state == JobState.DELIVERED.value)
                for row in connection.execute(wanted)
            ]
        series = series_of(ended, wall)
        with self._lock:
            if len(self._series) > 100:
                self._series.clear()
            self._series[user] = (now, series)
        return series

    def _thumbs(self, jobs: list[str]) -> dict[str, str]:
        """The first picture of each job."""
        file = tables.job_file.c
        wanted = (
            sa.select(file.job, file.sha256)
            .where(file.job.in_(jobs), file.media_type.startswith("image/"))
            .where(file.media_type.not_like("%svg%"))
            .order_by(file.position.desc())
            .limit(20 * MOST_ROWS)
        )
        with self._store.engine.connect() as connection:
            return {row.job: row.sha256 for row in connection.execute(wanted)}


def row_of(job: StoredJob, thumb: str) -> JobRow:
    """A job in a list."""
    return JobRow(
        id=job.id,
        number=job.number,
        name=cut(job.name, 120),
        user=job.user,
        state=job.state.value,
        created=job.created,
        started=job.started,
        ended=job.ended,
        tries=job.tries,
        priority=job.priority,
        summary=cut(job.summary, 240),
        prompt=cut(job.prompt, 240),
        model=cut(job.model, 100),
        seed=cut(job.seed, 40),
        estimate=job.estimate,
        cancelling=job.cancel and not job.state.ended,
        thumb=thumb,
    )


def attempts_of(outcome: Mapping[str, Any]) -> tuple[AttemptView, ...]:
    """The attempts that an outcome tells of."""
    return tuple(
        AttemptView(
            int(each["number"]) if isinstance(each.get("number"), int) else place,
            _text(each.get("server"), 200),
            float(each["seconds"]) if isinstance(each.get("seconds"), int | float) else None,
            _text(each.get("error"), 600),
            _text(each.get("recovery"), 300),
        )
        for place, each in enumerate(_dicts(outcome.get("attempts")), start=1)
    )


def failure_of(told: object) -> FailureView | None:
    """Why a job failed."""
    if not isinstance(told, dict) or not told:
        return None
    node = " ".join(_text(told.get(name), 100) for name in ("node_id", "node_type")).strip()
    traceback = told.get("traceback")
    return FailureView(
        _text(told.get("kind"), 100),
        _text(told.get("message"), 2_000),
        _text(told.get("category"), 100),
        node,
        _texts(traceback.splitlines() if isinstance(traceback, str) else traceback),
    )


def workflow_of(body: Mapping[str, Any] | None) -> str:
    """The graph as JSON, cut if it is long."""
    graph = (body or {}).get("graph", body)
    text = "" if graph is None else json.dumps(graph, indent=2, ensure_ascii=False)
    return text if len(text) <= MOST_WORKFLOW else text[:MOST_WORKFLOW] + "\n… (cut)"


def _dicts(value: object) -> Iterable[dict[str, Any]]:
    listed = value if isinstance(value, list) else []
    return islice((each for each in listed if isinstance(each, dict)), 100)


def _texts(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else []
    return tuple(_text(each, 500) for each in listed[:100])


def _text(value: object, length: int) -> str:
    return "" if value is None else str(value)[:length]


def _done(future: Future[Any]) -> Any:
    return future.result(WRITE_SECONDS)
