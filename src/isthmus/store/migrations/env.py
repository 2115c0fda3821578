"""Alembic's entry: runs on the connection that `isthmus.store.migrate` hands over, never by itself."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema="isthmus", transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
