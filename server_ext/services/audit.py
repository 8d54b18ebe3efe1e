"""The audit trail: one entry for each change, in the transaction that makes it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server_ext.db.tables import audit_log
from server_ext.services.scope import Scope


def record(scope: Scope, action: str, object_type: str, object_id: object, **detail: Any) -> None:
    """Append an entry. ``detail`` is small and holds no prompt, answer or secret."""
    scope.connection.execute(
        sa.insert(audit_log).values(
            workspace_id=scope.workspace_id,
            actor_id=scope.actor.user_id,
            actor_kind=scope.actor.kind,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            detail=detail,
        )
    )
