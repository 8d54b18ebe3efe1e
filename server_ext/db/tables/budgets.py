"""Rules about spending, what was spent, and what is set aside."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, author, key, metadata, moment, short, tenant, within


def _usd(name: str) -> sa.Column[sa.Numeric[int]]:
    return sa.Column(name, sa.Numeric, nullable=False, server_default=sa.text("0"))


spend_rules = sa.Table(
    "spend_rules",
    metadata,
    tenant(),
    key(),
    short("scope"),
    short("subject", ""),
    short("span"),
    sa.Column("hard", sa.Boolean, nullable=False),
    sa.Column("limit_usd", sa.Numeric, nullable=False),
    author(),
    moment("created_at"),
    moment("updated_at"),
    sa.UniqueConstraint("workspace_id", "scope", "subject", "span", "hard"),
)

spending = sa.Table(
    "spending",
    metadata,
    tenant(),
    sa.Column("at", Timestamp, primary_key=True),
    sa.Column("user_id", sa.Uuid, primary_key=True),
    short("model", primary_key=True),
    sa.Column("usd", sa.Numeric, nullable=False),
)

run_reservations = sa.Table(
    "run_reservations",
    metadata,
    tenant(),
    sa.Column("run_id", sa.Uuid, primary_key=True),
    short("model", primary_key=True),
    sa.Column("user_id", sa.Uuid, nullable=False),
    sa.Column("upper_usd", sa.Numeric, nullable=False),
    sa.Column("most_usd", sa.Numeric, nullable=False),
    sa.Column("reserved_usd", sa.Numeric, nullable=False),
    _usd("spent_usd"),
    sa.Column("ended_at", Timestamp),
    within("run_id", "runs.id"),
    sa.Index("run_reservations_live_idx", "workspace_id", "model", postgresql_where=sa.text("ended_at IS NULL")),
)

run_purses = sa.Table(
    "run_purses",
    metadata,
    tenant(),
    sa.Column("run_id", sa.Uuid, primary_key=True),
    sa.Column("lease_token", sa.Uuid, primary_key=True),
    sa.Column("task_id", sa.Uuid, nullable=False),
    _usd("granted_usd"),
    _usd("spent_usd"),
    _usd("told_usd"),
    sa.Column("held_usd", sa.Numeric, sa.Computed("GREATEST((granted_usd - spent_usd), (0)::numeric)", persisted=True)),
    sa.Column("closed_at", Timestamp),
    within("run_id", "runs.id"),
    within("task_id", "tasks.id"),
    sa.Index("run_purses_open_idx", "workspace_id", "task_id", postgresql_where=sa.text("closed_at IS NULL")),
)
