"""Several workers under one parent, the calls that one may make, and what a worker tells of itself."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil
import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.runs import FINAL
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.jobs.presence import FOLDER, pulses
from server_ext.services import workers
from server_ext.services.workers import Known, Sign
from server_ext.settings import Settings
from tests.conftest import StartWorker
from tests.jobs.test_workers import begun, check_once, completed
from tests.support import SLOW, Program, Tenant, run_command, wait_for


def known(database: Database) -> list[Known]:
    with database.transaction() as connection:
        return [worker for worker in workers.known(connection) if worker.state != "lost"]


def mine(database: Database, program: Program) -> list[Known]:
    """Return the workers of a program, itself or those that it has started."""
    pids = {process.pid for process in program.family()}
    return [worker for worker in known(database) if worker.pid in pids]


def test_a_pool_starts_one_that_dies_again_and_the_run_ends_right(
    tenant: Tenant, database: Database, start_worker: StartWorker
) -> None:
    pool = start_worker("--processes", "2")
    wait_for(lambda: len(mine(database, pool)) == 2)
    run_id = tenant.start([SLOW], count=100, repeats=5, concurrency=50)
    begun(tenant, run_id)
    victim = next(worker for worker in mine(database, pool) if worker.tasks)
    os.kill(victim.pid, signal.SIGKILL)
    wait_for(lambda: len({worker.pid for worker in mine(database, pool)} - {victim.pid}) == 2)
    completed(tenant, run_id)
    check_once(tenant, run_id, 500)


def test_a_pool_that_is_asked_to_end_lets_all_hand_back_what_they_are_at(
    tenant: Tenant, database: Database, start_worker: StartWorker
) -> None:
    pool = start_worker("--processes", "2", lease_s=60)
    wait_for(lambda: len(mine(database, pool)) == 2)
    run_id = tenant.start([SLOW], count=100, repeats=5, concurrency=4)
    wait_for(lambda: sum(worker.tasks for worker in mine(database, pool)) == 2)
    family = pool.family()
    assert pool.stop() < 15
    assert pool.process.returncode == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    with tenant.scope() as scope:
        leased = sa.text("select count(*) from tasks where state = 'leased'")
        assert scope.connection.execute(leased).scalar_one() == 0
    assert tenant.status(run_id) not in FINAL


def test_a_pool_whose_parent_is_killed_leaves_no_worker_behind(database: Database, start_worker: StartWorker) -> None:
    pool = start_worker("--processes", "2")
    wait_for(lambda: len(mine(database, pool)) == 2)
    children = pool.horses()
    pool.kill()
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_no_more_calls_are_in_flight_than_the_worker_may_make(tenant: Tenant, start_worker: StartWorker) -> None:
    run_id = tenant.start([SLOW], count=12, concurrency=12)
    start_worker("--concurrency", "3")
    completed(tenant, run_id)
    run = tenant.run(run_id)
    assert run.started_at is not None
    assert run.finished_at is not None
    # Twelve calls of 0.4 s, three at a time.
    assert (run.finished_at - run.started_at).total_seconds() >= 4 * 0.4


@pytest.mark.parametrize(
    "arguments",
    [["--processes", "0"], ["--processes", "2", "--burst"], ["--concurrency", "0"], ["--grace", "-1"]],
)
def test_options_that_make_no_sense_are_refused(settings: Settings, arguments: list[str]) -> None:
    refused = run_command(settings.home, "worker", *arguments)
    assert refused.returncode != 0
    assert "worker_option_invalid" in refused.stderr + refused.stdout


def test_a_worker_is_known_while_it_runs_and_says_what_it_is_at(
    tenant: Tenant, database: Database, start_worker: StartWorker
) -> None:
    worker = start_worker("--concurrency", "2")
    wait_for(lambda: [one.state for one in mine(database, worker)] == ["idle"])
    run_id = tenant.start([SLOW], count=100)
    wait_for(lambda: [(one.state, one.tasks) for one in mine(database, worker)] == [("busy", 1)])
    with database.transaction(tenant.id) as connection:
        (one,) = [one for one in workers.known(connection) if one.pid == worker.pid]
    assert (one.concurrency, one.own_tasks) == (2, 1)
    begun(tenant, run_id)
    assert worker.stop() < 10
    assert worker.pid not in [one.pid for one in known(database)]


def test_a_worker_that_died_is_lost_after_half_a_minute_and_forgotten_after_ten(
    database: Database, services: Services
) -> None:
    for name in ("recent", "silent", "gone"):
        workers.beat(database, Sign(name, "elsewhere", 1, "0", "busy"))
    engine = sa.create_engine(sa.make_url(str(services.owner_database_url)).set(drivername="postgresql+psycopg"))
    age = sa.text("update workers set heartbeat_at = clock_timestamp() - make_interval(secs => :s) where name = :name")
    with engine.begin() as connection:
        connection.execute(age, [{"name": "silent", "s": 40}, {"name": "gone", "s": 700}])
    engine.dispose()
    workers.beat(database, Sign("recent", "elsewhere", 1, "0", "idle"))
    with database.transaction() as connection:
        states = {one.name: one.state for one in workers.known(connection) if one.host == "elsewhere"}
    assert states == {"recent": "idle", "silent": "lost"}
    for name in states:
        workers.forget(database, name)


def test_a_supervisor_can_ask_how_the_workers_are(
    settings: Settings, database: Database, start_worker: StartWorker
) -> None:
    with suppress(FileNotFoundError):
        for path in (settings.home / FOLDER).iterdir():
            path.unlink()
    assert run_command(settings.home, "worker", "--status").returncode == 1
    worker = start_worker()
    wait_for(lambda: [pulse.pid for pulse in pulses(settings.home) if pulse.ready] == [worker.pid])
    well = run_command(settings.home, "worker", "--status")
    assert (well.returncode, "idle" in well.stdout) == (0, True)

    worker.process.send_signal(signal.SIGSTOP)
    path = settings.home / FOLDER / next(path.name for path in (settings.home / FOLDER).iterdir())
    path.write_bytes(path.read_bytes().replace(b'"at":17', b'"at":1'))
    unwell = run_command(settings.home, "worker", "--status")
    assert (unwell.returncode, "silent" in unwell.stdout) == (1, True)
    worker.process.send_signal(signal.SIGCONT)

    worker.kill_all()
    assert run_command(settings.home, "worker", "--status").returncode == 1
    assert pulses(settings.home) == []
