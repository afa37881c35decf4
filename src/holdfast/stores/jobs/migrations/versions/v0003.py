"""What people keep in the gateway itself: saved workflows and settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "userdata",
        sa.Column("user", sa.String(200), primary_key=True, nullable=False),
        sa.Column("path", sa.String(400), primary_key=True, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("modified", sa.Double, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
