"""The tables of the job store, as the code of today expects them.

- What a job carries (`job_body`) stands beside it, so that lists and the queue stay small.
- `counter` gives out numbers: of jobs, of fences, of file names.

Changing a table here needs a migration in ``migrations/versions`` and its number in
`holdfast.stores.jobs.opening`; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

NAME = 200
"""Characters of a name, at most."""

metadata = sa.MetaData()
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _name(column: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(column, sa.String(NAME), primary_key=key, nullable=False)


def _text(column: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(column, sa.Text, nullable=nullable)


def _real(column: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(column, sa.Double, nullable=nullable)


def _count(column: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(column, sa.BigInteger, nullable=nullable)


job = sa.Table(
    "job",
    metadata,
    _name("id", key=True),
    _count("number"),
    _name("name"),
    _name("key"),
    _name("user"),
    _name("order_id"),
    _name("state"),
    sa.Column("priority", sa.Integer, nullable=False),
    _real("deadline", nullable=True),
    _name("signature"),
    _name("client_id"),
    _text("prompt"),
    _name("seed"),
    _name("model"),
    _real("created"),
    _real("started", nullable=True),
    _real("ended", nullable=True),
    sa.Column("tries", sa.Integer, nullable=False),
    _name("worker"),
    _count("fence"),
    _real("lease_until", nullable=True),
    sa.Column("cancel", sa.Boolean, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    _real("estimate", nullable=True),
    _text("summary"),
    sa.Index("job_number", "number", unique=True),
    sa.Index("job_queue", "state", "priority", "user", "number"),
    sa.Index("job_user", "user", "state", "number"),
    sa.Index("job_order", "order_id", "state", "priority", "number"),
    sa.Index("job_ended", "state", "ended"),
    sa.Index(
        "job_key",
        "user",
        "key",
        unique=True,
        sqlite_where=sa.text("key <> ''"),
        postgresql_where=sa.text("key <> ''"),
    ),
    sa.Index(
        "job_due",
        "state",
        "deadline",
        sqlite_where=sa.text("deadline IS NOT NULL"),
        postgresql_where=sa.text("deadline IS NOT NULL"),
    ),
)

job_body = sa.Table(
    "job_body",
    metadata,
    _name("job", key=True),
    _text("payload"),
    _text("outcome", nullable=True),
)

submission = sa.Table(
    "submission",
    metadata,
    _name("token", key=True),
    _name("job"),
    _text("server"),
    _name("prompt_id"),
    _name("client_id"),
    sa.Column("changed", sa.Boolean, nullable=False),
    _real("at"),
    sa.Index("submission_job", "job"),
)

job_event = sa.Table(
    "job_event",
    metadata,
    sa.Column("seq", _Number, primary_key=True, autoincrement=True),
    _name("job"),
    _real("at"),
    _name("kind"),
    _text("data"),
    sa.Index("job_event_job", "job", "seq"),
)

job_file = sa.Table(
    "job_file",
    metadata,
    _name("job", key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    _name("node"),
    _name("user"),
    _name("type"),
    _text("subfolder"),
    _text("filename"),
    _name("sha256"),
    _count("size"),
    _name("media_type"),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    _text("suspect"),
    sa.Index("job_file_name", "filename", "user", "type", "subfolder", unique=True),
    sa.Index("job_file_sha256", "sha256"),
)

upload = sa.Table(
    "upload",
    metadata,
    _name("user", key=True),
    _name("type", key=True),
    sa.Column("subfolder", sa.String(400), primary_key=True, nullable=False),
    sa.Column("filename", sa.String(400), primary_key=True, nullable=False),
    _name("sha256"),
    _count("size"),
    _real("at"),
    sa.Index("upload_sha256", "sha256"),
)

userdata = sa.Table(
    "userdata",
    metadata,
    _name("user", key=True),
    sa.Column("path", sa.String(400), primary_key=True, nullable=False),
    _count("size"),
    _real("created"),
    _real("modified"),
    # The last: SQLite reads through what stands before a column to find it.
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""Saved workflows and settings. A path is a text here and no file: it leads nowhere."""

counter = sa.Table(
    "counter", metadata, sa.Column("name", sa.Text, primary_key=True), _count("value")
)

share = sa.Table("share", metadata, _name("user", key=True), _real("used"))
"""How many seconds each user has been given, as fair queueing counts them."""

pace = sa.Table(
    "pace",
    metadata,
    _name("signature", key=True),
    _count("count"),
    _real("mean"),
    _real("last"),
)
"""How long jobs of a kind take, in seconds."""

PAUSED = "paused"
"""The setting that says why no jobs are begun; null if they are."""

setting = sa.Table("setting", metadata, _name("name", key=True), _text("value"))

api_key = sa.Table(
    "api_key",
    metadata,
    _name("id", key=True),
    _name("digest"),
    _name("user"),
    _name("label"),
    _name("scopes"),
    _real("created"),
    _real("expires", nullable=True),
    sa.Column("disabled", sa.Boolean, nullable=False),
    _count("max_queued", nullable=True),
    _count("max_running", nullable=True),
    _count("jobs_per_hour", nullable=True),
    _count("top_priority", nullable=True),
)
"""Of a key only the hash of its secret is kept: nobody who reads the database can use one."""

audit_entry = sa.Table(
    "audit_entry",
    metadata,
    _name("id", key=True),
    _real("at"),
    _name("user"),
    _name("key_id"),
    _name("address"),
    _name("action"),
    _text("target"),
    _name("outcome"),
    _text("detail"),
    sa.Index("audit_entry_user", "user", "id"),
    sa.Index("audit_entry_action", "action", "id"),
)
"""Who did what. An id begins with its time in microseconds, so their order is the order of time."""
