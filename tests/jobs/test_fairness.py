"""Whose work is next: priorities, turns of workspaces and runs, and what a bell is good for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.runs import Priority, RunPatch, RunSpec
from server_ext.db.engine import Database
from server_ext.db.tables import tasks
from server_ext.services import run_control, runs
from server_ext.services import tasks as task_service
from server_ext.services.tasks import Lease
from tests.conftest import StartWorker
from tests.support import ECHO, Tenant, wait_for


@pytest.fixture(autouse=True)
def nothing_else_waits(database: Database) -> None:
    """What other tests have left is done, as far as these are concerned."""
    while lease := claim(database):
        task_service.finish(database, lease, "cancelled")


CASES = 40


def claim(database: Database) -> Lease | None:
    return task_service.claim_next(database, "w", 60)


def start(tenant: Tenant, items: int, priority: Priority = "medium", models: tuple[str, ...] = (ECHO,)) -> UUID:
    """Start a run of about so many items, of which up to 250 are a shard."""
    names = [f"ada-{n}" for n in range(min(CASES, items))]
    spec = RunSpec(card="greet", models=list(models), cases=names, repeats=items // len(names), priority=priority)
    with tenant.scope() as scope:
        return runs.create(scope, spec).id


def taken(database: Database, most: int = 100) -> list[UUID | None]:
    """Do one task after the other, as one worker does; return the runs that they are of."""
    found = []
    while len(found) < most and (lease := claim(database)):
        found.append(lease.run_id)
        task_service.finish(database, lease, "done")
    return found


def all_at_once(database: Database, most: int) -> list[UUID | None]:
    """Lease tasks as so many workers do that are all still at it."""
    return [lease.run_id for _ in range(most) if (lease := claim(database))]


def test_a_small_run_is_next_after_one_shard_of_a_giant_of_another_workspace(
    tenant: Tenant, stranger: Tenant, database: Database
) -> None:
    for one in (tenant, stranger):
        one.fill(CASES)
    giant = start(tenant, 10_000)
    first = claim(database)
    small = start(stranger, 5)
    assert first is not None
    task_service.finish(database, first, "done")
    rest = taken(database)
    assert rest[0] == small
    assert rest[1:] == [giant] * 39


def test_a_worker_that_is_rung_for_forty_shards_turns_to_a_small_run_after_the_one_it_is_at(
    tenant: Tenant, stranger: Tenant, start_worker: StartWorker
) -> None:
    tenant.fill(CASES)
    stranger.fill(CASES)
    giant = start(tenant, 10_000, models=("simulated:steady?latency_ms=20&spread=0",))
    start_worker()
    wait_for(lambda: tenant.recorded(str(giant)))
    begun = tenant.recorded(str(giant))
    small = start(stranger, 5)
    wait_for(lambda: stranger.status(str(small)) == "completed", 60)
    # What was begun, the one that may have been taken between our two looks, and some of the next.
    assert tenant.recorded(str(giant)) <= begun + 3 * 250


def test_a_small_run_of_the_same_workspace_does_not_wait_for_a_giant_either(tenant: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    giant = start(tenant, 2_500)
    assert taken(database, 2) == [giant, giant]
    small = start(tenant, 5)
    assert taken(database)[0] == small


def test_within_a_workspace_high_goes_before_medium_and_low(tenant: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    low, medium, high = start(tenant, 500, "low"), start(tenant, 500), start(tenant, 500, "high")
    assert taken(database) == [high, high, medium, medium, low, low]


def test_a_run_that_is_given_another_priority_while_it_goes_on_is_next_or_last(
    tenant: Tenant, database: Database
) -> None:
    tenant.fill(CASES)
    first, second = start(tenant, 1_000), start(tenant, 1_000)
    assert taken(database, 2) == [first, second]

    def prefer(run_id: UUID, priority: Priority) -> None:
        with tenant.scope() as scope:
            run_control.adjust(scope, str(run_id), RunPatch(priority=priority))

    prefer(second, "high")
    assert taken(database, 2) == [second, second]
    prefer(second, "low")
    assert taken(database) == [first, first, first, second]


def test_workspaces_take_turns(tenant: Tenant, stranger: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    stranger.fill(CASES)
    ours, theirs = start(tenant, 1_000), start(stranger, 1_000)
    assert taken(database) == [ours, theirs] * 4


def test_workers_that_are_busy_are_shared_evenly(tenant: Tenant, stranger: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    stranger.fill(CASES)
    ours = start(tenant, 2_500)
    assert all_at_once(database, 4) == [ours] * 4
    theirs = start(stranger, 2_500)
    assert all_at_once(database, 5) == [theirs] * 4 + [ours]


def test_a_workspace_that_has_waited_for_a_minute_goes_before_a_higher_priority(
    tenant: Tenant, stranger: Tenant, database: Database
) -> None:
    tenant.fill(CASES)
    stranger.fill(CASES)
    urgent, patient = start(tenant, 1_000, "high"), start(stranger, 500)
    assert taken(database, 1) == [urgent]
    with stranger.scope() as scope:
        long_ago = sa.func.clock_timestamp() - sa.text("interval '2 minutes'")
        mine = tasks.c.workspace_id == stranger.id
        scope.connection.execute(sa.update(tasks).where(mine).values(created_at=long_ago))
    assert taken(database) == [patient, urgent, urgent, urgent, patient]


def test_many_workers_at_once_get_a_task_each(tenant: Tenant, stranger: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    stranger.fill(CASES)
    for one in (tenant, stranger):
        start(one, 1_000)
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda _: claim(database), range(10)))
    got = [lease.task_id for lease in leases if lease]
    assert len(set(got)) == len(got) == 8
    assert sorted(str(lease.workspace_id) for lease in leases if lease) == sorted(
        [str(tenant.id), str(stranger.id)] * 4
    )


def test_a_task_that_was_offered_and_not_taken_is_offered_again(tenant: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    start(tenant, 5)

    def offered() -> object:
        with database.transaction() as connection:
            return connection.execute(sa.text("select * from pc.next_task()")).one_or_none()

    first = offered()
    assert first is not None
    assert claim(database) is None
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(tasks).values(offered_until=sa.func.clock_timestamp()))
    assert offered() == first


def test_a_run_that_goes_on_is_taken_up_at_once(tenant: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    run_id = start(tenant, 5)
    assert claim(database)
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(tasks).values(state="queued", lease_token=None, lease_until=None))
        run_control.pause(scope, str(run_id))
    assert claim(database) is None
    with tenant.scope() as scope:
        run_control.resume(scope, str(run_id))
    assert claim(database)


def test_a_lease_that_ran_out_is_taken_by_the_next(tenant: Tenant, database: Database) -> None:
    tenant.fill(CASES)
    start(tenant, 5)
    first = claim(database)
    assert first is not None
    assert claim(database) is None
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(tasks).values(lease_until=sa.func.clock_timestamp()))
    second = claim(database)
    assert second is not None
    assert (second.task_id, second.attempt) == (first.task_id, 2)
