"""Jobs as the newer servers' ``/api/jobs`` tells them, whatever the servers behind are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.comfyui.gateway.guard import Refusal, whole_number
from holdfast.comfyui.gateway.history import (
    Record,
    execution_error,
    history_entry,
    millis,
    shown_extra,
    shown_number,
)
from holdfast.stores.jobs.records import JobState, StoredJob

STATUSES: Mapping[JobState, str] = {
    JobState.QUEUED: "pending",
    JobState.RUNNING: "in_progress",
    JobState.DELIVERED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
_STATES = {word: state for state, word in STATUSES.items()}

MOST = 1_000
"""Jobs in one answer, unless fewer are asked for."""

_SEEN = frozenset({"images", "video", "audio", "3d", "text"})
_SOLIDS = (".obj", ".fbx", ".gltf", ".glb", ".usdz")
_WRITINGS = (".txt", ".md", ".json")
_PREVIEW_TEXT = 1024
"""Characters of a text that are shown as a job's preview."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a query of `GET /api/jobs` asks for."""

    states: frozenset[JobState]
    workflow_id: str
    by_duration: bool
    ascending: bool
    limit: int | None
    offset: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Question:
        """Read a query.

        Raises:
            Refusal: it cannot be answered.
        """
        words = [each.strip().lower() for each in query.get("status", "").split(",")]
        named = [each for each in words if each]
        unknown = [each[:40] for each in named if each not in _STATES][:10]
        if unknown:
            valid = ", ".join(_STATES)
            raise Refusal(
                "invalid_query",
                f"Invalid status value(s): {', '.join(unknown)}. Valid values: {valid}",
            )
        sort_by = query.get("sort_by", "created_at").lower()
        if sort_by not in ("created_at", "execution_duration"):
            words_ = "sort_by must be 'created_at' or 'execution_duration'"
            raise Refusal("invalid_query", words_)
        order = query.get("sort_order", "desc").lower()
        if order not in ("asc", "desc"):
            raise Refusal("invalid_query", "sort_order must be 'asc' or 'desc'")
        offset = query.get("offset", "0")
        return cls(
            frozenset(_STATES[each] for each in named) or frozenset(_STATES.values()),
            query.get("workflow_id", ""),
            sort_by == "execution_duration",
            order == "asc",
            whole_number(query, "limit", None, low=1),
            # As the real server, which takes what is below nothing for nothing.
            0 if offset.startswith("-") and offset[1:].isdigit() else _offset(query),
        )


def _offset(query: Mapping[str, str]) -> int:
    return whole_number(query, "offset", 0) or 0


def brief(record: Record) -> dict[str, Any]:
    """A job as it stands in a list."""
    job = record.job
    told: dict[str, Any] = {
        "id": job.id,
        "status": STATUSES[job.state],
        "priority": shown_number(job, record.payload),
        "create_time": millis(job.created),
        "outputs_count": 0,
        "previewable_outputs_count": 0,
    }
    workflow_id = workflow_id_of(record.payload)
    if workflow_id:
        told["workflow_id"] = workflow_id
    if job.started is not None:
        told["execution_start_time"] = millis(job.started)
    if job.state in (JobState.QUEUED, JobState.RUNNING):
        return told
    if job.ended is not None:
        told["execution_end_time"] = millis(job.ended)
    outputs = record.outcome.get("outputs")
    count, seen, preview = _summary(outputs if isinstance(outputs, dict) else {})
    told |= {"outputs_count": count, "previewable_outputs_count": seen}
    if preview is not None:
        told["preview_output"] = preview
    if job.state is JobState.FAILED:
        told["execution_error"] = execution_error(record)
    return told


def full(record: Record) -> dict[str, Any]:
    """A job with its workflow and its outputs, as `GET /api/jobs/{id}` tells it."""
    told = brief(record)
    told["workflow"] = {
        "prompt": record.payload.get("graph") or {},
        "extra_data": shown_extra(record.job, record.payload),
    }
    if record.job.state not in (JobState.QUEUED, JobState.RUNNING):
        entry = history_entry(record)
        told["outputs"] = entry["outputs"]
        told["execution_status"] = entry["status"]
        told["execution_meta"] = entry["meta"]
        told["holdfast"] = entry["holdfast"]
    return told


def workflow_id_of(payload: Mapping[str, Any]) -> str:
    """The id the page gave its workflow; empty if none came with the job."""
    value: Any = payload
    for name in ("extra_data", "extra_pnginfo", "workflow", "id"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def page_of(
    jobs: Sequence[Mapping[str, Any]], question: Question, total: int | None = None
) -> dict[str, Any]:
    """An answer of `GET /api/jobs`.

    Args:
        jobs: those of this page, in order.
        question: what was asked.
        total: how many there are on all pages; None for those given.
    """
    total = len(jobs) if total is None else total
    return {
        "jobs": list(jobs),
        "pagination": {
            "offset": question.offset,
            "limit": question.limit if question.limit is not None else max(1, total),
            "total": total,
            "has_more": question.offset + len(jobs) < total,
        },
    }


def duration(job: StoredJob) -> float:
    """Seconds a job ran; 0 while it has not ended."""
    return (job.ended or 0.0) - (job.started or 0.0) if job.ended and job.started else 0.0


# What a job made -------------------------------------------------------------------------


def _summary(outputs: Mapping[str, Any]) -> tuple[int, int, dict[str, Any] | None]:
    """How many things were made, how many of them can be seen, and the one to show."""
    count = seen = 0
    best: tuple[int, dict[str, Any]] | None = None
    for node_id, kind, item in _items(outputs):
        if not isinstance(item, dict):
            if kind == "text" and isinstance(item, str):
                shown: dict[str, Any] = {"content": item[:_PREVIEW_TEXT]}
                if len(item) > _PREVIEW_TEXT:
                    shown["truncated"] = True
                best = _better(best, 3, shown | {"nodeId": node_id, "mediaType": kind})
            continue
        count += 1
        if not _can_be_seen(kind, item):
            continue
        seen += 1
        shown = {"mediaType": kind, **item, "nodeId": node_id}
        name = str(item.get("filename", "")).lower()
        if kind == "text" or name.endswith(_WRITINGS):
            best = _better(best, 2, shown)
        else:
            best = _better(best, 0 if item.get("type") == "output" else 1, shown)
    return count, seen, None if best is None else best[1]


def _better(
    best: tuple[int, dict[str, Any]] | None, rank: int, shown: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    return (rank, shown) if best is None or rank < best[0] else best


def _items(outputs: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for node_id, made in outputs.items():
        if not isinstance(made, dict):
            continue
        for kind, items in made.items():
            if kind == "animated" or not isinstance(items, list):
                continue  # a switch, and no list of things
            for item in items:
                yield node_id, kind, item


def _can_be_seen(kind: str, item: Mapping[str, Any]) -> bool:
    media = str(item.get("format", ""))
    name = str(item.get("filename", "")).lower()
    return (
        kind in _SEEN
        or media.startswith(("video/", "audio/"))
        or name.endswith(_SOLIDS + _WRITINGS)
    )
