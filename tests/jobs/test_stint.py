"""Shards of one run in one process: no gap between them, one concurrency, and nobody's turn is taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa
from redis import Redis

from promptcard_ext.core.contract.prices import PriceOverrideSpec
from promptcard_ext.core.contract.runs import RunSpec
from server_ext.db.engine import Database
from server_ext.db.tables import tasks, test_executions
from server_ext.embedded import Services
from server_ext.jobs import context, drain, work
from server_ext.jobs.context import Context
from server_ext.jobs.queue import Doorbell
from server_ext.keys import load_ring
from server_ext.services import price_overrides, runs
from server_ext.services import tasks as task_service
from server_ext.services.tasks import Note
from server_ext.settings import Settings
from tests.stub_server import Behaviour, Call, Stub
from tests.support import ECHO, Tenant

SLOWEST_S = 5.0


@pytest.fixture(autouse=True)
def nothing_else_waits(database: Database) -> None:
    """What other tests have left is done, as far as these are concerned."""
    while lease := task_service.claim_next(database, "w", 60):
        task_service.finish(database, lease, "cancelled")


@pytest.fixture
def worker(services: Services, settings: Settings, redis: Redis) -> Iterator[Context]:
    """This process as a worker."""
    redis.flushall()
    keys = load_ring(settings.keys_path)
    made = Context(services.database_url, services.redis_url, "here", keys, lease_s=20, shared_keys=True, grace_s=0.5)
    before = context._current
    context.install(made)
    yield made
    made.close()
    context._current = before


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A model that takes its time with the last case of the first shard."""

    def rule(call: Call) -> Behaviour:
        slow = call.body["messages"][-1]["content"] == "Say hello to Ada 249."
        return Behaviour(latency_s=SLOWEST_S if slow else 0.002)

    with Stub(rule) as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-key")
        yield made


def order(tenant: Tenant, run_id: str) -> list[int]:
    """Return the ordinals of a run as they were recorded."""
    e = test_executions.c
    with tenant.scope() as scope:
        query = sa.select(e.ordinal).where(e.run_id == UUID(run_id)).order_by(e.event_seq, e.ordinal)
        return list(scope.connection.execute(query).scalars())


def test_the_next_shard_does_not_wait_for_the_slowest_call_of_the_one_before(
    tenant: Tenant, worker: Context, stub: Stub
) -> None:
    run_id = tenant.start(["openai:m"], count=260, concurrency=8)  # two shards
    work.do(str(tenant.id), run_id)
    found = order(tenant, run_id)
    assert sorted(found) == list(range(260))
    assert max(found[: found.index(249)]) >= 250
    assert len(stub.calls) == 260
    assert stub.peak <= 8
    # Connections are the same for both.
    assert stub.connections < 2 * 8


def test_a_run_with_a_budget_has_one_shard_at_a_time(tenant: Tenant, worker: Context, stub: Stub) -> None:
    tenant.fill(260)
    with tenant.scope() as scope:
        one, place = Decimal(1), f"openai@127.0.0.1:{stub.port}"
        price_overrides.create(scope, PriceOverrideSpec(place, "m", one, one, date(2024, 1, 1), "a test"))
        spec = RunSpec(card="greet", models=["openai:m"], concurrency=8, budget_usd=Decimal(100))
        run_id = str(runs.create(scope, spec).id)
    work.do(str(tenant.id), run_id)
    found = order(tenant, run_id)
    assert sorted(found) == list(range(260))
    assert sorted(found[:250]) == list(range(250))


def test_it_is_over_when_it_is_another_workspaces_turn(tenant: Tenant, stranger: Tenant, worker: Context) -> None:
    giant = UUID(tenant.start(count=40, repeats=25))  # four shards
    first = task_service.claim_next(worker.database, "w", 60)
    assert first is not None
    small = UUID(stranger.start(count=3))
    assert task_service.claim_next(worker.database, "w", 60, giant) is None
    # Nothing was offered to whoever asked for another run's: it is there for the next who asks.
    second = task_service.claim_next(worker.database, "w", 60)
    assert second is not None
    assert second.run_id == small
    third = task_service.claim_next(worker.database, "w", 60, giant)
    assert third is not None
    assert third.run_id == giant
    for lease in (first, second, third):
        task_service.finish(worker.database, lease, "cancelled")


def test_a_shutdown_hands_all_shards_back(tenant: Tenant, worker: Context, stub: Stub) -> None:
    run_id = tenant.start(["openai:m"], count=600, concurrency=8)  # three shards
    stub.rule = lambda call: shut_down(len(stub.calls))

    def shut_down(calls: int) -> Behaviour:
        # The first has no more items to begin then, and the second has some.
        if calls == 300:
            drain.request()
        return Behaviour(latency_s=30.0 if calls in (240, 260, 280) else 0.002)

    try:
        work.do(str(tenant.id), run_id)
    finally:
        drain.requested = False
        drain.on_request(lambda: None)
    with tenant.scope() as scope:
        found = scope.connection.execute(sa.select(tasks.c.state, tasks.c.lease_token)).all()
    assert found == [("queued", None)] * 3
    stub.rule = lambda _: Behaviour()
    work.do(str(tenant.id), run_id)
    assert (tenant.status(run_id), sorted(order(tenant, run_id))) == ("completed", list(range(600)))


def test_bells_that_wait_when_nothing_else_does_are_heard_by_one_process(
    tenant: Tenant, worker: Context, services: Services
) -> None:
    run_id = tenant.start([ECHO], count=500)
    doorbell = Doorbell(services.redis_url)
    try:
        for _ in range(5):
            doorbell.ring(Note(tenant.id, UUID(run_id), "run_shard"))
        work.do(str(tenant.id), run_id)
        assert (tenant.status(run_id), doorbell.waiting()) == ("completed", 0)
    finally:
        doorbell.close()
