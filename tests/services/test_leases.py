"""Tasks are leased to one worker at a time, whatever happens to workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import msgspec
import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import Unavailable, UnknownModel
from server_ext.db.tables import attempts, outbox, tasks
from server_ext.services import recording, reports, run_control, runs, shards
from server_ext.services import tasks as task_service
from server_ext.services.tasks import Lease, Note
from tests.support import Tenant, wait_for

LONG = 60.0


def task_of(tenant: Tenant, run_id: str) -> UUID:
    with tenant.scope() as scope:
        query = sa.select(tasks.c.id).where(tasks.c.workspace_id == tenant.id, tasks.c.run_id == UUID(run_id))
        return scope.connection.execute(query).scalar_one()


def row_of(tenant: Tenant, task_id: UUID) -> sa.Row[tuple[object, ...]]:
    with tenant.scope() as scope:
        return scope.connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()


def states(tenant: Tenant, run_id: str) -> list[tuple[int, int, str]]:
    """Return ordinal, attempt and state of every announced call."""
    with tenant.scope() as scope:
        query = sa.select(attempts.c.ordinal, attempts.c.attempt, attempts.c.state)
        query = query.where(attempts.c.run_id == UUID(run_id)).order_by(attempts.c.ordinal, attempts.c.attempt)
        return [(row.ordinal, row.attempt, row.state) for row in scope.connection.execute(query)]


def claim(tenant: Tenant, task_id: UUID, worker: str = "a", lease_s: float = LONG) -> Lease | None:
    return task_service.claim(tenant.database, tenant.id, task_id, worker, lease_s)


def lease_of(tenant: Tenant, task_id: UUID, worker: str = "a", lease_s: float = LONG) -> Lease:
    lease = claim(tenant, task_id, worker, lease_s)
    assert lease is not None
    return lease


def expired_lease(tenant: Tenant, task_id: UUID, worker: str = "a") -> Lease:
    """Return a lease that has run out."""
    lease = lease_of(tenant, task_id, worker)
    with tenant.scope() as scope:
        past = sa.func.clock_timestamp() - sa.text("interval '1 second'")
        scope.connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(lease_until=past))
    return lease


@pytest.fixture
def run_id(tenant: Tenant) -> str:
    return tenant.start(count=3)


@pytest.fixture
def task_id(tenant: Tenant, run_id: str) -> UUID:
    return task_of(tenant, run_id)


def test_the_first_claim_of_a_run_starts_it(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    lease = lease_of(tenant, task_id)
    assert (lease.attempt, lease.first_ordinal, lease.last_ordinal) == (1, 0, 2)
    assert tenant.status(run_id) == "running"


@pytest.mark.parametrize("turn", range(5))
def test_of_many_workers_one_gets_the_task(tenant: Tenant, task_id: UUID, turn: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        leases = list(pool.map(lambda worker: claim(tenant, task_id, f"w{worker}"), range(8)))
    assert len([lease for lease in leases if lease is not None]) == 1


@pytest.mark.parametrize("turn", range(5))
def test_of_many_workers_one_takes_over_an_expired_lease(tenant: Tenant, task_id: UUID, turn: int) -> None:
    expired_lease(tenant, task_id)
    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(lambda worker: claim(tenant, task_id, f"w{worker}"), range(8)) if lease]
    assert [lease.attempt for lease in leases] == [2]


def test_a_task_that_does_not_exist_is_nobodys(tenant: Tenant) -> None:
    assert claim(tenant, uuid4()) is None


def test_a_task_of_another_workspace_is_nobodys(tenant: Tenant, stranger: Tenant, task_id: UUID) -> None:
    assert claim(stranger, task_id) is None


def test_a_lease_that_is_renewed_is_not_taken_over(tenant: Tenant, task_id: UUID) -> None:
    lease = expired_lease(tenant, task_id)
    assert task_service.renew(tenant.database, lease, LONG) == "running"
    assert claim(tenant, task_id, "b") is None


def test_a_lease_ends_by_the_clock_of_the_database(tenant: Tenant, task_id: UUID) -> None:
    lease_of(tenant, task_id, "a", 0.3)
    assert claim(tenant, task_id, "b") is None
    assert wait_for(lambda: claim(tenant, task_id, "b"), 5).attempt == 2  # type: ignore[union-attr]


def test_whoever_lost_the_lease_can_neither_renew_nor_finish_nor_release_nor_call(
    tenant: Tenant, run_id: str, task_id: UUID
) -> None:
    lost = expired_lease(tenant, task_id)
    taken = lease_of(tenant, task_id, "b")

    assert task_service.renew(tenant.database, lost, LONG) is None
    assert task_service.finish(tenant.database, lost, "done") is False
    assert task_service.release(tenant.database, lost) is False
    assert task_service.open_attempts(tenant.database, lost, [0]) is False
    assert states(tenant, run_id) == []
    assert task_service.renew(tenant.database, taken, LONG) == "running"


def test_renewing_tells_that_the_run_is_to_stop(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    lease = lease_of(tenant, task_id)
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelling"
    assert task_service.renew(tenant.database, lease, LONG) == "cancelling"
    assert task_service.finish(tenant.database, lease, "cancelled")
    assert tenant.status(run_id) == "cancelled"


def test_announced_calls_of_a_dead_worker_are_unknown_ever_after(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    dead = expired_lease(tenant, task_id)
    with tenant.scope() as scope:  # as the dead worker did while it lived
        later = sa.func.clock_timestamp() + sa.text("interval '1 minute'")
        scope.connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(lease_until=later))
    assert task_service.open_attempts(tenant.database, dead, [0, 1])
    with tenant.scope() as scope:
        past = sa.func.clock_timestamp() - sa.text("interval '1 second'")
        scope.connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(lease_until=past))

    taken = lease_of(tenant, task_id, "b")
    assert states(tenant, run_id) == [(0, 1, "unknown"), (1, 1, "unknown")]
    assert task_service.open_attempts(tenant.database, taken, [0])
    assert states(tenant, run_id) == [(0, 1, "unknown"), (0, 2, "open"), (1, 1, "unknown")]


def test_a_released_task_is_there_for_the_next_at_once(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    lease = lease_of(tenant, task_id)
    task_service.open_attempts(tenant.database, lease, [0])
    assert task_service.release(tenant.database, lease)

    assert states(tenant, run_id) == [(0, 1, "released")]
    assert lease_of(tenant, task_id, "b").attempt == 2
    with tenant.scope() as scope:
        notes = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.ref_id == task_id)
        assert scope.connection.execute(notes).scalar_one() == 2  # of the run's start, and of the release


def test_a_task_whose_workers_die_too_often_is_given_up_with_its_run(
    tenant: Tenant, run_id: str, task_id: UUID
) -> None:
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(max_attempts=3))
    for _ in range(3):
        expired_lease(tenant, task_id)
    assert claim(tenant, task_id) is None

    row, run = row_of(tenant, task_id), tenant.run(run_id)
    assert (row.state, row.last_error["code"]) == ("failed", "too_many_attempts")
    assert (run.status, run.error["code"]) == ("failed", "run_incomplete")


def test_workers_that_shut_down_do_not_use_up_the_attempts(tenant: Tenant, task_id: UUID) -> None:
    for _ in range(25):
        assert task_service.release(tenant.database, lease_of(tenant, task_id))
    assert lease_of(tenant, task_id).attempt == 26


def test_a_report_whose_workers_die_too_often_fails(tenant: Tenant, run_id: str) -> None:
    with tenant.scope() as scope:
        report_id = str(reports.create(scope, run_id)["id"])
        query = sa.update(tasks).where(tasks.c.report_id == UUID(report_id)).values(max_attempts=1)
        task_id = scope.connection.execute(query.returning(tasks.c.id)).scalar_one()
    expired_lease(tenant, task_id)
    assert claim(tenant, task_id) is None
    with tenant.scope() as scope:
        report = reports.get(scope, report_id)
    assert (report["status"], report["error"]["code"]) == ("failed", "too_many_attempts")


def test_a_task_of_a_run_that_is_being_cancelled_is_not_begun_again(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    expired_lease(tenant, task_id)
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelling"
    assert claim(tenant, task_id, "b") is None
    assert (row_of(tenant, task_id).state, tenant.status(run_id)) == ("cancelled", "cancelled")


def test_a_run_fails_when_its_last_task_ends_and_results_lack(tenant: Tenant, run_id: str, task_id: UUID) -> None:
    assert task_service.finish(tenant.database, lease_of(tenant, task_id), "done")
    run = tenant.run(run_id)
    assert (run.status, run.error["message"]) == ("failed", "3 of 3 items have no result.")


def test_a_shard_brings_only_what_has_no_result_yet(tenant: Tenant, task_id: UUID) -> None:
    shard = shards.load(tenant.database, lease_of(tenant, task_id))
    assert [item.ordinal for item in shard.pending] == [0, 1, 2]
    with tenant.scope() as scope:
        assert recording.recorded_ordinals(scope.connection, lease_of_expired(tenant, task_id)) == set()


def lease_of_expired(tenant: Tenant, task_id: UUID) -> Lease:
    with tenant.database.transaction(tenant.id) as connection:
        past = sa.func.clock_timestamp() - sa.text("interval '1 second'")
        connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(lease_until=past))
    return lease_of(tenant, task_id, "again")


def test_a_note_stays_until_the_bell_took_it(tenant: Tenant, task_id: UUID) -> None:
    taken: list[Note] = []

    def broken(note: Note) -> None:
        raise Unavailable("The queue does not answer.")

    with pytest.raises(Unavailable):
        task_service.take_notes(tenant.database, broken)
    while task_service.take_notes(tenant.database, taken.append):
        pass
    assert task_id in {note.task_id for note in taken}
    assert task_service.take_notes(tenant.database, broken) == 0


def test_notes_are_as_lasting_as_what_they_tell_of(tenant: Tenant) -> None:
    tenant.fill()

    def drain() -> int:
        return task_service.take_notes(tenant.database, lambda note: None)

    while drain():
        pass
    with pytest.raises(UnknownModel):
        start_and_fail(tenant)
    assert drain() == 0
    tenant.start()
    assert drain() == 1


def start_and_fail(tenant: Tenant) -> None:
    spec = RunSpec(card="greet", models=["simulated:echo"])
    with tenant.scope() as scope:
        runs.create(scope, spec)
        runs.create(scope, msgspec.structs.replace(spec, models=["simulated:nosuch"]))


def test_overdue_tasks_are_named_once_in_a_while(tenant: Tenant, task_id: UUID) -> None:
    def named(older_than_s: float) -> bool:
        return task_id in {note.task_id for note in task_service.overdue(tenant.database, older_than_s)}

    assert named(60)
    assert not named(60)
    assert named(0)
    expired_lease(tenant, task_id)
    assert named(0)
    lease_of(tenant, task_id)
    assert not named(0)
