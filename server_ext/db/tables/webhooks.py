"""Whom the end of a run is told to, and each time it was told."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import (
    Timestamp,
    author,
    counter,
    document,
    key,
    measured,
    metadata,
    moment,
    short,
    tenant,
    within,
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    tenant(),
    key(),
    short("url"),
    short("note", ""),
    short("key_id"),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.text("true")),
    sa.Column("failing_since", Timestamp),
    short("disabled_reason", nullable=True),
    author(),
    moment("created_at"),
    moment("updated_at"),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    tenant(),
    key(),
    sa.Column("webhook_id", sa.Uuid, nullable=False),
    sa.Column("run_id", sa.Uuid),
    short("type"),
    document("data"),
    short("state", "waiting"),
    counter("attempts"),
    sa.Column("status", sa.Integer),
    document("error", nullable=True),
    measured("created_at"),
    sa.Column("last_attempt_at", Timestamp),
    sa.Column("next_attempt_at", Timestamp),
    within("webhook_id", "webhooks.id", "CASCADE"),
    sa.Index("webhook_deliveries_webhook_idx", "workspace_id", "webhook_id", "id"),
)
