"""The tables of a history, as the code of today expects them.

- An event's id begins with its time in microseconds since 1970, so the order of ids is the order
  of time, and the primary key finds a span of time and the next page.
- Counts never lean on the events that are still there: `rollup` counts by the minute, the hour
  and the day (of UTC) what `error_event` may have lost to retention or to a full queue.
- Texts that are compared or indexed are at most `NAME` characters long.

Changing a table here needs a migration in ``migrations/versions`` and its number in
`holdfast.stores.schema`; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

NAME = 200
"""Characters of a name, at most."""

metadata = sa.MetaData()


def _name(column: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(column, sa.String(NAME), primary_key=key, nullable=False)


def _real(column: str) -> sa.Column[float]:
    return sa.Column(column, sa.Double, nullable=False)


def _flag(column: str) -> sa.Column[bool]:
    return sa.Column(column, sa.Boolean, nullable=False)


def _count(column: str) -> sa.Column[int]:
    return sa.Column(column, sa.BigInteger, nullable=False)


error_group = sa.Table(
    "error_group",
    metadata,
    _name("service", key=True),
    _name("fingerprint", key=True),
    _name("type"),
    _name("category"),
    _name("severity"),
    sa.Column("message", sa.Text, nullable=False),
    _real("first_seen"),
    _real("last_seen"),
    _count("count"),
    sa.Index("error_group_last_seen", "last_seen"),
    sa.Index("error_group_count", "count"),
)

error_event = sa.Table(
    "error_event",
    metadata,
    _name("id", key=True),
    _real("ts"),
    _name("fingerprint"),
    _name("service"),
    _name("dependency"),
    _name("operation"),
    _name("type"),
    sa.Column("message", sa.Text, nullable=False),
    _name("severity"),
    _name("category"),
    _flag("transient"),
    _name("suggested_recovery"),
    _flag("recovery_attempted"),
    _flag("recovery_successful"),
    _name("strategy"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("frames", sa.Text),
    sa.Column("context", sa.Text),
    sa.Column("traceback", sa.Text),
    sa.Index("error_event_severity", "severity", "id"),
    sa.Index("error_event_category", "category", "id"),
    sa.Index("error_event_dependency", "dependency", "id"),
    sa.Index("error_event_fingerprint", "fingerprint", "id"),
)

rollup = sa.Table(
    "rollup",
    metadata,
    sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    _name("service", key=True),
    _name("fingerprint", key=True),
    _name("dependency", key=True),
    _name("category", key=True),
    _name("severity", key=True),
    _count("count"),
)

recovery_rollup = sa.Table(
    "recovery_rollup",
    metadata,
    sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    _name("strategy", key=True),
    _count("attempted"),
    _count("successful"),
)

recovery = sa.Table(
    "recovery",
    metadata,
    _name("id", key=True),
    _real("ts"),
    _name("service"),
    _name("strategy"),
    _name("category"),
    _flag("successful"),
    _real("seconds"),
    _name("error_type"),
    sa.Column("detail", sa.Text, nullable=False),
)

state_change = sa.Table(
    "state_change",
    metadata,
    _name("id", key=True),
    _real("ts"),
    _name("service"),
    _name("kind"),
    _name("name"),
    _name("old"),
    _name("new"),
    sa.Column("reason", sa.Text, nullable=False),
)

writer = sa.Table(
    "writer",
    metadata,
    _name("id", key=True),
    _count("batch"),
    _real("at"),
    _count("dropped"),
)
"""The last batch that each writer has committed, so that none is counted twice when the answer
to a commit is lost."""

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WIDTHS = (DAY, HOUR, MINUTE)
"""Widths of `rollup`, in seconds."""
