"""Background work and the leases on it.

A task is leased to one worker at a time, by the database's clock. The lease carries a token (a fence): whoever lost it
can neither renew nor finish, and learns of it at the next renewal. A lease that runs out may be taken by another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from server_ext.db.engine import Database
from server_ext.db.tables import attempts, outbox, provider_batches, reports, runs, tasks, webhook_deliveries
from server_ext.services import batches, run_state, spending
from server_ext.services.held_items import held_ordinals
from server_ext.services.scope import Scope


class Lease(Struct, frozen=True):
    """The right to work on one task for a while.

    Attributes:
        ordinals: The items of the shard, when not all from the first to the last.
    """

    workspace_id: UUID
    task_id: UUID
    token: UUID
    worker: str
    attempt: int
    kind: str
    run_id: UUID | None
    report_id: UUID | None
    first_ordinal: int | None
    last_ordinal: int | None
    ordinals: tuple[int, ...] | None = None
    delivery_id: UUID | None = None
    batch_id: UUID | None = None


class Note(Struct, frozen=True):
    """That a task waits for a worker; ids only."""

    workspace_id: UUID
    task_id: UUID
    kind: str


def claim_next(database: Database, worker: str, lease_s: float, of_run: UUID | None = None) -> Lease | None:
    """Lease the task that is next by priority and fairness, over all workspaces; None when nothing waits.

    Which one that is says ``pc.next_task``.

    Args:
        of_run: Lease it only if it is of this run.
    """
    query = sa.text("select * from pc.next_task(:of_run)")
    while True:
        with database.transaction() as connection:
            offered = connection.execute(query, {"of_run": of_run}).one_or_none()
        if offered is None:
            return None
        # None for one that had to end, or to wait for its run: then there may be another.
        if lease := claim(database, offered.workspace_id, offered.id, worker, lease_s):
            return lease


def claim(database: Database, workspace_id: UUID, task_id: UUID, worker: str, lease_s: float) -> Lease | None:
    """Lease a task, or return None when it is done, held, cancelled, leased to somebody else or not due yet.

    A task that was taken up ``max_attempts`` times without an end is given up: it fails, and its run with it.
    """
    until = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    free = sa.or_(
        tasks.c.state == "queued", sa.and_(tasks.c.state == "leased", tasks.c.lease_until < sa.func.clock_timestamp())
    )
    with database.transaction(workspace_id) as connection:
        # The run's row before the task's: the order in which a cancellation locks them too.
        run_id = connection.execute(
            sa.select(tasks.c.run_id).where(tasks.c.workspace_id == workspace_id, tasks.c.id == task_id)
        ).scalar_one_or_none()
        run = run_state.lock(connection, workspace_id, run_id) if run_id else None
        # Of two workers the second sees what the first one made of the row.
        row = connection.execute(
            sa.select(tasks)
            .where(tasks.c.workspace_id == workspace_id, tasks.c.id == task_id, free, _due())
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is None:
            return None
        _abandon_attempts(connection, run, task_id)
        if run is not None and run.status == "cancelling":
            _end(connection, row, "cancelled", None)
            return None
        if run is not None and run.status in ("pausing", "paused"):
            _hold(connection, row)
            return None
        if row.attempt >= row.max_attempts:
            _end(connection, row, "failed", {"code": "too_many_attempts", "message": "Its workers died too often."})
            return None
        leased = connection.execute(
            _this(sa.update(tasks), row)
            .values(
                state="leased",
                lease_token=sa.func.gen_random_uuid(),
                lease_until=until,
                worker=worker[:200],
                offered_until=None,
                attempt=tasks.c.attempt + 1,
            )
            .returning(tasks.c.lease_token, tasks.c.attempt)
        ).one()
        if run is not None and run.status == "queued":
            run_state.move(connection, run, "running")
        return Lease(
            workspace_id, task_id, leased.lease_token, worker, leased.attempt, row.kind, row.run_id, row.report_id,
            row.first_ordinal, row.last_ordinal, tuple(row.ordinals) if row.ordinals else None,
            row.delivery_id, row.batch_id,
        )  # fmt: skip


def _abandon_attempts(connection: sa.Connection, run: Any, task_id: UUID) -> None:
    """Calls that a dead worker had announced and not recorded: they may have been made, and paid for."""
    if run is None:
        return
    a = attempts.c
    unknown = connection.execute(
        sa.update(attempts)
        .where(a.workspace_id == run.workspace_id, a.task_id == task_id, a.state == "open", ~_in_batch())
        .values(state="unknown", closed_at=sa.func.clock_timestamp())
        .returning(a.ordinal, a.attempt, a.closed_at)
    )
    spending.spend_unknown(connection, run, unknown)
    spending.close(connection, run.workspace_id, run.id, task_id, None)


def renew(database: Database, lease: Lease, lease_s: float) -> str | None:
    """Prolong a lease.

    Returns:
        The status of the run (so that a worker notices that it should stop), an empty text for a task without a run,
        or None when the lease is lost.
    """
    until = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    with database.transaction(lease.workspace_id) as connection:
        held = connection.execute(
            _mine(sa.update(tasks), lease).values(lease_until=until).returning(tasks.c.run_id)
        ).one_or_none()
        if held is None:
            return None
        if held.run_id is None:
            return ""
        status: str = connection.execute(
            sa.select(runs.c.status).where(runs.c.workspace_id == lease.workspace_id, runs.c.id == held.run_id)
        ).scalar_one()
        return status


def finish(
    database: Database, lease: Lease, state: str, error: dict[str, Any] | None = None, *, sent: Collection[int] = ()
) -> bool:
    """End a task as ``done``, ``failed`` or ``cancelled``, its run when it was the last one, its report when it failed.

    Args:
        sent: Ordinals of items that were called; where they have no result, nobody knows what became of the call.

    Returns:
        False when the lease was lost: then somebody else will end it.
    """
    with database.transaction(lease.workspace_id) as connection:
        held = _mine_query(connection, lease)
        if held is None:
            return False
        _release_attempts(connection, lease, sent)
        if state == "done" and _must_wait(connection, lease):
            _hold(connection, held, more_attempts=1)
        else:
            _end(connection, held, state, error)
        return True


def release(
    database: Database, lease: Lease, error: dict[str, Any] | None = None, *, sent: Collection[int] = ()
) -> bool:
    """Give a task back, so that another worker takes it up at once; or when its run goes on, if that waits.

    Args:
        sent: As `finish` takes them.

    Returns:
        False when the lease was lost.
    """
    with database.transaction(lease.workspace_id) as connection:
        mine = _mine_query(connection, lease)
        if mine is None:
            return False
        _release_attempts(connection, lease, sent)
        # Locked, so that a pause that begins now finds this task where it looks for it.
        run = run_state.lock(connection, lease.workspace_id, mine.run_id) if mine.run_id else None
        if run is not None and run.status == "cancelling":
            _end(connection, mine, "cancelled", error)
            return True
        if run is not None and run.status in ("pausing", "paused"):
            # The worker did not fail: that must not use up the attempts of a run that is paused often.
            _hold(connection, mine, more_attempts=1)
            return True
        # A worker that shuts down has not failed: that must not use up the attempts of a long run.
        more = 0 if error else 1
        connection.execute(
            _mine(sa.update(tasks), lease).values(
                state="queued",
                lease_token=None,
                lease_until=None,
                last_error=error,
                max_attempts=tasks.c.max_attempts + more,
            )
        )
        connection.execute(
            sa.insert(outbox).values(workspace_id=lease.workspace_id, kind=lease.kind, ref_id=lease.task_id)
        )
        return True


def wait(database: Database, lease: Lease, wait_s: float) -> None:
    """Let the task of a run wait until its time has come, unless the run has been stopped meanwhile."""
    with database.transaction(lease.workspace_id) as connection:
        mine = _mine_query(connection, lease)
        if mine is None:
            return
        # Locked, so that a pause that begins now finds this task where it looks for it.
        run = run_state.lock(connection, lease.workspace_id, mine.run_id)
        if run.status == "cancelling":
            _end(connection, mine, "cancelled", None)
        elif run.status in ("pausing", "paused"):
            _hold(connection, mine, more_attempts=1)
        else:
            postpone(connection, lease, wait_s)


def postpone(connection: sa.Connection, lease: Lease, wait_s: float) -> bool:
    """Let a task wait until its time has come, without a worker. Its worker did not fail.

    Returns:
        False when the lease was lost.
    """
    waiting = connection.execute(
        _mine(sa.update(tasks), lease).values(
            state="queued",
            lease_token=None,
            lease_until=None,
            max_attempts=tasks.c.max_attempts + 1,
            not_before=sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, wait_s),
            # So that a worker is woken as soon as it is due.
            rung_at=None,
        )
    )
    return waiting.rowcount == 1


def _due() -> sa.ColumnElement[bool]:
    return sa.or_(tasks.c.not_before.is_(None), tasks.c.not_before <= sa.func.clock_timestamp())


def _must_wait(connection: sa.Connection, lease: Lease) -> bool:
    """Tell whether a task still has items, which somebody must look at first."""
    if lease.run_id is None:
        return False
    run = run_state.lock(connection, lease.workspace_id, lease.run_id)
    return run.status in ("running", "pausing") and bool(held_ordinals(connection, run, lease.task_id))


def _hold(connection: sa.Connection, task: Any, more_attempts: int = 0) -> None:
    """Let a task wait for its run to go on."""
    connection.execute(
        _this(sa.update(tasks), task).values(
            state="held", lease_token=None, lease_until=None, max_attempts=tasks.c.max_attempts + more_attempts
        )
    )
    run_state.settle(connection, task.workspace_id, task.run_id)


def _in_batch() -> sa.ColumnElement[bool]:
    """Calls that a provider has, whatever becomes of the worker that gave them to it."""
    b = provider_batches.c
    live = sa.select(b.id).where(
        b.workspace_id == attempts.c.workspace_id,
        b.task_id == attempts.c.task_id,
        b.attempt == attempts.c.attempt,
        b.state.in_(("preparing", "submitted")),
        attempts.c.ordinal == sa.any_(b.ordinals),
    )
    return live.exists()


def _release_attempts(connection: sa.Connection, lease: Lease, sent: Collection[int]) -> None:
    """Calls that were announced and not recorded: of those that were not sent we know that nobody paid for them."""
    called = attempts.c.ordinal == sa.any_(sa.cast(sorted(sent), ARRAY(sa.Integer)))
    if lease.run_id is None:
        return
    # Before the attempts, as whoever records results.
    run = run_state.lock(connection, lease.workspace_id, lease.run_id)
    closed = connection.execute(
        sa.update(attempts)
        .where(
            attempts.c.workspace_id == lease.workspace_id,
            attempts.c.task_id == lease.task_id,
            attempts.c.lease_token == lease.token,
            attempts.c.state == "open",
            ~_in_batch(),
        )
        .values(state=sa.case((called, "unknown"), else_="released"), closed_at=sa.func.clock_timestamp())
        .returning(attempts.c.ordinal, attempts.c.attempt, attempts.c.state, attempts.c.closed_at)
    )
    unknown = [row for row in closed if row.state == "unknown"]
    spending.spend_unknown(connection, run, unknown)
    # Open only when the worker could not say what it has spent.
    spending.close(connection, lease.workspace_id, lease.run_id, lease.task_id, None)


def _end(connection: sa.Connection, task: Any, state: str, error: dict[str, Any] | None) -> None:
    connection.execute(
        _this(sa.update(tasks), task).values(
            state=state, finished_at=sa.func.clock_timestamp(), last_error=error, lease_token=None, lease_until=None
        )
    )
    if task.kind == "run_shard":
        batches.abandon(connection, task.workspace_id, task.run_id, task.id)
        run_state.settle(connection, task.workspace_id, task.run_id)
    elif state == "failed" and task.kind == "webhook":
        connection.execute(
            sa.update(webhook_deliveries)
            .where(webhook_deliveries.c.workspace_id == task.workspace_id, webhook_deliveries.c.id == task.delivery_id)
            .values(state="failed", error=error, next_attempt_at=None)
        )
    elif state == "failed":
        connection.execute(
            sa.update(reports)
            .where(reports.c.workspace_id == task.workspace_id, reports.c.id == task.report_id)
            .values(status="failed", error=error, finished_at=sa.func.clock_timestamp())
        )


_OPEN = sa.text(
    "insert into attempts (workspace_id, run_id, ordinal, attempt, task_id, lease_token, worker)"
    " select :workspace, :run, unnest(cast(:ordinals as integer[])), :attempt, :task, :token, :worker"
)


def open_attempts(database: Database, lease: Lease, ordinals: list[int]) -> bool:
    """Write down that these items are about to be called, before they are.

    Returns:
        False when the lease is lost: then nothing may be called.
    """
    with database.transaction(lease.workspace_id) as connection:
        return announce(connection, lease, ordinals)


def announce(connection: sa.Connection, lease: Lease, ordinals: Sequence[int]) -> bool:
    """As `open_attempts`, in a transaction that does more than this."""
    if _mine_query(connection, lease) is None:
        return False
    values = {"workspace": lease.workspace_id, "run": lease.run_id, "task": lease.task_id, "token": lease.token}
    more = {"ordinals": list(ordinals), "attempt": lease.attempt, "worker": lease.worker}
    connection.execute(_OPEN, values | more)
    return True


def create(scope: Scope, kind: str, **references: Any) -> UUID:
    """Make a task and the note that wakes a worker for it, in the scope's transaction."""
    task_id: UUID = scope.connection.execute(
        sa.insert(tasks).values(workspace_id=scope.workspace_id, kind=kind, **references).returning(tasks.c.id)
    ).scalar_one()
    scope.connection.execute(sa.insert(outbox).values(workspace_id=scope.workspace_id, kind=kind, ref_id=task_id))
    return task_id


def take_notes(database: Database, ring: Any, limit: int = 500) -> int:
    """Hand notes from the outbox to ``ring``; they are gone only if it took them all.

    A crash in between rings twice, which costs one look at the task; never not at all.
    """
    with database.transaction() as connection:
        rows = connection.execute(sa.text("select * from pc.take_outbox(:limit)"), {"limit": limit}).all()
        for row in rows:
            ring(Note(row.workspace_id, row.ref_id, row.kind))
        return len(rows)


def overdue(database: Database, older_than_s: float, limit: int = 500) -> list[Note]:
    """Return tasks that a worker should be woken for (again): waiting too long, or leased to one that went silent."""
    query = sa.text("select * from pc.tasks_to_ring(make_interval(secs => :age), :limit)")
    with database.transaction() as connection:
        rows = connection.execute(query, {"age": older_than_s, "limit": limit}).all()
    return [Note(row.workspace_id, row.id, row.kind) for row in rows]


def _this(statement: Any, task: Any) -> Any:
    return statement.where(tasks.c.workspace_id == task.workspace_id, tasks.c.id == task.id)


def _mine(statement: Any, lease: Lease) -> Any:
    return statement.where(
        tasks.c.workspace_id == lease.workspace_id,
        tasks.c.id == lease.task_id,
        tasks.c.state == "leased",
        tasks.c.lease_token == lease.token,
    )


def _mine_query(connection: sa.Connection, lease: Lease) -> Any:
    return connection.execute(_mine(sa.select(tasks), lease).with_for_update()).one_or_none()
