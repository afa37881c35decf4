"""How Alembic runs our migrations: on the connection it is given, in its transaction."""

from __future__ import annotations

from alembic import context

from holdfast.stores.jobs.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    # The caller's transaction holds the lock and is committed by the caller.
    transactional_ddl=False,
)
context.run_migrations()
