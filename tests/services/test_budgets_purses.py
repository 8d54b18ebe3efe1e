"""Workers of one run never spend more than its budget together, whoever dies when."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.engine.purse import Purse
from promptcard_ext.core.errors import ProviderError
from server_ext.db.tables import runs as runs_table
from server_ext.db.tables import tasks
from server_ext.jobs.run_budget import RunBudget
from server_ext.services import purses, runs, shards
from server_ext.services.tasks import Lease
from tests.conftest import StartWorker
from tests.services.test_leases import lease_of
from tests.services.test_recording import record
from tests.support import Tenant, new_tenant, wait_for

WORKERS = 3


class Crew(NamedTuple):
    tenant: Tenant
    run_id: UUID
    leases: list[Lease]

    def money(self) -> tuple[Decimal, Decimal]:
        """Return what the run is charged, and what its workers hold."""
        money = self.tenant.run(str(self.run_id)).money
        return money.charged_usd, money.held_usd

    def change_budget(self, usd: Decimal) -> None:
        with self.tenant.scope() as scope:
            scope.connection.execute(sa.update(runs_table).where(runs_table.c.id == self.run_id).values(budget_usd=usd))

    def bury(self, worker: int) -> None:
        """Give a dead worker's task to another."""
        task_id = self.leases[worker].task_id
        with self.tenant.scope() as scope:
            past = sa.func.clock_timestamp() - sa.text("interval '1 second'")
            scope.connection.execute(sa.update(tasks).where(tasks.c.id == task_id).values(lease_until=past))
        lease_of(self.tenant, task_id, "b")


def crew_of(tenant: Tenant, budget: Decimal) -> Crew:
    """Return a run of three shards, each leased to a worker."""
    tenant.fill(WORKERS)
    with tenant.scope() as scope:
        spec = RunSpec(card="greet", models=["simulated:steady"], repeats=251, budget_usd=budget)
        run = runs.create(scope, spec)
        query = sa.select(tasks.c.id).where(tasks.c.run_id == run.id).order_by(tasks.c.first_ordinal)
        ids = list(scope.connection.execute(query).scalars())
    return Crew(tenant, run.id, [lease_of(tenant, task_id) for task_id in ids])


async def work(budget: RunBudget, seed: int, calls: int, dies_after: int | None) -> Decimal:
    """Make calls of any cost, up to six at once, and return what the provider has charged."""
    chance = random.Random(seed)
    purse, paid, begun = Purse(budget), Decimal(0), 0

    async def call() -> None:
        nonlocal paid, begun
        upper = Decimal(chance.randint(0, 40)) / 100
        try:
            await purse.reserve(upper)
        except ProviderError:
            return  # nothing is left of the budget
        begun += 1
        cost = upper * chance.randint(0, 100) / 100
        await asyncio.sleep(chance.random() / 500)
        paid += cost
        if dies_after is not None and begun > dies_after:
            await asyncio.Event().wait()  # the answer never gets into the books
        await purse.settle(upper, cost)

    async def several() -> None:
        for _ in range(calls):
            await call()

    workers = [asyncio.create_task(several()) for _ in range(6)]
    if dies_after is None:
        await asyncio.gather(*workers)
        await budget.close()
    else:
        await asyncio.wait(workers, timeout=0.3)
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return paid


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cents=st.integers(0, 1500),
    seed=st.integers(0, 2**32),
    deaths=st.lists(st.none() | st.integers(0, 10), min_size=WORKERS, max_size=WORKERS),
)
def test_what_is_paid_never_exceeds_the_budget(tenant: Tenant, cents: int, seed: int, deaths: list[int | None]) -> None:
    limit = Decimal(cents) / 100
    crew = crew_of(new_tenant(tenant.database, tenant.actor), limit)

    async def all_work() -> list[Decimal]:
        budgets = [RunBudget(tenant.database, lease) for lease in crew.leases]

        async def one(place: int) -> Decimal:
            paid = await work(budgets[place], seed + place, 8, deaths[place])
            if deaths[place] is not None:
                await asyncio.to_thread(crew.bury, place)
            return paid

        return await asyncio.gather(*(one(place) for place in range(WORKERS)))

    paid = sum(asyncio.run(all_work()), Decimal(0))
    charged, held = crew.money()
    assert paid <= charged <= limit
    assert held == 0
    if deaths == [None] * WORKERS:
        assert charged == paid
    crew.tenant.give_up_runs()


@pytest.fixture
def crew(tenant: Tenant) -> Crew:
    return crew_of(tenant, Decimal(1))


def test_a_worker_waits_for_what_others_may_give_back(crew: Crew) -> None:
    first, second = (RunBudget(crew.tenant.database, lease) for lease in crew.leases[:2])

    async def wait() -> bool:
        assert await first.reserve(Decimal("0.9"))
        waiting = asyncio.create_task(second.reserve(Decimal("0.5")))
        while not second._asking.locked():
            await asyncio.sleep(0)
        await first.settle(Decimal("0.9"), Decimal("0.1"))
        await first.close()
        return await waiting

    assert asyncio.run(wait())


def test_of_a_small_rest_a_worker_takes_what_it_needs_and_leaves_the_others_some(crew: Crew) -> None:
    lease = crew.leases[0]
    grant = purses.grant(crew.tenant.database, lease, Decimal("0.1"), Decimal(1))
    assert (grant.usd, grant.others_usd) == (Decimal("0.25"), 0)
    other = purses.grant(crew.tenant.database, crew.leases[1], Decimal("0.75"), Decimal("0.75"))
    assert (other.usd, other.others_usd) == (Decimal("0.75"), Decimal("0.25"))
    assert purses.grant(crew.tenant.database, lease, Decimal("0.01"), Decimal("0.01")).usd == 0


def test_a_budget_that_was_lowered_is_kept_from_the_next_call_on_and_a_raised_one_lets_it_go_on(crew: Crew) -> None:
    budget = RunBudget(crew.tenant.database, crew.leases[0])

    async def change() -> list[bool]:
        found = [await budget.reserve(Decimal("0.1"))]
        await budget.settle(Decimal("0.1"), Decimal("0.1"))
        for usd in ("0.15", "0.5"):
            await asyncio.to_thread(crew.change_budget, Decimal(usd))
            budget.recall()
            found.append(await budget.reserve(Decimal("0.1")))
        return found

    assert asyncio.run(change()) == [True, False, True]


def test_what_calls_did_not_cost_pays_for_no_others_once_the_budget_is_lowered(crew: Crew) -> None:
    budget = RunBudget(crew.tenant.database, crew.leases[0])

    async def lower() -> list[bool]:
        for _ in range(4):
            assert await budget.reserve(Decimal("0.2"))
        await asyncio.to_thread(crew.change_budget, Decimal("0.04"))
        budget.recall()
        found = [await budget.reserve(Decimal("0.2"))]
        for _ in range(4):
            await budget.settle(Decimal("0.2"), Decimal("0.01"))
            found.append(await budget.reserve(Decimal("0.1")))
        return found

    assert asyncio.run(lower()) == [False] * 5
    assert crew.money() == (Decimal(0), Decimal("0.04"))


def test_what_a_dead_worker_held_counts_as_spent_and_what_it_sends_later_is_not_charged_again(crew: Crew) -> None:
    lease = crew.leases[0]
    shard = shards.load(crew.tenant.database, lease)
    assert purses.grant(crew.tenant.database, lease, Decimal("0.2"), Decimal(0)).usd == Decimal("0.2")
    record(crew.tenant, lease, shard, [1])
    assert crew.money() == (Decimal("0.001"), Decimal("0.199"))
    crew.bury(0)
    assert crew.money() == (Decimal("0.2"), 0)
    record(crew.tenant, lease, shard, [3])
    assert crew.money() == (Decimal("0.2"), 0)
    assert purses.grant(crew.tenant.database, lease, Decimal("0.1"), Decimal(0)).usd is None


def test_a_run_without_a_budget_is_charged_for_its_results(tenant: Tenant) -> None:
    tenant.fill(3)
    with tenant.scope() as scope:
        run = runs.create(scope, RunSpec(card="greet", models=["simulated:steady"]))
        task_id = scope.connection.execute(sa.select(tasks.c.id).where(tasks.c.run_id == run.id)).scalar_one()
    lease = lease_of(tenant, task_id)
    record(tenant, lease, shards.load(tenant.database, lease), [0, 1])
    money = tenant.run(str(run.id)).money
    assert (money.charged_usd, money.held_usd) == (Decimal("0.001"), 0)


def test_workers_end_what_cannot_be_paid_for_without_asking(tenant: Tenant, start_worker: StartWorker) -> None:
    tenant.fill(40)
    limit = Decimal("0.02")
    with tenant.scope() as scope:
        spec = RunSpec(card="greet", models=["simulated:steady"], concurrency=4, budget_usd=limit)
        run = runs.create(scope, spec)
    with start_worker():
        wait_for(lambda: tenant.status(str(run.id)) == "completed")
    done = tenant.run(str(run.id))
    assert done.counts.passed + done.counts.unscored + done.counts.failed == done.counts.total == 40
    assert 0 < done.counts.cost_usd <= done.money.charged_usd <= limit
    assert done.money.held_usd == 0
