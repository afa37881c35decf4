"""From rows to values and back. What cannot be read is told, and never stops the others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from holdfast.errors import BadInputError
from holdfast.machines.tenure import JobState, Tenure
from holdfast.stores.jobs import tables
from holdfast.stores.jobs.records import JobEvent, JobFile, StoredJob, Submitted

PROMPT = 2_000
"""Characters of a prompt that are kept for search."""
SUMMARY = 2_000
VALUES = 500
"""Values in one list of a statement, at most; SQLite may be built with a limit of 999."""
PAYLOAD = 64 * 2**20
"""Characters of a job's payload, at most."""

_J = tables.job.c
COLUMNS = (
    _J.id, _J.number, _J.name, _J.key, _J.user, _J.order_id, _J.state, _J.priority, _J.deadline,
    _J.signature, _J.client_id, _J.prompt, _J.seed, _J.model, _J.created, _J.started, _J.ended,
    _J.tries, _J.worker, _J.cancel, _J.estimate, _J.summary,
)  # fmt: skip
"""Of a `StoredJob`, in its order."""
JOB = sa.select(*COLUMNS).where(_J.id == sa.bindparam("of"))
"""One job, whose id is ``of``. Built once: to build a statement takes longer than to run it."""


def job_of(row: sa.Row[*tuple[Any, ...]]) -> StoredJob:
    """A job from the columns of `COLUMNS`; a state that nobody knows counts as failed."""
    return StoredJob(*(read(value) for read, value in zip(_READ, row, strict=False)))


def job_of_values(values: Mapping[str, Any]) -> StoredJob:
    """A job from the columns by name."""
    named = [values[column.name] for column in COLUMNS]
    named[6] = state_of(named[6])
    return StoredJob(*named)


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as one statement may have."""
    for start in range(0, len(values), VALUES):
        yield values[start : start + VALUES]


def state_of(value: object) -> JobState:
    """The state, or failed where it is none."""
    try:
        return JobState(str(value))
    except ValueError:
        return JobState.FAILED


def whole(value: object) -> int:
    """A whole number, or 0 where it is damaged."""
    return value if isinstance(value, int) else 0


def moment(value: object) -> float | None:
    """A time, or None where there is none or it is damaged."""
    return float(value) if isinstance(value, int | float) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


_READ: tuple[Callable[[Any], Any], ...] = (
    _text, whole, _text, _text, _text, _text, state_of, whole, moment,
    _text, _text, _text, _text, _text, lambda value: moment(value) or 0.0, moment, moment,
    whole, _text, lambda value: value == 1, moment, _text,
)  # fmt: skip
"""How each of `COLUMNS` is read: what is damaged in one job must not hide the others."""


def tenure_of(row: sa.Row[*tuple[Any, ...]]) -> Tenure:
    """What `machines.tenure` decides on, from a row with its columns."""
    return Tenure(
        state_of(row.state),
        whole(row.fence),
        moment(row.lease_until),
        whole(row.tries),
        row.cancel == 1,
    )


def of_tenure(tenure: Tenure) -> dict[str, Any]:
    """The columns to write."""
    return {
        "state": tenure.state.value,
        "fence": tenure.fence,
        "lease_until": tenure.lease_until,
        "tries": tenure.tries,
        "cancel": tenure.cancel,
    }


def changing(*more: str) -> sa.Update:
    """A statement that writes a tenure and ``more`` columns of a job; see `changed`."""
    names = ("state", "fence", "lease_until", "tries", "cancel", *more)
    new: dict[str, sa.BindParameter[Any]] = {name: sa.bindparam(f"new_{name}") for name in names}
    return sa.update(tables.job).where(_J.id == sa.bindparam("of")).values(new)


def changed(job: str, tenure: Tenure, **more: Any) -> dict[str, Any]:
    """What such a statement is given."""
    new = {f"new_{name}": value for name, value in (of_tenure(tenure) | more).items()}
    return {"of": job, **new}


def submitted_of(row: sa.Row[*tuple[Any, ...]]) -> Submitted:
    """A submission from its row."""
    return Submitted(row.server, row.prompt_id, row.token, row.client_id, bool(row.changed), row.at)


def file_of(row: sa.Row[*tuple[Any, ...]]) -> JobFile:
    """A file from its row."""
    return JobFile(
        row.job, row.node, row.position, row.filename, row.subfolder, row.type, row.sha256,
        row.size, row.media_type, row.width, row.height, row.suspect,
    )  # fmt: skip


def event_of(row: sa.Row[*tuple[Any, ...]]) -> JobEvent:
    """A line of a story from its row."""
    data = read_json(row.data)
    return JobEvent(row.job, row.seq, row.at, row.kind, data if isinstance(data, dict) else {})


def sendable(value: dict[str, Any]) -> dict[str, Any]:
    """``value`` as every reader of JSON takes it: no NaN, no halves of characters.

    Servers send both, and what they say beside a picture must not keep it from its owner.
    """
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return {_whole_text(name): _plain(each) for name, each in value.items()}
    except (TypeError, RecursionError):
        return value  # `to_json` says what is wrong
    return value


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {_whole_text(str(name)): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case str():
            return _whole_text(value)
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def _whole_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(field: str, value: Mapping[str, Any] | Any, limit: int = PAYLOAD) -> str:
    """``value`` as text.

    Raises:
        BadInputError: it is no JSON, or too large.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInputError(f"{field} must be JSON: {error}") from None
    if len(text) > limit:
        raise BadInputError(f"{field} must have at most {limit:,} characters, got {len(text):,}")
    return text


def read_json(text: str | None) -> Any:
    """What ``text`` holds, or None if it is damaged."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def label(field: str, value: str, limit: int = tables.NAME) -> str:
    """A text that is stored and compared as it is.

    Raises:
        BadInputError: it is none, too long, or has characters that a database does not keep.
    """
    given: object = value
    if not isinstance(given, str) or len(given) > limit or not _kept(given):
        raise BadInputError(
            f"{field} must be a text of at most {limit} characters without control characters, "
            f"got {value!r:.120}"
        )
    return value


def _kept(text: str) -> bool:
    return text.isprintable() or not any(
        ord(each) < 32 or 0xD800 <= ord(each) < 0xE000 for each in text
    )


def told(text: str, limit: int) -> str:
    """A text for people: cut, and without what a database does not keep."""
    clean = text[:limit].replace("\x00", "")
    return clean.encode("utf-8", "replace").decode("utf-8")
