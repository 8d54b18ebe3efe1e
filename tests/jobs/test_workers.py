"""Real worker processes, and what becomes of the work when they are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa
from redis import Redis

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.runs import FINAL, ItemQuery, RunSpec
from promptcard_ext.core.results import Outcome
from server_ext.db.tables import attempts, generations, rollup_hours, tasks
from server_ext.embedded import Services
from server_ext.jobs.queue import Doorbell
from server_ext.jobs.relay import Relay
from server_ext.services import cases, items, reports, run_control, runs, workers
from tests.conftest import StartWorker
from tests.support import ECHO, SLOW, Program, Tenant, wait_for

ITEMS = 40


def completed(tenant: Tenant, run_id: str, timeout_s: float = 60) -> None:
    wait_for(lambda: tenant.status(run_id) in FINAL, timeout_s)
    assert tenant.status(run_id) == "completed"


def check_once(tenant: Tenant, run_id: str, total: int) -> None:
    """Every item has one result, every event brings what it should, and every call has a row."""
    with tenant.scope() as scope:
        found = items.list_items(scope, run_id, ItemQuery(limit=2000)).items
        seen: list[int] = []
        after = 0
        while True:
            events, run = items.events_after(scope, run_id, after)
            seen += [item.ordinal for event in events for item in event.items]
            if not events:
                break
            assert [event.seq for event in events] == list(range(after + 1, after + len(events) + 1))
            after = events[-1].seq
        calls = scope.connection.execute(
            sa.select(attempts.c.ordinal, attempts.c.state).where(attempts.c.run_id == UUID(run_id))
        ).all()
        paid = scope.connection.execute(sa.select(sa.func.count()).select_from(generations)).scalar_one()
        summed = scope.connection.execute(sa.select(sa.func.sum(rollup_hours.c.n))).scalar_one()
    assert [item.ordinal for item in found] == list(range(total))
    assert sorted(seen) == list(range(total))
    assert (run.counts.done, after, summed) == (total, run.event_seq, total)
    states = [call.state for call in calls]
    assert "open" not in states
    assert states.count("recorded") == total
    # An answer that was stored without becoming the result is one that came late.
    assert paid == total + states.count("late")


def pids_known(tenant: Tenant) -> set[int]:
    with tenant.database.transaction() as connection:
        return {worker.pid for worker in workers.known(connection)}


def begun(tenant: Tenant, run_id: str, count: int = 3) -> None:
    wait_for(lambda: tenant.recorded(run_id) >= count)


def test_a_worker_carries_out_a_run(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = tenant.start([ECHO, "simulated:hasty?latency_ms=1"], count=100, repeats=3)
    start_worker()
    completed(tenant, run_id)
    check_once(tenant, run_id, 600)


def test_a_worker_asks_judges_and_embedding_models_and_runs_no_python(
    tenant: Tenant, start_worker: StartWorker, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    assertions = [
        Assertion("llm-rubric", "Is friendly."),
        Assertion("similar", "Hello Ada", threshold=0.1),
        Assertion("python", f"__import__('pathlib').Path({str(mark)!r}).touch() or True", weight=0),
    ]
    tenant.fill(0)
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", [Case({"who": "Ada"}, assertions, threshold=0.1)])
        spec = RunSpec(card="greet", models=[ECHO], repeats=3, judges=["simulated:judge"], embedder="simulated:embed")
        run_id = str(runs.create(scope, spec).id)
    start_worker()
    completed(tenant, run_id)
    with tenant.scope() as scope:
        found = items.list_items(scope, run_id, ItemQuery(limit=10)).items
    assert len(found) == 3
    for item in found:
        rubric, similar, own = item.verdicts
        assert rubric.outcome in (Outcome.PASS, Outcome.FAIL)
        assert (similar.outcome, similar.score is not None) == (Outcome.PASS, True)
        assert (own.outcome, own.reason) == (Outcome.UNSCORED, "python_not_here")
        assert item.score is not None
        assert sorted(call.purpose for call in item.calls) == ["embedding", "judge"]
    assert not mark.exists()


def test_several_workers_share_a_run(tenant: Tenant, start_worker: StartWorker) -> None:
    pids = {start_worker().pid for _ in range(2)}
    # One that is there alone takes up one shard after the other before the next worker has begun.
    wait_for(lambda: pids <= pids_known(tenant))
    run_id = tenant.start([SLOW], count=100, repeats=10, concurrency=100)  # 1,000 items: two shards
    completed(tenant, run_id)
    check_once(tenant, run_id, 1000)
    with tenant.scope() as scope:
        names = scope.connection.execute(sa.select(attempts.c.worker).distinct()).scalars().all()
    assert len(names) == 2


def test_a_burst_worker_ends_when_nothing_is_left(
    tenant: Tenant, services: Services, start_worker: StartWorker
) -> None:
    doorbell = Doorbell(services.redis_url)
    relay = Relay(tenant.database, doorbell)
    relay.start()
    try:
        run_id = tenant.start()
        wait_for(doorbell.waiting)
    finally:
        relay.close()
        doorbell.close()
    worker = start_worker("--burst")
    assert worker.process.wait(30) == 0
    assert tenant.status(run_id) == "completed"


@pytest.mark.parametrize("whole_family", [True, False], ids=["worker and job", "worker only"])
def test_every_item_is_recorded_once_when_a_worker_is_killed(
    tenant: Tenant, start_worker: StartWorker, whole_family: bool
) -> None:
    run_id = tenant.start([SLOW], count=ITEMS, concurrency=4)
    first = start_worker()
    begun(tenant, run_id)
    orphans = first.horses()
    assert orphans
    if whole_family:
        first.kill_all()
    else:
        first.kill()
    assert tenant.recorded(run_id) < ITEMS
    start_worker()
    completed(tenant, run_id)
    check_once(tenant, run_id, ITEMS)
    with tenant.scope() as scope:
        states = (
            scope.connection.execute(sa.select(attempts.c.state).where(attempts.c.state != "recorded")).scalars().all()
        )
    if not whole_family:
        # The job noticed that it was alone, and said itself what it had not done: four calls were in flight.
        assert states.count("unknown") <= 4
        assert set(states) <= {"unknown", "released"}
    else:
        # What was announced and not recorded when it died may have been paid for, and the ledger says so.
        assert set(states) == {"unknown"}
    assert psutil.wait_procs(orphans, timeout=20)[1] == []


def test_a_worker_that_is_asked_to_end_hands_back_what_it_has_not_done(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = tenant.start([SLOW], count=ITEMS, concurrency=4)
    first = start_worker(lease_s=60)
    begun(tenant, run_id)
    assert first.stop() < 5
    assert first.process.returncode == 0
    done = tenant.recorded(run_id)
    assert 0 < done < ITEMS
    with tenant.scope() as scope:
        assert scope.connection.execute(sa.select(tasks.c.state, tasks.c.lease_token)).all() == [("queued", None)]
        states = set(scope.connection.execute(sa.select(attempts.c.state)).scalars())
    # What was in flight was answered first.
    assert {"recorded"} <= states <= {"recorded", "released"}

    began = time.monotonic()
    start_worker(lease_s=60)
    begun(tenant, run_id, done + 1)
    assert time.monotonic() - began < 20  # not after the lease of a minute
    completed(tenant, run_id)
    check_once(tenant, run_id, ITEMS)


def test_a_worker_that_waits_ends_at_once(start_worker: StartWorker, redis: Redis) -> None:
    worker = start_worker()
    wait_for(lambda: redis.scard("rq:workers"))
    assert worker.stop() < 5
    assert worker.process.returncode == 0


def test_a_run_ends_although_redis_forgot_everything(tenant: Tenant, redis: Redis, start_worker: StartWorker) -> None:
    run_id = tenant.start([SLOW], count=100, repeats=5, concurrency=100)
    start_worker()
    begun(tenant, run_id)
    redis.flushall()
    completed(tenant, run_id)
    check_once(tenant, run_id, 500)


def test_a_run_is_stopped_within_a_second_and_keeps_what_it_has(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = tenant.start([SLOW], count=ITEMS, concurrency=2)
    start_worker()
    begun(tenant, run_id)
    with tenant.scope() as scope:
        assert run_control.cancel(scope, run_id).status == "cancelling"
    wait_for(lambda: tenant.status(run_id) == "cancelled", 2.0)
    run = tenant.run(run_id)
    assert 0 < run.counts.done < ITEMS
    with tenant.scope() as scope:
        assert len(items.list_items(scope, run_id).items) == run.counts.done


def test_a_cancelled_run_whose_worker_died_ends_all_the_same(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = tenant.start([SLOW], count=ITEMS, concurrency=2)
    first = start_worker()
    begun(tenant, run_id)
    first.kill_all()
    done = tenant.recorded(run_id)
    with tenant.scope() as scope:
        run_control.cancel(scope, run_id)
    start_worker()
    wait_for(lambda: tenant.status(run_id) == "cancelled")
    assert tenant.recorded(run_id) == done


def test_a_run_whose_card_was_broken_behind_our_back_fails_with_a_reason(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = tenant.start()
    with tenant.scope() as scope:
        broken = sa.text("update runs set plan = jsonb_set(plan, '{card}', '\"gone\"') where id = :id")
        scope.connection.execute(broken, {"id": UUID(run_id)})
    start_worker()
    wait_for(lambda: tenant.status(run_id) == "failed")
    with tenant.scope() as scope:
        error = scope.connection.execute(sa.select(tasks.c.last_error)).scalar_one()
    assert (error["code"], error["message"]) == ("not_found", "There is no card 'gone' here.")


def test_a_worker_ends_with_the_process_it_was_started_for(start_worker: StartWorker) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        worker: Program = start_worker("--parent", str(parent.pid))  # not its parent: gone from the start
        assert worker.process.wait(30) == 0
        parent.communicate(b"\n")


def test_a_worker_that_is_asked_to_end_gives_back_the_report_it_makes(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    run_id = tenant.start()
    first = start_worker(lease_s=60)
    completed(tenant, run_id)
    with tenant.scope() as scope:
        report_id = str(reports.create(scope, run_id)["id"])

    def status() -> str:
        with tenant.scope() as scope:
            return str(reports.get(scope, report_id)["status"])

    wait_for(lambda: status() == "running")
    family = wait_for(lambda: found if len(found := first.family()) >= 3 else None)  # worker, job, notebook
    assert first.stop() < 5
    assert psutil.wait_procs(family, timeout=20)[1] == []
    with tenant.scope() as scope:
        query = sa.select(tasks.c.state).where(tasks.c.report_id == UUID(report_id))
        assert scope.connection.execute(query).scalar_one() == "queued"

    start_worker(lease_s=60)
    wait_for(lambda: status() == "done", 90)
