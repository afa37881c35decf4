"""Errors, their groups and counts, recoveries and changes of state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = 200


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(NAME), nullable=False)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _real(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "error_group",
        *map(_name, ("service", "fingerprint", "type", "category", "severity")),
        _text("message"),
        _real("first_seen"),
        _real("last_seen"),
        _count("count"),
        sa.PrimaryKeyConstraint("service", "fingerprint"),
    )
    op.create_index("error_group_last_seen", "error_group", ["last_seen"])
    op.create_index("error_group_count", "error_group", ["count"])
    op.create_table(
        "error_event",
        _name("id"),
        _real("ts"),
        *map(_name, ("fingerprint", "service", "dependency", "operation", "type")),
        _text("message"),
        *map(_name, ("severity", "category")),
        _flag("transient"),
        _name("suggested_recovery"),
        *map(_flag, ("recovery_attempted", "recovery_successful")),
        _name("strategy"),
        _text("reason"),
        *(_text(name, nullable=True) for name in ("frames", "context", "traceback")),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("severity", "category", "dependency", "fingerprint"):
        op.create_index(f"error_event_{column}", "error_event", [column, "id"])
    op.create_table(
        "rollup",
        sa.Column("width", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        *map(_name, ("service", "fingerprint", "dependency", "category", "severity")),
        _count("count"),
        sa.PrimaryKeyConstraint(
            "width", "start", "service", "fingerprint", "dependency", "category", "severity"
        ),
    )
    op.create_table(
        "recovery_rollup",
        sa.Column("width", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        _name("strategy"),
        *map(_count, ("attempted", "successful")),
        sa.PrimaryKeyConstraint("width", "start", "strategy"),
    )
    op.create_table(
        "recovery",
        _name("id"),
        _real("ts"),
        *map(_name, ("service", "strategy", "category")),
        _flag("successful"),
        _real("seconds"),
        _name("error_type"),
        _text("detail"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "state_change",
        _name("id"),
        _real("ts"),
        *map(_name, ("service", "kind", "name", "old", "new")),
        _text("reason"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "writer",
        _name("id"),
        _count("batch"),
        _real("at"),
        _count("dropped"),
        sa.PrimaryKeyConstraint("id"),
    )
