"""How jobs end, and what is written on the way: only by who has them, as the fence shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.machines.tenure import JobState, Tenure
from holdfast.stores.jobs import rows, tables
from holdfast.stores.jobs.counters import Space, free_name, take_numbers
from holdfast.stores.jobs.records import LeaseLostError, NewFile, StoredJob, Submitted
from holdfast.stores.jobs.story import tell

_J = tables.job.c
FILE_KEY = "holdfast_file"
"""In an outcome's outputs ``{"holdfast_file": 3}`` stands for the third new file's name."""
MEMORY = 50
"""Jobs over which the time that a kind takes is averaged."""
_OF: sa.BindParameter[str] = sa.bindparam("of")
# Built once: to build a statement takes longer than to run it.
_TENURE = sa.select(
    _J.id, _J.user, _J.signature, _J.state, _J.fence, _J.lease_until, _J.tries, _J.cancel,
    _J.started, _J.deadline,
).where(_J.id == _OF)  # fmt: skip
_ENDED = rows.changing("ended", "summary")
_OUTCOME = (
    sa.update(tables.job_body)
    .where(tables.job_body.c.job == _OF)
    .values(outcome=sa.bindparam("new_outcome"))
)
_SENT = sa.insert(tables.submission)
_FORGET_ALL_SENT = sa.delete(tables.submission).where(tables.submission.c.job == _OF)
_FORGET_SENT = _FORGET_ALL_SENT.where(tables.submission.c.token == sa.bindparam("sent"))
_FORGET_FILES = sa.delete(tables.job_file).where(tables.job_file.c.job == _OF)
_NEW_FILE = sa.insert(tables.job_file)
_PACE = sa.select(tables.pace).where(tables.pace.c.signature == _OF)
_NEW_PACE = (
    sa.update(tables.pace)
    .where(tables.pace.c.signature == _OF)
    .values({name: sa.bindparam(f"new_{name}") for name in ("count", "mean", "last")})
)


def note_submission(
    connection: Connection, now: float, job: str, fence: int, sent: Submitted
) -> None:
    """Keep what is about to be sent to a server, before it is.

    Raises:
        LeaseLostError: the job is somebody else's now.
    """
    _held(connection, job, fence)
    # A worker that was not told of a commit asks again.
    forget_submission(connection, now, job, sent.token)
    connection.execute(
        _SENT,
        {
            "token": sent.token,
            "job": job,
            "server": sent.server,
            "prompt_id": sent.prompt_id,
            "client_id": sent.client_id,
            "changed": sent.changed,
            "at": now,
        },
    )
    tell(connection, now, job, "submitted", {"server": sent.server, "changed": sent.changed})


def forget_submission(connection: Connection, _now: float, job: str, token: str) -> None:
    """Nothing of a submission is left on its server."""
    connection.execute(_FORGET_SENT, {"of": job, "sent": token})


def settle(
    connection: Connection,
    now: float,
    job: str,
    fence: int,
    *,
    end: JobState,
    outcome: Mapping[str, Any],
    files: Sequence[NewFile],
    summary: str,
) -> tuple[StoredJob, dict[str, Any]]:
    """End a job, with its files under names of their own; the outcome comes back with the names.

    Raises:
        LeaseLostError: the job is somebody else's now, and nothing was written.
    """
    row, tenure = _held(connection, job, fence)
    ended = tenure.settled(fence, end)
    assert ended is not None  # noqa: S101 - it is held
    connection.execute(_FORGET_FILES, {"of": job})
    named = _name_files(connection, row.user, job, files)
    final = rows.sendable(_with_names(dict(outcome), named))
    _end(connection, now, job, ended, final, summary)
    connection.execute(_FORGET_ALL_SENT, {"of": job})
    if end is JobState.DELIVERED and row.signature:
        seconds = outcome.get("seconds")
        _learn(connection, now, row.signature, float(seconds) if seconds else now - row.started)
    tell(
        connection,
        now,
        job,
        end.value,
        {"summary": summary, "files": len(files)},
    )
    return _job(connection, job), final


def release(connection: Connection, now: float, job: str, fence: int, why: str) -> StoredJob:
    """Give a job back; what it has on a server stays there, to be found by the next worker.

    Raises:
        LeaseLostError: the job is somebody else's now.
    """
    _row, tenure = _held(connection, job, fence)
    free = tenure.released(fence)
    assert free is not None  # noqa: S101 - it is held
    connection.execute(sa.update(tables.job).where(_J.id == job).values(**rows.of_tenure(free)))
    tell(connection, now, job, "released", {"why": why})
    return _job(connection, job)


def cancel(connection: Connection, now: float, job: str) -> StoredJob | None:
    """Ask for a job's end; one that waits ends at once. None if there is no such job."""
    row = _tenure(connection, job)
    if row is None:
        return None
    left = connection.execute(
        sa.select(sa.literal(1)).where(tables.submission.c.job == job).limit(1)
    ).first()
    tenure = rows.tenure_of(row)
    off = tenure.called_off(left=left is not None)
    if off != tenure:
        if off.state is JobState.CANCELLED:
            words = "cancelled before it began"
            _end(connection, now, job, off, {"status": "cancelled"}, words)
            tell(connection, now, job, "cancelled", {"summary": words})
        else:
            connection.execute(sa.update(tables.job).where(_J.id == job).values(cancel=True))
            tell(connection, now, job, "cancel_asked")
    return _job(connection, job)


def retry(connection: Connection, now: float, job: str) -> StoredJob | None:
    """Put a job that failed or was cancelled into the queue again; None if there is no such job."""
    row = _tenure(connection, job)
    if row is None:
        return None
    again = rows.tenure_of(row).again()
    if again is not None:
        late = row.deadline is not None and row.deadline <= now
        connection.execute(
            sa.update(tables.job)
            .where(_J.id == job)
            .values(
                **rows.of_tenure(again),
                number=take_numbers(connection, "job"),
                ended=None,
                started=None,
                summary="",
                hidden=False,
                deadline=None if late else row.deadline,
            )
        )
        connection.execute(_FORGET_FILES, {"of": job})
        connection.execute(_OUTCOME, {"of": job, "new_outcome": None})
        tell(connection, now, job, "retried", {"deadline_dropped": late})
    return _job(connection, job)


def dead_letter(connection: Connection, now: float, job: str, kind: str, words: str) -> None:
    """End a job as failed where no worker has it, or none that counts."""
    row = _tenure(connection, job)
    if row is None:
        return
    tenure = rows.tenure_of(row)
    ended = Tenure(JobState.FAILED, tenure.fence + 1, None, tenure.tries, tenure.cancel)
    outcome = {"status": "failed", "failure": {"kind": kind, "message": words}, "attempts": []}
    _end(connection, now, job, ended, outcome, words)
    connection.execute(_FORGET_ALL_SENT, {"of": job})
    tell(connection, now, job, "failed", {"summary": words})


def _end(  # noqa: PLR0917 - a row's worth of values
    connection: Connection,
    now: float,
    job: str,
    tenure: Tenure,
    outcome: Mapping[str, Any],
    summary: str,
) -> None:
    words = rows.told(summary, rows.SUMMARY)
    connection.execute(_ENDED, rows.changed(job, tenure, ended=now, summary=words))
    text = rows.to_json("outcome", outcome)
    kept = connection.execute(_OUTCOME, {"of": job, "new_outcome": text})
    if not kept.rowcount:  # what it carried was lost, but not that it has ended
        lost = {"job": job, "payload": "null", "outcome": text}
        connection.execute(sa.insert(tables.job_body), lost)


def _tenure(connection: Connection, job: str) -> sa.Row[*tuple[Any, ...]] | None:
    return connection.execute(_TENURE, {"of": job}).first()


def _held(connection: Connection, job: str, fence: int) -> tuple[sa.Row[*tuple[Any, ...]], Tenure]:
    row = _tenure(connection, job)
    tenure = None if row is None else rows.tenure_of(row)
    if row is None or tenure is None or not tenure.holds(fence):
        raise LeaseLostError(f"job {job} is no longer this worker's (its fence was {fence})")
    return row, tenure


def _job(connection: Connection, job: str) -> StoredJob:
    return rows.job_of(connection.execute(rows.JOB, {"of": job}).one())


def _name_files(
    connection: Connection, user: str, job: str, files: Sequence[NewFile]
) -> list[dict[str, str]]:
    named: list[dict[str, str]] = []
    for position, each in enumerate(files):
        space = Space(user, each.type, each.subfolder)
        filename = free_name(connection, space, each.filename)
        connection.execute(
            _NEW_FILE,
            {
                "job": job, "position": position, "node": each.node, "user": user,
                "type": each.type, "subfolder": each.subfolder, "filename": filename,
                "sha256": each.sha256, "size": each.size, "media_type": each.media_type,
                "width": each.width, "height": each.height, "suspect": each.suspect,
            },
        )  # fmt: skip
        named.append({"filename": filename, "subfolder": each.subfolder, "type": each.type})
    return named


def _with_names(outcome: dict[str, Any], named: list[dict[str, str]]) -> dict[str, Any]:
    outputs = outcome.get("outputs")
    if not isinstance(outputs, dict):
        return outcome

    def filled(item: Any) -> Any:
        # A server's own words may look like a mark of ours.
        at = item.get(FILE_KEY) if isinstance(item, dict) else None
        if type(at) is int and at in range(len(named)):  # 0.0 and False are as if they were 0
            rest = {name: value for name, value in item.items() if name != FILE_KEY}
            return rest | named[at]
        return item

    outcome["outputs"] = {
        node: {
            name: [filled(item) for item in listed] if isinstance(listed, list) else listed
            for name, listed in shown.items()
        }
        for node, shown in outputs.items()
        if isinstance(shown, dict)
    }
    return outcome


def _learn(connection: Connection, now: float, signature: str, seconds: float) -> None:
    known = connection.execute(_PACE, {"of": signature}).first()
    if known is None:
        first = {"signature": signature, "count": 1, "mean": seconds, "last": now}
        connection.execute(sa.insert(tables.pace), first)
        return
    count = min(MEMORY, int(known[1]) + 1)
    mean = known.mean + (seconds - known.mean) / count
    new = {"new_count": count, "new_mean": mean, "new_last": now}
    connection.execute(_NEW_PACE, {"of": signature, **new})
