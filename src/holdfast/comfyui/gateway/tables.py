"""The tables that make the gateway safe to expose: API keys, and who did what.

- Of a key only the hash of its secret is kept, so nobody who reads the database can use one.
- An audit entry's id begins with its time in microseconds since 1970, so the order of ids is the
  order of time, and the primary key finds the next page and the oldest entries.
"""

from __future__ import annotations

import sqlalchemy as sa

NAME = 200
"""Characters of a name, at most."""

metadata = sa.MetaData()

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.String(NAME), primary_key=True, nullable=False),
    sa.Column("digest", sa.String(NAME), nullable=False),
    sa.Column("user", sa.String(NAME), nullable=False),
    sa.Column("label", sa.String(NAME), nullable=False),
    sa.Column("scopes", sa.String(NAME), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("max_queued", sa.BigInteger),
    sa.Column("max_running", sa.BigInteger),
    sa.Column("jobs_per_hour", sa.BigInteger),
    sa.Column("top_priority", sa.BigInteger),
)

audit_entry = sa.Table(
    "audit_entry",
    metadata,
    sa.Column("id", sa.String(NAME), primary_key=True, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("user", sa.String(NAME), nullable=False),
    sa.Column("key_id", sa.String(NAME), nullable=False),
    sa.Column("address", sa.String(NAME), nullable=False),
    sa.Column("action", sa.String(NAME), nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(NAME), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("audit_entry_user", "user", "id"),
    sa.Index("audit_entry_action", "action", "id"),
)
