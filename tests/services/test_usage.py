"""What a workspace used, summed up in four ways that agree."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.contract.usage import GroupBy, Usage, UsageQuery
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.wire import encode
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, rollup_users, test_executions
from server_ext.services import cards, cases, runs, usage
from server_ext.services.scope import open_scope
from tests.conftest import NewActor
from tests.services.test_runs_control import ended
from tests.support import ECHO, Tenant, greetings

GROUPS: tuple[GroupBy, ...] = ("day", "card", "model", "user")
TODAY = datetime.now(UTC).date()


def used(tenant: Tenant, group_by: GroupBy = "day", since: date | None = None, until: date | None = None) -> Usage:
    with tenant.scope() as scope:
        return usage.usage(scope, UsageQuery(since, until, group_by))


def work(database: Database, tenant: Tenant, new_actor: NewActor) -> None:
    """Two runs of two users, on two cards."""
    ended(tenant, tenant.start([ECHO], count=8))
    with open_scope(database, new_actor(tenant), str(tenant.id)) as scope:
        cards.save_version(scope, Card("other", "Hi {{ who }}"))
        cases.replace_all(scope, "other", greetings(4))
        run_id = str(runs.create(scope, RunSpec(card="other", models=["simulated:steady"])).id)
    ended(tenant, run_id)


def test_every_way_of_summing_up_gives_what_the_rows_give(
    database: Database, tenant: Tenant, new_actor: NewActor
) -> None:
    work(database, tenant, new_actor)
    e = test_executions.c
    with tenant.scope() as scope:
        rows = scope.connection.execute(sa.select(e.outcome, e.tokens_input, e.tokens_output, e.cost_usd)).all()
    for group_by in GROUPS:
        found = used(tenant, group_by)
        total = found.total
        assert total.items == len(rows) == sum(row.items for row in found.rows)
        assert (total.passed, total.failed, total.errored, total.unscored) == (3, 3, 3, 3)
        assert total.tokens_input == sum(row.tokens_input or 0 for row in rows)
        assert total.tokens_output == sum(row.tokens_output or 0 for row in rows)
        assert total.cost_usd == sum((row.cost_usd for row in rows if row.cost_usd is not None), Decimal(0)) > 0
        assert total.priced == sum(row.cost_usd is not None for row in rows)


def test_rows_have_names_and_the_dearest_comes_first(database: Database, tenant: Tenant, new_actor: NewActor) -> None:
    work(database, tenant, new_actor)
    assert [(row.name, row.items) for row in used(tenant, "card").rows] == [("greet", 8), ("other", 4)]
    assert [row.key for row in used(tenant, "day").rows] == [str(TODAY)]
    assert {row.key for row in used(tenant, "model").rows} == {ECHO}
    assert [(row.name, row.items) for row in used(tenant, "user").rows] == [("Ada", 8), ("Grace", 4)]


def test_a_user_who_left_is_counted_and_not_named(database: Database, tenant: Tenant, new_actor: NewActor) -> None:
    work(database, tenant, new_actor)
    with tenant.scope() as scope:
        gone = sa.delete(memberships).where(
            memberships.c.workspace_id == tenant.id, memberships.c.user_id != tenant.actor.user_id
        )
        scope.connection.execute(gone)
    _, other = used(tenant, "user").rows
    assert (other.name, other.items) == (other.key, 4)


def test_what_nobody_started_has_no_key(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        nobody = {"workspace_id": tenant.id, "hour": sa.func.now(), "user_id": "00000000-0000-0000-0000-000000000000"}
        scope.connection.execute(sa.insert(rollup_users).values(**nobody, n=2))
    (row,) = used(tenant, "user").rows
    assert (row.key, row.name, row.items) == ("", "", 2)


def test_only_the_days_that_were_asked_for_count(tenant: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=4))
    assert used(tenant, since=TODAY, until=TODAY).total.items == 4
    yesterday = TODAY - timedelta(days=1)
    empty = used(tenant, since=yesterday, until=yesterday)
    assert (empty.rows, empty.total.items, empty.total.cost_usd) == ([], 0, 0)
    found = used(tenant)
    assert (found.since, found.until) == (TODAY - timedelta(days=29), TODAY)


@pytest.mark.parametrize("days", [-1, 5000])
def test_days_out_of_order_and_too_many_are_refused(tenant: Tenant, days: int) -> None:
    with pytest.raises(CardError) as refusal:
        used(tenant, since=TODAY - timedelta(days=days), until=TODAY)
    assert refusal.value.code == "request_invalid"


def test_days_beyond_the_calendar_are_refused(tenant: Tenant) -> None:
    for day in (date.min, date.max):
        with pytest.raises(CardError):
            used(tenant, until=day)


def test_money_is_text_and_the_days_are_called_from_and_to(tenant: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=4))
    text = encode(used(tenant)).decode()
    assert f'"from":"{TODAY - timedelta(days=29)}","to":"{TODAY}"' in text
    assert '"cost_usd":"0.00' in text


def test_another_workspace_used_nothing(tenant: Tenant, stranger: Tenant) -> None:
    ended(tenant, tenant.start([ECHO], count=4))
    assert [used(stranger, group_by).rows for group_by in GROUPS] == [[]] * 4
