"""Tokens with which programs act for a member."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, document, key, metadata, moment, short, tenant

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    tenant(),
    key(),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
    short("name"),
    short("purpose"),
    document("scopes", nullable=True),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    short("last_four"),
    moment("created_at"),
    sa.Column("expires_at", Timestamp, nullable=False),
    sa.Column("last_used_at", Timestamp),
    sa.Column("revoked_at", Timestamp),
    sa.Index("api_tokens_user_idx", "workspace_id", "user_id", "id"),
)
