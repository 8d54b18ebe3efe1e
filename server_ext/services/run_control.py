"""Stopping runs, for good or for a while. Workers notice within a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.runs import FINAL, RunOut
from promptcard_ext.core.errors import Conflict
from server_ext.db.tables import outbox
from server_ext.services import audit, batches, run_state, runs
from server_ext.services.scope import Scope, missing


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
