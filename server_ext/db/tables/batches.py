"""Calls that were given to a provider many at once."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from server_ext.db.tables.columns import (
    Timestamp,
    counter,
    document,
    key,
    measured,
    metadata,
    short,
    tenant,
    within,
)

provider_batches = sa.Table(
    "provider_batches",
    metadata,
    tenant(),
    key(),
    sa.Column("run_id", sa.Uuid, nullable=False),
    sa.Column("task_id", sa.Uuid, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    short("model"),
    sa.Column("ordinals", ARRAY(sa.Integer), nullable=False),
    sa.Column("round", sa.Integer, nullable=False, server_default=sa.text("1")),
    short("state", "preparing"),
    short("file_id", nullable=True),
    short("remote_id", nullable=True),
    short("status", nullable=True),
    sa.Column("tried_at", Timestamp),
    counter("failures"),
    document("error", nullable=True),
    measured("created_at"),
    sa.Column("submitted_at", Timestamp),
    sa.Column("ended_at", Timestamp),
    within("run_id", "runs.id"),
    within("task_id", "tasks.id"),
    sa.Index("provider_batches_task_idx", "workspace_id", "task_id", "state"),
    sa.Index("provider_batches_run_idx", "workspace_id", "run_id"),
)
