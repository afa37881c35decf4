"""The history of the job store's schema, for Alembic. Shipped, and run when a store is opened."""
