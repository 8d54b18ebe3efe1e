"""What is kept of requests."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import document, metadata, moment, tenant

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    tenant(),
    sa.Column("key_hash", sa.LargeBinary, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    document("headers", "{}"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    moment("created_at"),
    sa.Index("idempotency_keys_age_idx", "workspace_id", "created_at"),
)
