"""Rules about spending refuse what may exceed them, and count what was spent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.contract.budgets import BudgetOut, BudgetSpec
from promptcard_ext.core.contract.runs import RetrySpec, RunOut, RunSpec
from promptcard_ext.core.errors import CardError, Denied, NotFound, OverBudget, RunError
from server_ext.db.tables import run_events, run_reservations, spending
from server_ext.services import budgets, cards, run_control, run_retry, runs, shards
from server_ext.services import tasks as task_service
from server_ext.services.scope import open_scope
from tests.conftest import NewActor
from tests.services.test_leases import expired_lease, lease_of, task_of
from tests.services.test_recording import record
from tests.support import GREET, Tenant

PRICED = "simulated:steady"
UNPRICED = "openai/nowhere:unheard-of"


def limit(tenant: Tenant, usd: str, **more: Any) -> BudgetOut:
    with tenant.scope() as scope:
        return budgets.set_rule(
            scope, BudgetSpec(**{"scope": "workspace", "span": "day", **more}, limit_usd=Decimal(usd))
        )


def rules(tenant: Tenant) -> list[BudgetOut]:
    with tenant.scope() as scope:
        return budgets.list_rules(scope)


def start(tenant: Tenant, **more: Any) -> RunOut:
    with tenant.scope() as scope:
        return runs.create(scope, RunSpec(**{"card": "greet", "models": [PRICED], **more}))


def upper(tenant: Tenant, **more: Any) -> Decimal:
    """Return what a run may cost at the most, by starting one under a limit that is never reached, and ending it."""
    rule = limit(tenant, "1000000", span="month")
    run = start(tenant, **more)
    found = rules(tenant)[0].reserved_usd
    with tenant.scope() as scope:
        run_control.cancel(scope, str(run.id))
        budgets.remove(scope, str(rule.id))
    return found


@pytest.fixture
def filled(tenant: Tenant) -> Tenant:
    tenant.fill(3)
    return tenant


def test_of_fifty_launches_at_once_a_limit_for_ten_admits_exactly_ten(filled: Tenant) -> None:
    one = upper(filled)
    limit(filled, str(one * 10))

    def launch(_: int) -> bool:
        try:
            start(filled)
        except OverBudget:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        admitted = list(pool.map(launch, range(50)))
    assert sum(admitted) == 10
    (rule,) = rules(filled)
    assert (rule.reserved_usd, rule.left_usd) == (one * 10, 0)


def test_a_refusal_has_the_numbers_and_leaves_nothing_behind(filled: Tenant) -> None:
    one = upper(filled)
    rule = limit(filled, str(one / 2))
    with pytest.raises(OverBudget) as refused:
        start(filled)
    told = refused.value.to_dict()
    assert told["code"] == "budget_exceeded"
    assert told["exceeds"] == [
        {
            "id": str(rule.id), "scope": "workspace", "subject": "", "span": "day", "hard": True,
            "limit_usd": str(one / 2), "spent_usd": "0", "reserved_usd": "0", "wanted_usd": str(one),
        }
    ]  # fmt: skip
    assert rules(filled)[0].reserved_usd == 0


def test_a_soft_rule_lets_a_run_through_and_says_so_in_its_answer_and_its_events(filled: Tenant) -> None:
    limit(filled, "0", hard=False)
    run = start(filled)
    assert [(one.hard, one.limit_usd) for one in run.exceeds] == [(False, 0)]
    assert run.money.ceiling_usd is None
    with filled.scope() as scope:
        query = sa.select(run_events.c.kind).where(run_events.c.run_id == run.id).order_by(run_events.c.seq)
        assert list(scope.connection.execute(query).scalars()) == ["queued", "over_budget"]


def test_a_budget_of_its_own_is_what_a_run_reserves_when_it_is_less_than_the_estimate(filled: Tenant) -> None:
    one = upper(filled)
    limit(filled, str(one))
    run = start(filled, budget_usd=one / 4)
    assert run.money.budget_usd == run.money.ceiling_usd == one / 4
    assert rules(filled)[0].reserved_usd == one / 4
    with pytest.raises(OverBudget):
        start(filled)


@pytest.mark.parametrize("scope", ["user", "model"])
def test_rules_of_a_user_and_of_a_model_concern_these_only(filled: Tenant, new_actor: NewActor, scope: str) -> None:
    grace = new_actor(filled)
    limit(filled, "0", scope=scope, subject=str(grace.user_id) if scope == "user" else PRICED)
    spec = RunSpec(card="greet", models=[PRICED])
    with pytest.raises(OverBudget), open_scope(filled.database, grace, str(filled.id)) as theirs:
        runs.create(theirs, spec)
    other = {"models": [f"{PRICED}?latency_ms=1"]} if scope == "model" else {}
    assert start(filled, **other).exceeds == []


def test_what_was_spent_counts_and_the_rest_comes_back_when_the_run_ends(filled: Tenant) -> None:
    limit(filled, "1000")
    run = start(filled)
    lease = lease_of(filled, task_of(filled, str(run.id)))
    shard = shards.load(filled.database, lease)
    record(filled, lease, shard, [0, 1])
    (rule,) = rules(filled)
    reserved = run.money.ceiling_usd
    assert reserved is not None
    assert rule.spent_usd == Decimal("0.001")
    # What the results say comes from another model than was planned: the run as a whole counts it all the same.
    assert rule.reserved_usd == reserved - Decimal("0.001")
    with filled.scope() as scope:
        run_control.cancel(scope, str(run.id))
    assert task_service.finish(filled.database, lease, "cancelled")
    (rule,) = rules(filled)
    assert (rule.spent_usd, rule.reserved_usd) == (Decimal("0.001"), 0)


def test_a_batch_that_is_recorded_twice_is_paid_once(filled: Tenant) -> None:
    limit(filled, "1000")
    run = start(filled)
    lease = lease_of(filled, task_of(filled, str(run.id)))
    shard = shards.load(filled.database, lease)
    task_service.open_attempts(filled.database, lease, [0, 1, 2])
    record(filled, lease, shard, [0, 1])
    record(filled, lease, shard, [0, 1])
    assert rules(filled)[0].spent_usd == Decimal("0.001")


def test_calls_that_a_dead_worker_may_have_made_keep_what_was_set_aside(filled: Tenant) -> None:
    limit(filled, "1000")
    run = start(filled)
    with filled.scope() as scope:
        most = scope.connection.scalar(sa.select(run_reservations.c.most_usd).where(run_reservations.c.model == PRICED))
    lease = expired_lease(filled, task_of(filled, str(run.id)))
    before = rules(filled)[0]
    # Announced, and then the worker died.
    assert task_service.open_attempts(filled.database, lease, [0, 1])
    lease_of(filled, lease.task_id, "b")
    (rule,) = rules(filled)
    assert rule.spent_usd == 2 * most
    assert rule.spent_usd + rule.reserved_usd == before.reserved_usd


def test_spending_leaves_the_span_and_the_month_begins_anew(filled: Tenant) -> None:
    for span in ("hour", "day", "week", "month"):
        limit(filled, "1", span=span)
    ages = ["interval '50 minutes'", "interval '70 minutes'", "interval '23 hours'", "interval '6 days'"]
    with filled.scope() as scope:
        for age in ages:
            at = sa.func.date_bin(sa.text("'5 minutes'"), sa.func.now() - sa.text(age), sa.text("'epoch'"))
            row = {"workspace_id": filled.id, "user_id": filled.actor.user_id, "model": PRICED, "usd": 1}
            scope.connection.execute(sa.insert(spending).values(at=at, **row))
        begun = sa.func.date_trunc("month", sa.func.now(), "UTC")
        in_month = scope.connection.scalar(sa.select(sa.func.sum(spending.c.usd)).where(spending.c.at >= begun))
    found = {rule.span: rule.spent_usd for rule in rules(filled)}
    assert found == {"hour": 1, "day": 3, "week": 4, "month": in_month}


def test_a_price_that_is_not_known_is_refused_by_hard_rules_and_budgets_and_passes_soft_ones(filled: Tenant) -> None:
    with pytest.raises(RunError) as refused:
        start(filled, models=[UNPRICED], budget_usd=Decimal(1))
    assert refused.value.code == "budget_unpriced"
    limit(filled, "1", hard=False)
    assert start(filled, models=[UNPRICED]).exceeds == []
    limit(filled, "1")
    with pytest.raises(RunError) as refused:
        start(filled, models=[UNPRICED])
    assert refused.value.code == "budget_unpriced"


def test_asking_failed_items_again_is_reserved_for_these_items(filled: Tenant) -> None:
    run = start(filled)
    lease = lease_of(filled, task_of(filled, str(run.id)))
    record(filled, lease, shards.load(filled.database, lease), [0, 1, 2])
    assert task_service.finish(filled.database, lease, "done")
    one = upper(filled)
    limit(filled, str(one))
    with filled.scope() as scope:
        again = run_retry.retry_errors(scope, str(run.id), RetrySpec(unscored=True, budget_usd=Decimal("0.5")))
    assert again.money.budget_usd == Decimal("0.5")
    assert 0 < rules(filled)[0].reserved_usd < one


def test_a_limit_on_output_makes_the_estimate_smaller(filled: Tenant) -> None:
    unlimited = upper(filled)
    short = Card("greet", GREET.template, settings=ModelSettings(max_tokens=10))
    with filled.scope() as scope:
        cards.save_version(scope, short)
    assert upper(filled) < unlimited / 50


def test_setting_a_rule_again_changes_its_limit_and_removing_it_lets_runs_through(filled: Tenant) -> None:
    first = limit(filled, "0")
    assert limit(filled, "5").id == first.id
    soft = limit(filled, "1", hard=False)
    assert {rule.limit_usd for rule in rules(filled)} == {5, 1}
    with filled.scope() as scope:
        budgets.remove(scope, str(first.id))
        budgets.remove(scope, str(soft.id))
        with pytest.raises(NotFound):
            budgets.remove(scope, str(soft.id))
    assert rules(filled) == []


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"limit_usd": Decimal(-1)}, "budget_invalid"),
        ({"limit_usd": Decimal("NaN")}, "budget_invalid"),
        ({"limit_usd": Decimal("1e-13")}, "budget_invalid"),
        ({"subject": "x"}, "budget_subject"),
        ({"scope": "user", "subject": "x"}, "budget_subject"),
        ({"scope": "user", "subject": "00000000-0000-0000-0000-000000000001"}, "budget_subject"),
        ({"scope": "model"}, "budget_subject"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tenant: Tenant, spec: dict[str, Any], code: str) -> None:
    whole = {"scope": "workspace", "span": "day", "limit_usd": Decimal(1), **spec}
    with tenant.scope() as scope, pytest.raises(CardError) as refused:
        budgets.set_rule(scope, BudgetSpec(**whole))
    assert refused.value.code == code


def test_only_owners_set_rules(tenant: Tenant, new_actor: NewActor) -> None:
    with open_scope(tenant.database, new_actor(tenant, "admin"), str(tenant.id)) as scope:
        assert budgets.list_rules(scope) == []
        with pytest.raises(Denied):
            budgets.set_rule(scope, BudgetSpec("workspace", "day", Decimal(1)))
        with pytest.raises(Denied):
            budgets.remove(scope, str(tenant.id))
