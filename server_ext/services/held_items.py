"""Items that wait because nobody knows what became of an earlier call, in runs that do not call these again unasked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from server_ext.db.tables import attempts, test_executions


def held_ordinals(connection: sa.Connection, run: Any, task_id: UUID) -> set[int]:
    """Return the items of a task that wait until somebody says that they may be called again.

    Args:
        run: Row of the run, with ``on_unknown`` among its columns.
    """
    if run.on_unknown != "hold":
        return set()
    a, e = attempts.c, test_executions.c
    recorded = (
        sa.select(sa.literal(1))
        .where(e.workspace_id == run.workspace_id, e.run_id == run.id, e.run_created_at == run.created_at)
        .where(e.ordinal == a.ordinal)
    )
    query = sa.select(a.ordinal).where(
        a.workspace_id == run.workspace_id,
        a.task_id == task_id,
        a.state == "unknown",
        a.cleared_at.is_(None),
        ~recorded.exists(),
    )
    return set(connection.execute(query).scalars())
