"""Keys for those who may use the gateway, and who did what."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = 200


def _name(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(NAME), primary_key=key, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_key",
        _name("id", key=True),
        _name("digest"),
        _name("user"),
        _name("label"),
        _name("scopes"),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("max_queued", sa.BigInteger),
        sa.Column("max_running", sa.BigInteger),
        sa.Column("jobs_per_hour", sa.BigInteger),
        sa.Column("top_priority", sa.BigInteger),
    )
    op.create_table(
        "audit_entry",
        _name("id", key=True),
        sa.Column("at", sa.Double, nullable=False),
        _name("user"),
        _name("key_id"),
        _name("address"),
        _name("action"),
        sa.Column("target", sa.Text, nullable=False),
        _name("outcome"),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("audit_entry_user", "audit_entry", ["user", "id"])
    op.create_index("audit_entry_action", "audit_entry", ["action", "id"])
