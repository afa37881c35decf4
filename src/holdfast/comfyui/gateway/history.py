"""Jobs as ComfyUI's `/queue` and `/history` show them. Pure.

A job that ended is shown as if one server had run it, whatever it took: the
messages are those of a plain run, and what Holdfast did for it stands under a
key of its own, ``holdfast``, which no client of ComfyUI looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.gateway.guard import SENSITIVE
from holdfast.stores.jobs.records import JobState, StoredJob

ENDED = (JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Record:
    """A job with all that belongs to it."""

    job: StoredJob
    payload: Mapping[str, Any]
    outcome: Mapping[str, Any]
    """How it ended; empty while it has not, and if that is damaged."""


def shown_number(job: StoredJob, payload: Mapping[str, Any]) -> float:
    """The number a client was told, and by which it expects the queue to be sorted."""
    given = payload.get("number")
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    return -job.number if payload.get("front") is True else job.number


def queue_item(job: StoredJob, payload: Mapping[str, Any]) -> list[Any]:
    """``[number, prompt_id, prompt, extra_data, outputs_to_execute]``, without secrets."""
    return [
        shown_number(job, payload),
        job.id,
        payload.get("graph") or {},
        shown_extra(job, payload),
        list(payload.get("targets") or []),
    ]


def shown_extra(job: StoredJob, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What came beside the graph, without what is for servers alone."""
    given = payload.get("extra_data")
    extra = dict(given) if isinstance(given, dict) else {}
    for name in SENSITIVE:
        extra.pop(name, None)
    if job.client_id:
        extra["client_id"] = job.client_id
    return extra | {"create_time": millis(job.created)}


def millis(seconds: float | None) -> int:
    """Seconds since 1970 as ComfyUI writes them."""
    return round((seconds or 0.0) * 1000)


def is_in_history(job: StoredJob) -> bool:
    """Whether a server would remember it: what was taken out of the queue leaves no trace."""
    return job.state in ENDED and not (job.state is JobState.CANCELLED and job.started is None)


def history_entry(record: Record) -> dict[str, Any]:
    """What `/history` holds of a job that ended."""
    job, outcome = record.job, record.outcome
    outputs = outcome.get("outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    delivered = job.state is JobState.DELIVERED
    return {
        "prompt": queue_item(job, record.payload),
        "outputs": outputs,
        "status": {
            "status_str": "success" if delivered else "error",
            "completed": delivered,
            "messages": [list(each) for each in messages(record)],
        },
        "meta": {node_id: _meta(node_id) for node_id in outputs},
        "holdfast": account(record),
    }


def _meta(node_id: str) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "display_node": node_id,
        "parent_node": None,
        "real_node_id": node_id,
    }


def messages(record: Record) -> list[tuple[str, dict[str, Any]]]:
    """The events of the run, as a server keeps them."""
    job = record.job
    began = {"prompt_id": job.id, "timestamp": millis(job.started or job.created)}
    told: list[tuple[str, dict[str, Any]]] = [
        ("execution_start", began),
        ("execution_cached", {"nodes": [], **began}),
    ]
    if job.state is JobState.DELIVERED:
        end = {"prompt_id": job.id, "timestamp": millis(job.ended)}
        told.append(("execution_success", end))
    elif job.state is JobState.CANCELLED:
        told.append(("execution_interrupted", interruption(record)))
    else:
        told.append(("execution_error", execution_error(record)))
    return told


def interruption(record: Record) -> dict[str, Any]:
    """The data of ``execution_interrupted``."""
    where = record.outcome.get("stopped_at")
    where = where if isinstance(where, dict) else {}
    return {
        "prompt_id": record.job.id,
        "node_id": _text(where.get("node_id")),
        "node_type": _text(where.get("node_type")),
        "executed": [],
        "timestamp": millis(record.job.ended),
    }


def execution_error(record: Record) -> dict[str, Any]:
    """The data of ``execution_error``."""
    failure = _failure(record)
    trace = failure.get("traceback")
    message = _text(failure.get("message")) or record.job.summary or "the job failed"
    return {
        "prompt_id": record.job.id,
        "node_id": _text(failure.get("node_id")),
        "node_type": _text(failure.get("node_type")),
        "executed": [],
        "exception_message": message,
        "exception_type": _text(failure.get("exception_type"))
        or f"holdfast.{_text(failure.get('kind')) or 'failed'}",
        "traceback": [_text(each) for each in trace] if isinstance(trace, list) else [],
        "current_inputs": {},
        "current_outputs": [],
        "timestamp": millis(record.job.ended),
    }


def account(record: Record) -> dict[str, Any]:
    """What it took, for people: under ``holdfast`` in the history."""
    job, outcome = record.job, record.outcome
    attempts = outcome.get("attempts")
    told: dict[str, Any] = {
        "state": job.state.value,
        "summary": job.summary,
        "server": _text(outcome.get("server")),
        "seconds": outcome.get("seconds"),
        "attempts": attempts if isinstance(attempts, list) else [],
        "degradations": _texts(outcome.get("degradations")),
        "notes": _texts(outcome.get("notes")),
    }
    failure = _failure(record)
    if failure:
        told["failure"] = {
            name: failure.get(name) for name in ("kind", "category", "message", "node_id")
        }
    return told


def _failure(record: Record) -> Mapping[str, Any]:
    failure = record.outcome.get("failure")
    return failure if isinstance(failure, dict) else {}


def _texts(given: Any) -> list[str]:
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def _text(given: Any) -> str:
    return given if isinstance(given, str) else ""
