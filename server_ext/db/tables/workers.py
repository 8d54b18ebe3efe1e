"""Worker processes. They serve all workspaces, so the application reaches them through functions only."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import measured, metadata, short

workers = sa.Table(
    "workers",
    metadata,
    short("name", primary_key=True),
    short("host"),
    sa.Column("pid", sa.Integer, nullable=False),
    short("version"),
    short("state"),
    sa.Column("concurrency", sa.Integer),
    measured("started_at"),
    measured("heartbeat_at"),
)
