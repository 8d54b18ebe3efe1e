"""Sessions of users, and attempts at logging in."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from server_ext.db.tables.columns import Timestamp, metadata, moment, short

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()")),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id"), nullable=False),
    short("kind"),
    sa.Column("parent", sa.Uuid, sa.ForeignKey("sessions.id", ondelete="CASCADE")),
    sa.Column("pinned_workspace", sa.Uuid),
    sa.Column("api_token", sa.Uuid),
    sa.Column("scopes", JSONB(none_as_null=True)),
    short("user_agent", ""),
    moment("created_at"),
    sa.Column("expires_at", Timestamp, nullable=False),
    moment("last_used_at"),
    sa.Column("revoked_at", Timestamp),
    short("revoked_reason", nullable=True),
    sa.Column("refresh_hash", sa.LargeBinary),
    sa.Column("previous_hash", sa.LargeBinary),
    short("key_id", nullable=True),
    sa.Column("rotated_at", Timestamp),
    sa.Index("sessions_user_idx", "user_id", "id"),
    sa.Index("sessions_parent_idx", "parent", postgresql_where=sa.text("parent is not null")),
)

login_attempts = sa.Table(
    "login_attempts",
    metadata,
    short("kind", primary_key=True),
    sa.Column("key_hash", sa.LargeBinary, primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_at", Timestamp, nullable=False),
    sa.Column("next_at", Timestamp, nullable=False),
    sa.Index("login_attempts_age_idx", "last_at"),
)
