"""A worker that silently loses PostgreSQL, but not its provider, stops calling; what it still heard is accounted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from server_ext.db.tables import attempts
from server_ext.embedded import Services
from server_ext.settings import Settings
from tests.conftest import StartWorker
from tests.fault.host_loss import attempt_of
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.islands import Island, Unsupported
from tests.fault.place import MODEL, lead_to
from tests.fault.referee import Referee
from tests.jobs.line import Line
from tests.support import Program, Tenant, wait_for

CASES = 40
CONCURRENCY = 4
LEASE_S = 6.0
SLACK_S = 1.0


@pytest.fixture
def island() -> Iterator[Island]:
    try:
        with Island() as island:
            yield island
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.fixture
def far_referee(island: Island, tmp_path: Path) -> Iterator[Referee]:
    with Referee(tmp_path / "calls.jsonl", latency_s=1.0, host=island.sound) as referee:
        yield referee


@pytest.fixture
def castaway(island: Island, services: Services, settings: Settings, tmp_path: Path) -> Iterator[Program]:
    """A worker on the island: it reaches PostgreSQL over the weak wire, and has a home of its own."""

    class There(Program):
        before = island.before

    with Line(services.database_url, island.weak) as line:
        urls = {"PROMPTCARDS_DATABASE_URL": line.url, "PROMPTCARDS_REDIS_URL": services.redis_url}
        keys = {"PROMPTCARDS_KEYS_FILE": str(settings.keys_path)}
        with There(tmp_path / "home", "worker", PROMPTCARDS_LEASE_S=f"{LEASE_S:g}", **urls, **keys) as worker:
            yield worker


def states(tenant: Tenant, run_id: str) -> Counter[str]:
    query = sa.select(attempts.c.state).where(attempts.c.run_id == UUID(run_id))
    with tenant.scope() as scope:
        return Counter(scope.connection.execute(query).scalars())


def test_a_worker_that_silently_loses_the_database_stops_within_half_a_lease(
    tenant: Tenant,
    stranger: Tenant,
    far_referee: Referee,
    island: Island,
    castaway: Program,
    start_worker: StartWorker,
) -> None:
    lead_to(tenant, far_referee)
    run_id = tenant.start([MODEL], count=CASES, concurrency=CONCURRENCY)
    wait_for(lambda: tenant.recorded(run_id) >= CONCURRENCY, 60)
    island.silence()
    silent_at = time.time()
    wait_for(lambda: "No database for half the lease" in castaway.output, LEASE_S / 2 + SLACK_S)
    start_worker(lease_s=LEASE_S)
    wait_for(lambda: attempt_of(tenant, run_id) == 2, 3 * LEASE_S)
    leased_at = time.time()
    last = max(at for at in far_referee.times() if at < leased_at)
    print(f"last call {last - silent_at:.1f} s after, leased again {leased_at - silent_at:.1f} s after")
    assert last - silent_at <= LEASE_S / 2 + SLACK_S

    wait_for(lambda: tenant.status(run_id) == "completed", 60)
    assert (states(tenant, run_id)["recorded"], states(tenant, run_id)["late"]) == (CASES, 0)
    journal = castaway.home / "journal"
    assert list(journal.glob("*.jsonl"))
    island.heal()
    wait_for(lambda: not list(journal.glob("*.jsonl")), 60)
    found, calls = states(tenant, run_id), far_referee.calls()
    print(found)
    assert found["late"] > 0
    assert CASES + found["late"] <= sum(calls.values()) <= CASES + found["late"] + found["unknown"]
    evidence = Evidence(run_id, CASES, ordinals(calls), in_flight=found["late"] + CONCURRENCY)
    assert violations(tenant, stranger, evidence) == []
