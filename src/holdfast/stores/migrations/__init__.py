"""The schema's history, for Alembic. Shipped, and run when a history is opened."""
