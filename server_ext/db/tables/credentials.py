"""Keys of model providers, and private hosts that may be called."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, author, key, metadata, moment, short, tenant

provider_credentials = sa.Table(
    "provider_credentials",
    metadata,
    tenant(),
    key(),
    short("provider"),
    short("name"),
    short("base_url"),
    short("key_id", nullable=True),
    sa.Column("sealed", sa.LargeBinary),
    short("last_four", nullable=True),
    sa.Column("revision", sa.Integer, nullable=False, server_default=sa.text("1")),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.text("true")),
    author(),
    moment("created_at"),
    moment("updated_at"),
    sa.Column("last_used_at", Timestamp),
    sa.Column("requests_per_minute", sa.Integer),
    sa.Column("tokens_per_minute", sa.Integer),
    sa.UniqueConstraint("workspace_id", "provider", "name"),
)

network_rules = sa.Table(
    "network_rules",
    metadata,
    tenant(),
    key(),
    short("host"),
    sa.Column("port", sa.Integer, nullable=False),
    short("note", ""),
    author(),
    moment("created_at"),
    sa.UniqueConstraint("workspace_id", "host", "port"),
)
