"""What a run may take is changed while it goes on, and its workers heed it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.budgets import BudgetSpec
from promptcard_ext.core.contract.runs import RunOut, RunPatch, RunSpec
from promptcard_ext.core.errors import CardError, Conflict, OverBudget, RunError
from server_ext.db.tables import audit_log, tasks
from server_ext.services import budgets, run_control, runs
from server_ext.services.run_control import Orders
from tests.conftest import StartWorker
from tests.services.test_leases import lease_of, task_of
from tests.support import Tenant, wait_for

STEADY = "simulated:steady"


def start(tenant: Tenant, count: int = 3, **more: Any) -> RunOut:
    tenant.fill(count)
    with tenant.scope() as scope:
        return runs.create(scope, RunSpec(**{"card": "greet", "models": [STEADY], **more}))


def change(tenant: Tenant, run: RunOut, **values: Any) -> RunOut:
    with tenant.scope() as scope:
        return run_control.adjust(scope, str(run.id), RunPatch(**values))


def test_orders_are_what_was_said_last_and_each_change_is_audited(tenant: Tenant) -> None:
    run = start(tenant, concurrency=4)
    lease = lease_of(tenant, task_of(tenant, str(run.id)))
    assert run_control.orders(tenant.database, lease) == Orders(4, None)
    changed = change(tenant, run, concurrency=9, budget_usd=Decimal("0.5"))
    assert (changed.concurrency, changed.money.budget_usd, changed.plan.concurrency) == (9, Decimal("0.5"), 4)
    assert run_control.orders(tenant.database, lease) == Orders(9, Decimal("0.5"))
    assert change(tenant, run, budget_usd=None, name="free").money.budget_usd is None
    with tenant.scope() as scope:
        query = sa.select(audit_log.c.detail).where(audit_log.c.action == "run.changed").order_by(audit_log.c.seq)
        details = list(scope.connection.execute(query).scalars())
    assert details == [{"budget_usd": "0.5", "concurrency": "9"}, {"budget_usd": None}]


def test_a_priority_that_is_changed_holds_for_the_tasks_that_have_not_ended(tenant: Tenant) -> None:
    run = start(tenant)
    assert (run.priority, change(tenant, run, concurrency=2).priority) == ("medium", "medium")
    changed = change(tenant, run, priority="high")
    assert (changed.priority, changed.plan.priority) == ("high", "medium")
    with tenant.scope() as scope:
        assert scope.connection.execute(sa.select(tasks.c.priority)).scalars().all() == ["high"]
        query = sa.select(audit_log.c.detail).where(audit_log.c.action == "run.changed").order_by(audit_log.c.seq)
        assert list(scope.connection.execute(query).scalars())[-1] == {"priority": "high"}
        run_control.cancel(scope, str(run.id))
    with pytest.raises(Conflict):
        change(tenant, run, priority="low")


def test_a_run_that_has_ended_keeps_what_it_was_given(tenant: Tenant) -> None:
    run = start(tenant)
    with tenant.scope() as scope:
        run_control.cancel(scope, str(run.id))
    assert change(tenant, run, name="over").name == "over"
    with pytest.raises(Conflict) as refused:
        change(tenant, run, concurrency=2)
    assert refused.value.code == "run_state"


def test_a_budget_that_cannot_hold_is_refused(tenant: Tenant) -> None:
    with pytest.raises(CardError):
        change(tenant, start(tenant), budget_usd=Decimal(-1))
    with pytest.raises(RunError):
        change(tenant, start(tenant, models=["simulated:steady?latency_ms=1"]), budget_usd=Decimal(1))


def test_a_larger_budget_must_fit_the_rules_and_a_smaller_one_gives_money_back(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        budgets.set_rule(scope, BudgetSpec("workspace", "day", Decimal("0.004")))
    run = start(tenant, budget_usd=Decimal("0.003"))
    with pytest.raises(OverBudget) as refused:
        change(tenant, run, budget_usd=Decimal("0.005"))
    assert refused.value.exceeds[0]["wanted_usd"] == "0.005"
    lowered = change(tenant, run, budget_usd=Decimal("0.001"))
    assert lowered.money.ceiling_usd == Decimal("0.001")
    with tenant.scope() as scope:
        assert budgets.list_rules(scope)[0].reserved_usd == Decimal("0.001")


def test_changes_and_launches_at_once_do_not_block_each_other(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        budgets.set_rule(scope, BudgetSpec("workspace", "day", Decimal(1000)))
    running = start(tenant, budget_usd=Decimal("0.001"))

    def launch(number: int) -> None:
        with tenant.scope() as scope:
            runs.create(scope, RunSpec("greet", [STEADY], name=f"run {number}"))

    def rename(number: int) -> None:
        change(tenant, running, name=f"again {number}", budget_usd=Decimal(number + 1) / 1000)

    with ThreadPoolExecutor(8) as pool:
        works = [pool.submit(work, number) for number in range(10) for work in (launch, rename)]
    assert [work.exception() for work in works] == [None] * 20


def test_a_worker_stops_spending_when_the_budget_is_lowered_under_it(tenant: Tenant, start_worker: StartWorker) -> None:
    run = start(tenant, 120, concurrency=1, budget_usd=Decimal(1))
    with start_worker():
        wait_for(lambda: tenant.recorded(str(run.id)) > 0)
        change(tenant, run, budget_usd=Decimal(0))
        wait_for(lambda: tenant.status(str(run.id)) == "completed")
    assert tenant.run(str(run.id)).counts.unscored > 0


def test_a_run_that_gets_its_first_budget_goes_on_with_it(tenant: Tenant, start_worker: StartWorker) -> None:
    run = start(tenant, 120, concurrency=1)
    with start_worker():
        wait_for(lambda: tenant.recorded(str(run.id)) > 0)
        change(tenant, run, budget_usd=Decimal(0))
        wait_for(lambda: tenant.status(str(run.id)) == "completed")
    assert tenant.run(str(run.id)).counts.unscored > 0


def test_more_calls_at_once_are_made_as_soon_as_that_is_said(tenant: Tenant, start_worker: StartWorker) -> None:
    # One at a time these would take two minutes.
    run = start(tenant, 300, models=["simulated:steady?latency_ms=400&spread=0"], concurrency=1)
    with start_worker():
        wait_for(lambda: tenant.recorded(str(run.id)) > 0)
        change(tenant, run, concurrency=200)
        wait_for(lambda: tenant.status(str(run.id)) == "completed")
