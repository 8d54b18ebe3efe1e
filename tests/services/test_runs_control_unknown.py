"""Runs that hold do not call again what may have been paid for, until somebody says so."""

from __future__ import annotations

import pytest

from promptcard_ext.core.contract.runs import RequeueSpec, RunSpec
from promptcard_ext.core.errors import Conflict
from server_ext.services import run_control, runs, shards
from server_ext.services import tasks as task_service
from server_ext.services.tasks import Lease
from tests.services.test_leases import expired_lease, lease_of, row_of, states, task_of
from tests.services.test_recording import record
from tests.support import ECHO, Tenant


def start(tenant: Tenant, on_unknown: str) -> str:
    tenant.fill(3)
    with tenant.scope() as scope:
        return str(runs.create(scope, RunSpec(card="greet", models=[ECHO], on_unknown=on_unknown)).id)  # type: ignore[arg-type]


def after_a_death(tenant: Tenant, run_id: str) -> Lease:
    """Return the lease of whoever takes over from a worker that died after it had announced one item."""
    dead = expired_lease(tenant, task_of(tenant, run_id))
    assert task_service.open_attempts(tenant.database, dead, [1])
    return lease_of(tenant, dead.task_id, "b")


def pending(tenant: Tenant, lease: Lease) -> list[int]:
    return [item.ordinal for item in shards.load(tenant.database, lease).pending]


def requeue(tenant: Tenant, run_id: str, *ordinals: int) -> str:
    with tenant.scope() as scope:
        return run_control.requeue(scope, run_id, RequeueSpec([*ordinals])).status


def test_a_run_that_retries_calls_an_item_again_after_its_worker_died(tenant: Tenant) -> None:
    run_id = start(tenant, "retry")
    assert pending(tenant, after_a_death(tenant, run_id)) == [0, 1, 2]
    with pytest.raises(Conflict):
        requeue(tenant, run_id)


def test_a_run_that_holds_does_the_rest_and_waits_until_somebody_requeues_the_item(tenant: Tenant) -> None:
    run_id = start(tenant, "hold")
    lease = after_a_death(tenant, run_id)
    assert pending(tenant, lease) == [0, 2]
    record(tenant, lease, shards.load(tenant.database, lease), [0, 2])
    assert task_service.finish(tenant.database, lease, "done")
    run = tenant.run(run_id)
    assert (run.status, run.error and run.error["code"]) == ("paused", "unknown_outcomes")
    with tenant.scope() as scope:
        run_control.resume(scope, run_id)
    lease = lease_of(tenant, lease.task_id)
    assert pending(tenant, lease) == []  # going on is not saying that it may be called again
    assert task_service.finish(tenant.database, lease, "done")
    with pytest.raises(Conflict):
        requeue(tenant, run_id, 0)
    assert requeue(tenant, run_id, 1) == "running"
    lease = lease_of(tenant, lease.task_id)
    assert pending(tenant, lease) == [1]
    record(tenant, lease, shards.load(tenant.database, lease), [1])
    assert task_service.finish(tenant.database, lease, "done")
    assert tenant.status(run_id) == "completed"
    assert (1, 1, "unknown") in states(tenant, run_id)


def test_an_item_is_requeued_in_a_run_that_somebody_has_paused_and_that_stays_paused(tenant: Tenant) -> None:
    run_id = start(tenant, "hold")
    lease = after_a_death(tenant, run_id)
    with tenant.scope() as scope:
        run_control.pause(scope, run_id)
    assert task_service.release(tenant.database, lease)
    assert requeue(tenant, run_id) == "paused"
    assert row_of(tenant, lease.task_id).state == "held"
