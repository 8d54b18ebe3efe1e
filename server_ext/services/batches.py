"""Batches that providers were given: written down before each step, so that no worker that dies gives one twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import CardError
from promptcard_ext.providers.registry import connection as connection_of
from promptcard_ext.providers.registry import takes_batches
from server_ext.db.engine import Database
from server_ext.db.tables import attempts, outbox, tasks
from server_ext.db.tables import provider_batches as table
from server_ext.services import run_state, spending

LIVE = ("preparing", "submitted")


class Handed(Struct, frozen=True):
    """A batch, as we know it.

    Attributes:
        attempt: Under which its calls are announced.
        model: Reference of the one model that it asks.
        round: 2 for items that an earlier batch did not answer.
        created_at: Seconds since 1970.
        tried_s: Seconds since its making was last tried; None before that.
        failures: Calls for it that failed since the last that did not.
    """

    id: UUID
    run_id: UUID
    attempt: int
    model: str
    ordinals: list[int]
    round: int
    state: str
    file_id: str | None
    remote_id: str | None
    created_at: int
    tried_s: float | None
    failures: int


def check_possible(spec: RunSpec) -> None:
    """Refuse a run that cannot be carried out in batches.

    Raises:
        CardError: A provider takes none (``batch_not_possible``).
    """
    for model in spec.models:
        if not takes_batches(connection_of(model).partition("/")[0]):
            raise CardError(
                f"The provider of '{model:.200}' takes no batches.",
                hint="Run it live, or ask a model behind 'openai'.",
                code="batch_not_possible",
            )


def of_task(database: Database, workspace_id: UUID, task_id: UUID) -> list[Handed]:
    """Return the batches of a task that are still to be collected."""
    query = _query().where(table.c.workspace_id == workspace_id, table.c.task_id == task_id, table.c.state.in_(LIVE))
    with database.transaction(workspace_id) as connection:
        return [_handed(row) for row in connection.execute(query.order_by(table.c.id))]


def by_id(database: Database, workspace_id: UUID, batch_id: UUID) -> Handed:
    """Return a batch."""
    query = _query().where(table.c.workspace_id == workspace_id, table.c.id == batch_id)
    with database.transaction(workspace_id) as connection:
        return _handed(connection.execute(query).one())


def prepare(connection: sa.Connection, lease: Any, groups: Mapping[str, Sequence[int]]) -> None:
    """Write down the batches that a worker is about to make, in the transaction that announces their calls.

    Args:
        groups: Ordinals of items by model.
    """
    last = sa.select(sa.func.coalesce(sa.func.max(table.c.round), 0)).where(
        table.c.workspace_id == lease.workspace_id, table.c.task_id == lease.task_id
    )
    number = connection.execute(last).scalar_one() + 1
    head = {"workspace_id": lease.workspace_id, "run_id": lease.run_id, "task_id": lease.task_id}
    rows = [
        {**head, "attempt": lease.attempt, "model": model, "ordinals": list(ordinals), "round": number}
        for model, ordinals in groups.items()
    ]
    connection.execute(sa.insert(table), rows)


def change(database: Database, workspace_id: UUID, batch_id: UUID, at: str | None = None, **values: Any) -> bool:
    """Write down how far a batch is; False when it was given up meanwhile.

    Args:
        at: Column that takes the time.
    """
    if at is not None:
        values[at] = sa.func.clock_timestamp()
    statement = sa.update(table).where(
        table.c.workspace_id == workspace_id, table.c.id == batch_id, table.c.state.in_(LIVE)
    )
    with database.transaction(workspace_id) as connection:
        return connection.execute(statement.values(values)).rowcount == 1


def close(
    database: Database,
    workspace_id: UUID,
    handed: Handed,
    error: dict[str, Any] | None,
    unanswered: Collection[int],
) -> None:
    """Write down that everything of a batch is recorded.

    Args:
        error: Why nothing came of it, when the provider has refused it.
        unanswered: Ordinals that are asked again, for they were not answered.
    """
    a = attempts.c
    with database.transaction(workspace_id) as connection:
        connection.execute(
            sa.update(attempts)
            .where(
                a.workspace_id == workspace_id,
                a.run_id == handed.run_id,
                a.attempt == handed.attempt,
                a.state == "open",
                a.ordinal.in_(set(unanswered) & set(handed.ordinals)),
            )
            .values(state="released", closed_at=sa.func.clock_timestamp())
        )
        connection.execute(
            sa.update(table)
            .where(table.c.workspace_id == workspace_id, table.c.id == handed.id, table.c.state.in_(LIVE))
            .values(state="failed" if error else "collected", error=error, ended_at=sa.func.clock_timestamp())
        )


def abandon(connection: sa.Connection, workspace_id: UUID, run_id: UUID, task_id: UUID | None = None) -> None:
    """Give up what is not collected of a locked run, or of a task of it: providers are told to stop."""
    statement = (
        sa.update(table)
        .where(table.c.workspace_id == workspace_id, table.c.run_id == run_id, table.c.state.in_(LIVE))
        .values(state="abandoned", ended_at=sa.func.clock_timestamp())
        .returning(table.c.id, table.c.task_id, table.c.attempt, table.c.ordinals, table.c.tried_at)
    )
    if task_id is not None:
        statement = statement.where(table.c.task_id == task_id)
    for row in connection.execute(statement).all():
        _close_attempts(connection, workspace_id, run_id, row)
        if row.tried_at is not None:
            work = {"workspace_id": workspace_id, "kind": "batch_cancel"}
            made = connection.execute(sa.insert(tasks).values(**work, batch_id=row.id).returning(tasks.c.id))
            connection.execute(sa.insert(outbox).values(**work, ref_id=made.scalar_one()))


def _close_attempts(connection: sa.Connection, workspace_id: UUID, run_id: UUID, row: Any) -> None:
    state = "released" if row.tried_at is None else "unknown"
    a = attempts.c
    closed = connection.execute(
        sa.update(attempts)
        .where(
            a.workspace_id == workspace_id,
            a.run_id == run_id,
            a.task_id == row.task_id,
            a.attempt == row.attempt,
            a.state == "open",
            a.ordinal.in_(row.ordinals),
        )
        .values(state=state, closed_at=sa.func.clock_timestamp())
        .returning(a.ordinal, a.attempt, a.closed_at)
    )
    rows = closed.all()
    if state == "unknown":
        run = run_state.lock(connection, workspace_id, run_id)
        spending.spend_unknown(connection, run, rows)


def _query() -> sa.Select[Any]:
    now = sa.func.clock_timestamp()
    return sa.select(
        table,
        sa.extract("epoch", table.c.created_at).label("created_s"),
        sa.extract("epoch", now - table.c.tried_at).label("tried_s"),
    )


def _handed(row: Any) -> Handed:
    return Handed(
        id=row.id, run_id=row.run_id, attempt=row.attempt, model=row.model, ordinals=list(row.ordinals),
        round=row.round, state=row.state, file_id=row.file_id, remote_id=row.remote_id,
        created_at=int(row.created_s), tried_s=None if row.tried_s is None else float(row.tried_s),
        failures=row.failures,
    )  # fmt: skip
