"""Stopping runs, for good or for a while, and changing what they may take. Workers notice within a second."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import UNSET, Struct
from msgspec.structs import replace

from promptcard_ext.core.contract.runs import FINAL, RequeueSpec, RunOut, RunPatch
from promptcard_ext.core.errors import Conflict
from server_ext.db.engine import Database
from server_ext.db.tables import attempts, outbox
from server_ext.db.tables import runs as table
from server_ext.services import audit, batches, changes, reservations, run_state, runs
from server_ext.services.budgets import check_amount
from server_ext.services.scope import Scope, missing
from server_ext.services.tasks import Lease


def cancel(scope: Scope, reference: str) -> RunOut:
    """Ask a run to stop. Results stay; calls in flight are aborted within a second. An ended run is left alone."""
    scope.require("test:cancel")
    run = _locked(scope, reference)
    if run.status not in (*FINAL, "cancelling"):
        run_state.turn_tasks(scope.connection, run, ("queued", "held"), "cancelled")
        batches.abandon(scope.connection, scope.workspace_id, run.id)
        run_state.move(scope.connection, run, "cancelling")
        audit.record(scope, "run.cancelled", "run", run.id)
        run_state.settle(scope.connection, scope.workspace_id, run.id)
    return runs.get(scope, reference)


def pause(scope: Scope, reference: str) -> RunOut:
    """Let a run wait. Calls in flight are aborted within a second, and made anew when it goes on.

    It is ``pausing`` until every worker has handed back what it was at, then ``paused``. A run that waits is left
    alone.

    Raises:
        Conflict: It has ended, or is being cancelled (``run_state``).
    """
    scope.require("test:cancel")
    run = _locked(scope, reference)
    if run.status not in ("pausing", "paused"):
        _check_alive(run, "be paused")
        run_state.turn_tasks(scope.connection, run, ("queued",), "held")
        run_state.move(scope.connection, run, "pausing")
        audit.record(scope, "run.paused", "run", run.id)
        run_state.settle(scope.connection, scope.workspace_id, run.id)
    return runs.get(scope, reference)


def resume(scope: Scope, reference: str) -> RunOut:
    """Let a run that waits go on, from the items that have no result. A run that goes on is left alone.

    Raises:
        Conflict: It has ended, or is being cancelled (``run_state``).
    """
    scope.require("test:execute")
    run = _locked(scope, reference)
    if run.status in ("pausing", "paused"):
        held = run_state.turn_tasks(scope.connection, run, ("held",), "queued")
        _ring(scope, held)
        # A run that no worker has seen yet waits for one again.
        run_state.move(scope.connection, run, "running" if run.started_at else "queued")
        audit.record(scope, "run.resumed", "run", run.id)
    else:
        _check_alive(run, "go on")
    return runs.get(scope, reference)


def requeue(scope: Scope, reference: str, spec: RequeueSpec) -> RunOut:
    """Let items be called again although an earlier call of theirs may have been made and paid for.

    That call stays in the ledger as unknown, with what was set aside for it. A run that only waited for this goes on.

    Raises:
        Conflict: The run has ended, or none of these items waits (``run_state``).
    """
    scope.require("test:execute")
    run = _locked(scope, reference)
    _check_alive(run, "go on")
    a = attempts.c
    of_run = (a.workspace_id == run.workspace_id, a.run_id == run.id, a.state == "unknown", a.cleared_at.is_(None))
    wanted = [a.ordinal.in_(spec.ordinals)] if spec.ordinals else []
    cleared = sa.update(attempts).where(*of_run, *wanted).values(cleared_at=sa.func.clock_timestamp())
    found = scope.connection.execute(cleared.returning(a.task_id, a.ordinal)).all()
    if run.on_unknown != "hold" or not found:
        raise Conflict(
            f"No such item of run '{run.name}' waits.",
            hint="Items wait in runs with on_unknown 'hold'; those with a result are asked again with retry-errors.",
            code="run_state",
        )
    # Of a run that somebody has paused the tasks stay where they are.
    if run.status == "running" or (run.status == "paused" and run.error == run_state.HELD):
        held = run_state.turn_tasks(scope.connection, run, ("held",), "queued")
        _ring(scope, held)
        if run.status == "paused":
            run_state.move(scope.connection, run, "running")
    audit.record(scope, "run.requeued", "run", run.id, items=len({row.ordinal for row in found}))
    return runs.get(scope, reference)


class Orders(Struct, frozen=True):
    """What may change about a run that goes on.

    Attributes:
        concurrency: Most calls in flight per worker.
        limit_usd: What it may spend, by its own budget and by hard rules; None is as much as it wants.
    """

    concurrency: int
    limit_usd: Decimal | None


def orders(database: Database, lease: Lease) -> Orders:
    """Return how the run of a lease is to go on."""
    limit = sa.func.least(table.c.budget_usd, table.c.ceiling_usd)
    width = sa.func.coalesce(table.c.concurrency, table.c.plan["concurrency"].as_integer())
    query = sa.select(width, limit).where(table.c.workspace_id == lease.workspace_id, table.c.id == lease.run_id)
    with database.transaction(lease.workspace_id) as connection:
        return Orders(*connection.execute(query).one())


def adjust(scope: Scope, reference: str, patch: RunPatch) -> RunOut:
    """Change the name of a run, and what it may take as long as it has not ended.

    Raises:
        NotFound: There is none.
        Conflict: It has ended, and all but its name stays as it is (``run_state``).
        OverBudget: With the new budget it may exceed a hard rule (``budget_exceeded``).
        CardError: The budget is none (``budget_invalid``).
        RunError: A budget needs a price that is not known (``budget_unpriced``).
    """
    scope.require("test:execute")
    wanted = {name: getattr(patch, name) for name in ("budget_usd", "concurrency", "priority")}
    changed = {name: value for name, value in wanted.items() if value is not UNSET}
    if not changed:
        return runs.update(scope, reference, patch)
    budget = check_amount(changed.get("budget_usd"))
    run = _locked(scope, reference)
    _check_alive(run, "be changed")
    where = table.c.workspace_id == run.workspace_id, table.c.id == run.id
    scope.connection.execute(sa.update(table).where(*where).values(**changed))
    if "priority" in changed:
        run_state.prefer(scope.connection, run, changed["priority"])
    exceeds = []
    if "budget_usd" in changed:
        if run.plan["execution"] == "batch":
            raise Conflict(
                f"The calls of run '{run.name}' are given away in batches, and its budget with them.",
                hint="Cancel it if it must not cost that much.",
                code="run_state",
            )
        if budget is not None:
            reservations.check_priced(scope, runs.get(scope, reference).plan)
        exceeds = reservations.again(scope, run, budget)
    told = {name: value if value is None else str(value) for name, value in changed.items()}
    run_state.tell(scope.connection, run.workspace_id, run.id, "changed", told)
    # Only now its name: that writes an audit entry, and launches wait for rules first and for the trail then.
    runs.update(scope, reference, patch)
    audit.record(scope, "run.changed", "run", run.id, **told)
    changes.announce(scope, "run", run.id)
    return replace(runs.get(scope, reference), exceeds=exceeds)


def _locked(scope: Scope, reference: str) -> Any:
    run = run_state.lock(scope.connection, scope.workspace_id, runs.as_id(reference))
    if run is None:
        raise missing("run", reference)
    return run


def _check_alive(run: Any, what: str) -> None:
    if run.status in (*FINAL, "cancelling"):
        raise Conflict(
            f"Run '{run.name}' is {run.status} and cannot {what}.",
            hint="Start a new run, or ask its failed items again with retry-errors.",
            code="run_state",
        )


def _ring(scope: Scope, task_ids: Iterable[UUID]) -> None:
    notes = [{"workspace_id": scope.workspace_id, "kind": "run_shard", "ref_id": task_id} for task_id in task_ids]
    if notes:
        scope.connection.execute(sa.insert(outbox), notes)
