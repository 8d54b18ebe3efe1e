"""The status of runs, the events that tell of it, and what becomes of their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.runs import FINAL, Status
from promptcard_ext.core.results import Counts, Outcome
from server_ext.db.tables import run_events, run_reservations, runs, tasks
from server_ext.services import webhooks_outbox
from server_ext.services.changes import Change, send

COUNT_COLUMN = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "errored",
    Outcome.UNSCORED: "unscored",
}
HELD = {
    "code": "unknown_outcomes",
    "message": "What is left waits, since nobody knows what became of earlier calls: requeue it, or cancel the run.",
}
"""Why a run waits that nobody has paused."""
STOPPING: tuple[Status, ...] = ("pausing", "cancelling")
"""Statuses in which workers hand back what they are at."""


def lock(connection: sa.Connection, workspace_id: UUID, run_id: UUID) -> Any:
    """Return the row of a run, locked until the transaction ends; None when there is none."""
    query = sa.select(runs).where(runs.c.workspace_id == workspace_id, runs.c.id == run_id)
    return connection.execute(query.with_for_update()).one_or_none()


def add_event(
    connection: sa.Connection, workspace_id: UUID, run_id: UUID, seq: int, kind: str, payload: dict[str, Any]
) -> None:
    """Append an event; the caller has taken ``seq`` from the locked row of the run."""
    connection.execute(
        sa.insert(run_events).values(workspace_id=workspace_id, run_id=run_id, seq=seq, kind=kind, payload=payload)
    )


def tell(connection: sa.Connection, workspace_id: UUID, run_id: UUID, kind: str, payload: dict[str, Any]) -> None:
    """Append an event to a run that the caller has locked or made."""
    seq = connection.execute(
        sa.update(runs)
        .where(runs.c.workspace_id == workspace_id, runs.c.id == run_id)
        .values(event_seq=runs.c.event_seq + 1)
        .returning(runs.c.event_seq)
    ).scalar_one()
    add_event(connection, workspace_id, run_id, seq, kind, payload)


def move(connection: sa.Connection, run: Any, status: Status, error: dict[str, Any] | None = None) -> None:
    """Give a locked run another status, with the event that says so and news for whoever watches."""
    times: dict[str, Any] = {}
    if status == "running" and run.started_at is None:
        times["started_at"] = sa.func.clock_timestamp()
    if status in FINAL:
        times["finished_at"] = sa.func.clock_timestamp()
    seq = connection.execute(
        sa.update(runs)
        .where(runs.c.workspace_id == run.workspace_id, runs.c.id == run.id)
        .values(status=status, event_seq=runs.c.event_seq + 1, error=error, **times)
        .returning(runs.c.event_seq)
    ).scalar_one()
    add_event(connection, run.workspace_id, run.id, seq, "finished" if status in FINAL else status, {"status": status})
    send(connection, Change(run.workspace_id, "run", str(run.id)))
    if status in FINAL:
        _give_back(connection, run)
        webhooks_outbox.write(connection, run.workspace_id, run.id)


def _give_back(connection: sa.Connection, run: Any) -> None:
    """Give back what was set aside for a run and not spent."""
    v = run_reservations.c
    connection.execute(
        sa.update(run_reservations)
        .where(v.workspace_id == run.workspace_id, v.run_id == run.id)
        .values(ended_at=sa.func.clock_timestamp())
    )


def settle(connection: sa.Connection, workspace_id: UUID, run_id: UUID) -> None:
    """Give a run the status that follows from its tasks: paused once no worker has one, ended once none is left."""
    run = lock(connection, workspace_id, run_id)
    of_run = tasks.c.workspace_id == workspace_id, tasks.c.run_id == run_id
    states = set(connection.execute(sa.select(tasks.c.state).where(*of_run).distinct()).scalars())
    if run.status in FINAL:
        return
    if states & {"queued", "leased", "held"}:
        if not states & {"queued", "leased"}:
            if run.status == "pausing":
                move(connection, run, "paused")
            elif run.status == "running":
                move(connection, run, "paused", HELD)
    elif run.recorded == run.total:
        move(connection, run, "completed")
    elif run.status == "cancelling":
        move(connection, run, "cancelled")
    else:
        error = {
            "code": "run_incomplete",
            "message": f"{run.total - run.recorded} of {run.total} items have no result.",
        }
        move(connection, run, "failed", error)


def turn_tasks(connection: sa.Connection, run: Any, before: Sequence[str], after: str) -> list[UUID]:
    """Give the tasks of a locked run that are in one of the states ``before`` the state ``after``; return their ids."""
    ended = sa.func.clock_timestamp() if after == "cancelled" else None
    changed = connection.execute(
        sa.update(tasks)
        .where(tasks.c.workspace_id == run.workspace_id, tasks.c.run_id == run.id, tasks.c.state.in_(before))
        .values(state=after, finished_at=ended)
        .returning(tasks.c.id)
    )
    return list(changed.scalars())


def prefer(connection: sa.Connection, run: Any, priority: str) -> None:
    """Let the tasks of a locked run that have not ended have another priority."""
    live = tasks.c.state.in_(("queued", "leased", "held"))
    where = tasks.c.workspace_id == run.workspace_id, tasks.c.run_id == run.id, live
    connection.execute(sa.update(tasks).where(*where).values(priority=priority))


def counts(row: Any) -> Counts:
    """Return the totals of a run's row."""
    return Counts(
        total=row.total, done=row.recorded, passed=row.passed, failed=row.failed, errored=row.errored,
        unscored=row.unscored, priced=row.priced, cost_usd=row.cost_usd, spent_usd=row.cost_usd,
    )  # fmt: skip
