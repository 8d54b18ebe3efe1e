"""What is to be told of a run's end: written by the transaction that ends it, so that none is forgotten or made up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from server_ext.db.tables import outbox, runs, tasks, webhook_deliveries, webhooks

KEPT = timedelta(days=30)


def write(connection: sa.Connection, workspace_id: UUID, run_id: UUID) -> None:
    """Have each webhook of the workspace that is switched on be told of a run, whose row says that it has ended."""
    listening = sa.select(webhooks.c.id).where(webhooks.c.workspace_id == workspace_id, webhooks.c.enabled)
    # Locked, so that none of them is deleted before it is referred to.
    webhook_ids = connection.execute(listening.with_for_update(read=True, key_share=True)).scalars().all()
    if not webhook_ids:
        return
    _forget(connection, workspace_id)
    run = connection.execute(sa.select(runs).where(runs.c.workspace_id == workspace_id, runs.c.id == run_id)).one()
    head = {"workspace_id": workspace_id, "type": "run.finished", "run_id": run_id, "data": _facts(run)}
    made = connection.execute(
        sa.insert(webhook_deliveries).returning(webhook_deliveries.c.id),
        [{**head, "webhook_id": webhook_id} for webhook_id in webhook_ids],
    )
    work = {"workspace_id": workspace_id, "kind": "webhook"}
    task_ids = connection.execute(
        sa.insert(tasks).returning(tasks.c.id), [{**work, "delivery_id": one} for one in made.scalars()]
    )
    connection.execute(sa.insert(outbox), [{**work, "ref_id": one} for one in task_ids.scalars()])


def _facts(run: Any) -> dict[str, Any]:
    return {
        "workspace_id": str(run.workspace_id),
        "run_id": str(run.id),
        "name": run.name,
        "card": run.plan["card"],
        "status": run.status,
        "error": run.error,
        "counts": {
            "total": run.total,
            "done": run.recorded,
            "passed": run.passed,
            "failed": run.failed,
            "errored": run.errored,
            "unscored": run.unscored,
            "priced": run.priced,
        },
        "cost_usd": str(run.cost_usd),
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "finished_at": run.finished_at.isoformat(),
    }


def _forget(connection: sa.Connection, workspace_id: UUID) -> None:
    """Delete deliveries of a month ago, and the tasks that they were."""
    d = webhook_deliveries.c
    connection.execute(
        sa.delete(webhook_deliveries).where(
            d.workspace_id == workspace_id, d.created_at < sa.func.now() - KEPT, d.state != "waiting"
        )
    )
