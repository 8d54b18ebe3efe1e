"""How alembic runs a migration: on the connection and in the transaction that `server_ext.db.migrate` opened."""

from __future__ import annotations

from alembic import context

from server_ext.db.tables import is_partition, metadata

if context.is_offline_mode():
    raise NotImplementedError("Migrations need a database: they read what is there.")

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_name=lambda name, kind, _parents: not (kind == "table" and is_partition(name or "")),
)
with context.begin_transaction():
    context.run_migrations()
