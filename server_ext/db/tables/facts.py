"""What happened, what was measured, and the audit trail."""

from __future__ import annotations

import sqlalchemy as sa

from server_ext.db.tables.columns import Timestamp, document, key, measured, metadata, short, tenant

analytics_events = sa.Table(
    "analytics_events",
    metadata,
    tenant(),
    key(),
    short("event_type"),
    document("event_data", "{}"),
    sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id")),
    short("session_id", nullable=True),
    sa.Column("timestamp", Timestamp, primary_key=True, server_default=sa.text("now()")),
    sa.Index("analytics_events_time_idx", "workspace_id", "timestamp"),
    sa.Index("analytics_events_type_idx", "workspace_id", "event_type", "timestamp"),
    postgresql_partition_by='RANGE ("timestamp")',
)

performance_metrics = sa.Table(
    "performance_metrics",
    metadata,
    tenant(),
    key(),
    short("metric_name"),
    sa.Column("metric_value", sa.Numeric, nullable=False),
    document("dimensions", "{}"),
    sa.Column("timestamp", Timestamp, primary_key=True, server_default=sa.text("now()")),
    sa.Index("performance_metrics_name_idx", "workspace_id", "metric_name", "timestamp"),
    postgresql_partition_by='RANGE ("timestamp")',
)

# prev_hash and hash are made by a trigger; server_default only tells SQLAlchemy not to ask for them. Number and time of
# a sealed entry are the writer's, because the seal covers them.
audit_log = sa.Table(
    "audit_log",
    metadata,
    tenant(),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False, server_default=sa.FetchedValue()),
    measured("at"),
    sa.Column("actor_id", sa.Uuid),
    short("actor_kind"),
    short("action"),
    short("object_type", nullable=True),
    short("object_id", nullable=True),
    document("detail", "{}"),
    sa.Column("prev_hash", sa.LargeBinary, nullable=False, server_default=sa.FetchedValue()),
    sa.Column("hash", sa.LargeBinary, nullable=False, server_default=sa.FetchedValue()),
    short("actor_role", nullable=True),
    short("via", nullable=True),
    short("address", nullable=True),
    short("request_id", nullable=True),
    short("key_id", nullable=True),
    sa.Column("mac", sa.LargeBinary),
    sa.Index("audit_log_actor_idx", "workspace_id", "actor_id", "seq"),
    sa.Index("audit_log_action_idx", "workspace_id", "action", "seq"),
    sa.Index("audit_log_object_idx", "workspace_id", "object_id", "seq"),
    sa.Index("audit_log_time_idx", "workspace_id", "at"),
)
