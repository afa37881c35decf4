"""The story of a job, line by line: what happened to it, for people and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from holdfast.stores.jobs import rows, tables

LINES = 500
"""Of one job, at most; what comes later is left out, but for its end."""
_ENDS = frozenset({"delivered", "failed", "cancelled", "retried"})
_DATA = 20_000
"""Characters of one line's data."""
_EVENT = tables.job_event
# Built once: to build a statement takes longer than to run it.
_ADD = sa.insert(_EVENT)
_LINES = sa.select(sa.func.count()).select_from(_EVENT).where(_EVENT.c.job == sa.bindparam("of"))


def tell(
    connection: Connection, now: float, job: str, kind: str, data: Mapping[str, Any] | None = None
) -> None:
    """Add a line."""
    if kind not in _ENDS and kind not in {"accepted", "claimed"}:
        told = connection.execute(_LINES, {"of": job}).scalar_one()
        if told >= LINES:
            return
    text = rows.to_json("data", rows.sendable(dict(data or {})), limit=10**9)
    if len(text) > _DATA:
        text = rows.to_json("data", {"words": text[: _DATA // 2], "cut": True})
    connection.execute(_ADD, {"job": job, "at": now, "kind": kind[:200], "data": text})


def begin(connection: Connection, now: float, jobs: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the first line of several jobs, by id."""
    connection.execute(
        _ADD,
        [
            {"job": job, "at": now, "kind": "accepted", "data": rows.to_json("data", dict(data))}
            for job, data in jobs.items()
        ],
    )
