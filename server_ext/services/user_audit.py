"""The audit trail of what concerns a user and no single workspace: it is told to each that the user belongs to."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, name_tenant
from server_ext.db.tables import memberships
from server_ext.services import audit
from server_ext.services.scope import Scope


def record(
    database: Database,
    connection: sa.Connection,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: object,
    **detail: Any,
) -> None:
    """Append an entry to the trail of every workspace that the actor belongs to, as the last thing of a transaction.

    Args:
        connection: In a transaction that acts for the user.
        actor: Whom it concerns, and who did it unless it is ``via`` an operator.
        detail: Small, and without a secret; see `audit.record`.
    """
    mine = (
        sa.select(memberships.c.workspace_id, memberships.c.role)
        .where(memberships.c.user_id == actor.user_id)
        # Each entry locks its trail until the end: in one order, so that of two such transactions one waits.
        .order_by(memberships.c.workspace_id)
    )
    for workspace_id, role in connection.execute(mine).all():
        name_tenant(connection, workspace_id, actor.user_id)
        audit.record(Scope(connection, workspace_id, actor, role, database), action, object_type, object_id, **detail)
    name_tenant(connection, None, actor.user_id)
