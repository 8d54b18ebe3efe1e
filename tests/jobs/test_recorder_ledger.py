"""Calls that were sent and not answered are of unknown fate; only what was never sent is released."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import PromptCardError
from server_ext.embedded import Services
from server_ext.jobs import journal, shard
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.jobs.run_calls import RunCalls
from server_ext.keys import load_ring
from server_ext.services import runs, shards
from server_ext.services import tasks as task_service
from server_ext.settings import Settings
from tests.jobs.line import Line
from tests.jobs.test_recorder import line  # noqa: F401  a fixture
from tests.run_async import run_async
from tests.services.test_leases import lease_of, states, task_of
from tests.support import Tenant, wait_for

LONG = "simulated:steady?latency_ms=1500&spread=0"
ENDLESS = "simulated:steady?latency_ms=30000&spread=0"


def run_until(
    tenant: Tenant, context: Context, run_id: str, stop: Callable[[Heartbeat, Ledger], None]
) -> tuple[task_service.Lease, Ledger]:
    """Run the one shard of a run in this process until ``stop`` has stopped it."""
    lease = lease_of(tenant, task_of(tenant, run_id))
    ledger = Ledger(context, lease)
    heartbeat = Heartbeat(tenant.database, lease, 60)

    async def main() -> None:
        loaded = shards.load(context.database, lease)
        async with RunCalls(context, lease, loaded) as calls:
            await shard.run(context, lease, loaded, calls, heartbeat, ledger, lambda: None)

    def work() -> None:
        with suppress(PromptCardError):
            run_async(main())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        stop(heartbeat, ledger)
    finally:
        thread.join(30)
    return lease, ledger


def calls_of(tenant: Tenant, run_id: str) -> list[str]:
    """What became of all that was announced and not given back uncalled."""
    return [state for _, _, state in states(tenant, run_id) if state != "released"]


@pytest.fixture
def context(line: Line, services: Services, settings: Settings, tmp_path: Path) -> Iterator[Context]:  # noqa: F811
    keys = load_ring(settings.keys_path)
    context = Context(line.url, services.redis_url, "w", keys, home=tmp_path, grace_s=0.2)
    yield context
    context.close()


def test_what_is_in_flight_when_a_worker_shuts_down_is_answered_and_recorded_first(
    tenant: Tenant, context: Context
) -> None:
    context.grace_s = 30.0
    tenant.fill(10)
    with tenant.scope() as scope:
        spec = RunSpec(card="greet", models=[LONG], concurrency=4, on_unknown="hold")
        run_id = str(runs.create(scope, spec).id)

    def stop(heartbeat: Heartbeat, ledger: Ledger) -> None:
        wait_for(lambda: len(ledger.sent) == 4)
        heartbeat.drain()

    lease, ledger = run_until(tenant, context, run_id, stop)
    assert len(ledger.sent) == tenant.recorded(run_id) == 4
    assert task_service.release(tenant.database, lease, sent=ledger.sent)
    # What was announced ahead was not called: nobody has to say that it may be asked again.
    found = {ordinal: state for ordinal, _, state in states(tenant, run_id)}
    assert {ordinal for ordinal, state in found.items() if state == "recorded"} == ledger.sent
    assert set(found.values()) <= {"recorded", "released"}
    assert len(shards.load(tenant.database, lease_of(tenant, lease.task_id)).pending) == 6


def test_a_shutdown_waits_no_longer_when_the_run_is_cancelled_meanwhile(tenant: Tenant, context: Context) -> None:
    context.grace_s = 600.0
    run_id = tenant.start([ENDLESS], count=10, concurrency=4)

    def stop(heartbeat: Heartbeat, ledger: Ledger) -> None:
        wait_for(lambda: len(ledger.sent) == 4)
        heartbeat.drain()
        heartbeat._stop("cancelled")

    lease, ledger = run_until(tenant, context, run_id, stop)
    assert task_service.release(tenant.database, lease, sent=ledger.sent)
    assert calls_of(tenant, run_id) == ["unknown"] * 4


def test_what_is_not_answered_in_time_when_a_worker_shuts_down_is_unknown(tenant: Tenant, context: Context) -> None:
    run_id = tenant.start([ENDLESS], count=10, concurrency=4)

    def stop(heartbeat: Heartbeat, ledger: Ledger) -> None:
        wait_for(lambda: len(ledger.sent) == 4)
        heartbeat.drain()

    lease, ledger = run_until(tenant, context, run_id, stop)
    assert task_service.release(tenant.database, lease, sent=ledger.sent)
    assert calls_of(tenant, run_id) == ["unknown"] * 4


def test_what_waits_for_its_turn_is_released(tenant: Tenant, context: Context) -> None:
    # Announced are at least as many as may be in flight; the limiter lets the first ones go alone.
    run_id = tenant.start([ENDLESS], count=200, concurrency=100)

    def stop(heartbeat: Heartbeat, ledger: Ledger) -> None:
        wait_for(lambda: ledger.sent and len(states(tenant, run_id)) >= 100)
        heartbeat.drain()

    lease, ledger = run_until(tenant, context, run_id, stop)
    assert task_service.release(tenant.database, lease, sent=ledger.sent)
    found = states(tenant, run_id)
    assert {ordinal for ordinal, _, state in found if state == "unknown"} == ledger.sent
    assert {state for ordinal, _, state in found if ordinal not in ledger.sent} <= {"released"}


def test_what_is_in_flight_when_the_database_goes_away_is_unknown(
    tenant: Tenant,
    context: Context,
    line: Line,  # noqa: F811
) -> None:
    quick = "simulated:steady?latency_ms=1000&spread=0"
    run_id = tenant.start([quick, ENDLESS], count=20, concurrency=4)

    def stop(heartbeat: Heartbeat, ledger: Ledger) -> None:
        wait_for(lambda: len(ledger.sent) == 4)
        line.cut()
        # The first answers are there, and what comes next cannot be announced: the shard waits for the others only.
        wait_for(lambda: list(context.home.glob(f"{journal.FOLDER}/*")))
        line.mend()
        heartbeat._stop("lost")

    lease, ledger = run_until(tenant, context, run_id, stop)
    assert task_service.release(tenant.database, lease, sent=ledger.sent)
    found = {ordinal: state for ordinal, _, state in states(tenant, run_id) if state != "released"}
    assert set(found) == ledger.sent >= {0, 1, 2, 3}
    assert (found[1], found[3]) == ("unknown", "unknown")
    assert "recorded" in (found[0], found[2])
    assert {found[0], found[2]} <= {"recorded", "unknown"}
