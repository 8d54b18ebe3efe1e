"""Invitations into a workspace."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, author, key, metadata, moment, short, tenant

invitations = sa.Table(
    "invitations",
    metadata,
    tenant(),
    key(),
    short("email"),
    short("role"),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False),
    author(),
    moment("created_at"),
    sa.Column("expires_at", Timestamp, nullable=False),
    sa.Column("accepted_by", sa.Uuid, sa.ForeignKey("users.id")),
    sa.Column("accepted_at", Timestamp),
    sa.Column("revoked_at", Timestamp),
)
