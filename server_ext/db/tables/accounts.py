"""Workspaces, users, and who belongs where."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, metadata, moment, short, tenant

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    short("name"),
    short("slug"),
    short("plan_type", "free"),
    moment("created_at"),
    moment("updated_at"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    short("display_name"),
    short("email", nullable=True),
    short("password_hash", nullable=True),
    sa.Column("token_version", sa.Integer, nullable=False, server_default=sa.text("0")),
    moment("created_at"),
    moment("updated_at"),
    sa.Column("disabled_at", Timestamp),
    sa.Column("password_changed_at", Timestamp),
)

user_identities = sa.Table(
    "user_identities",
    metadata,
    short("provider", primary_key=True),
    short("subject", primary_key=True),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
    moment("created_at"),
    sa.Index("user_identities_user_id_idx", "user_id"),
)

memberships = sa.Table(
    "memberships",
    metadata,
    tenant(),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), primary_key=True),
    short("role"),
    short("source", "local"),
    moment("created_at"),
    sa.Index("memberships_user_id_idx", "user_id"),
)
