"""Prices of a workspace's own, and what is priced by them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.exc import ProgrammingError

from promptcard_ext.core.contract.prices import (
    PriceOverrideOut,
    PriceOverridePatch,
    PriceOverrideQuery,
    PriceOverrideSpec,
    PriceQuery,
)
from promptcard_ext.core.errors import CardError, Conflict, Denied, NotFound
from promptcard_ext.core.price import Tier
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, generations, price_overrides
from server_ext.services import items, prices
from server_ext.services import price_overrides as overrides
from server_ext.services.precondition import etag_of, if_match, unconditional
from server_ext.services.scope import open_scope
from tests.conftest import NewActor, StartWorker
from tests.support import Tenant, wait_for

TODAY = datetime.now(UTC).date()
STEADY = PriceOverrideSpec(
    "simulated", "steady", Decimal("3.125"), Decimal(7), date(2026, 1, 1), "Contract 17", per_call=Decimal("0.01")
)


def add(tenant: Tenant, spec: PriceOverrideSpec = STEADY, **changed: Any) -> PriceOverrideOut:
    with tenant.scope() as scope:
        return overrides.create(scope, structs.replace(spec, **changed))


def refused(tenant: Tenant, **changed: Any) -> str:
    with pytest.raises(CardError) as refusal:
        add(tenant, **changed)
    return refusal.value.code


def test_a_price_comes_back_exactly_as_it_was_given(tenant: Tenant) -> None:
    tiers = [Tier(200_000, Decimal("6.25"), Decimal("14.0001"), cached_input_per_mtok=Decimal("0.5"))]
    made = add(tenant, tiers=tiers, valid_to=date(2027, 1, 1), cache_write_per_mtok=Decimal("4.0"))
    with tenant.scope() as scope:
        assert overrides.get(scope, str(made.id)) == made
        assert overrides.list_overrides(scope, PriceOverrideQuery()).items == [made]
    assert {name: getattr(made, name) for name in STEADY.__struct_fields__} == {
        name: getattr(STEADY, name) for name in STEADY.__struct_fields__
    } | {"tiers": tiers, "valid_to": date(2027, 1, 1), "cache_write_per_mtok": Decimal("4.0")}
    assert made.price_id == f"override:{made.id}"


@pytest.mark.parametrize("text", ["\x00" * 300, "\ud800", "'; drop table runs; --"])
def test_any_text_comes_back_as_it_was_given(tenant: Tenant, text: str) -> None:
    made = add(tenant, model=text, source=text)
    assert (made.model, made.source) == (text, text)


@pytest.mark.parametrize(
    "changed",
    [
        {"input_per_mtok": Decimal(-1)},
        {"input_per_mtok": Decimal("NaN")},
        {"output_per_mtok": Decimal("1e99")},
        {"per_call": Decimal("1e-99")},
        {"valid_to": date(2026, 1, 1)},
        {"provider": "openai@"},
        {"tiers": [Tier(0, Decimal(1), Decimal(1))]},
        {"tiers": [Tier(10, Decimal("Infinity"), Decimal(1))]},
    ],
    ids=str,
)
def test_what_is_no_price_is_refused(tenant: Tenant, changed: dict[str, Any]) -> None:
    assert refused(tenant, **changed) == "price_invalid"


def test_two_prices_for_one_model_on_one_day_are_refused(tenant: Tenant) -> None:
    first = add(tenant, valid_to=date(2026, 7, 1))
    assert refused(tenant, valid_from=date(2026, 6, 30)) == "price_overlap"
    assert refused(tenant, valid_from=date(2025, 1, 1)) == "price_overlap"
    assert refused(tenant, valid_from=date(2025, 1, 1), valid_to=date(2026, 1, 2)) == "price_overlap"
    add(tenant, valid_from=date(2025, 1, 1), valid_to=date(2026, 1, 1))
    add(tenant, valid_from=date(2026, 7, 1))
    add(tenant, model="other")
    with tenant.scope() as scope, pytest.raises(CardError, match="2026-07-01"):
        overrides.update(scope, str(first.id), PriceOverridePatch(valid_to=None), unconditional)


def test_of_two_who_add_the_same_price_at_once_one_is_refused(tenant: Tenant) -> None:
    def attempt(_: int) -> bool:
        try:
            add(tenant)
        except CardError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(attempt, range(6))) == 1


def test_a_price_is_ended_and_another_begins(tenant: Tenant) -> None:
    made = add(tenant)
    patch = PriceOverridePatch(valid_to=date(2026, 5, 1), source="Contract 17, ended")
    with tenant.scope() as scope:
        changed = overrides.update(scope, str(made.id), patch, if_match(etag_of(made)))
    assert changed == structs.replace(made, valid_to=date(2026, 5, 1), source="Contract 17, ended")
    add(tenant, valid_from=date(2026, 5, 1), input_per_mtok=Decimal(2))
    with tenant.scope() as scope, pytest.raises(Conflict) as refusal:
        overrides.update(scope, str(made.id), PriceOverridePatch(source="late"), if_match(etag_of(made)))
    assert refusal.value.current == changed
    with tenant.scope() as scope:
        actions = scope.connection.execute(
            sa.select(audit_log.c.action).where(audit_log.c.object_id == str(made.id)).order_by(audit_log.c.seq)
        ).scalars()
        assert list(actions) == ["price.created", "price.updated"]


def test_rates_are_never_changed_and_prices_never_deleted(tenant: Tenant) -> None:
    add(tenant)
    for statement in (sa.update(price_overrides).values(input_per_mtok=1), sa.delete(price_overrides)):
        with pytest.raises(ProgrammingError, match="permission denied"), tenant.scope() as scope:
            scope.connection.execute(statement)


def test_a_price_that_was_withdrawn_is_gone_and_makes_room(tenant: Tenant) -> None:
    made = add(tenant)
    with tenant.scope() as scope:
        overrides.withdraw(scope, str(made.id), unconditional)
        assert overrides.list_overrides(scope, PriceOverrideQuery()).items == []
        with pytest.raises(NotFound):
            overrides.get(scope, str(made.id))
    assert add(tenant).id != made.id


def test_overrides_are_paged_by_provider_model_and_day(tenant: Tenant) -> None:
    for model in ("c", "a", "b"):
        add(tenant, model=model, valid_to=date(2026, 2, 1))
        add(tenant, model=model, valid_from=date(2026, 2, 1))
    seen: list[tuple[str, date]] = []
    cursor = None
    while True:
        with tenant.scope() as scope:
            page = overrides.list_overrides(scope, PriceOverrideQuery(cursor=cursor, limit=4))
        seen += [(one.model, one.valid_from) for one in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == sorted(seen)
    assert len(seen) == 6


def test_another_workspace_has_nothing_of_it(tenant: Tenant, stranger: Tenant) -> None:
    made = add(tenant)
    with stranger.scope() as scope:
        assert overrides.list_overrides(scope, PriceOverrideQuery()).items == []
        with pytest.raises(NotFound):
            overrides.withdraw(scope, str(made.id), unconditional)
    assert made.price_id not in {price.id for price in prices.load(stranger.database, stranger.id)}
    assert made.price_id in {price.id for price in prices.load(tenant.database, tenant.id)}


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
def test_only_owners_set_prices_and_everybody_sees_them(
    database: Database, tenant: Tenant, new_actor: NewActor, role: str
) -> None:
    add(tenant)
    with open_scope(database, new_actor(tenant, role), str(tenant.id)) as scope:
        assert len(overrides.list_overrides(scope, PriceOverrideQuery()).items) == 1
        with pytest.raises(Denied):
            overrides.create(scope, structs.replace(STEADY, model="x"))


def test_prices_are_listed_as_they_hold_on_a_day(tenant: Tenant) -> None:
    made = add(tenant, valid_from=TODAY - timedelta(days=1), valid_to=TODAY + timedelta(days=1))
    with tenant.scope() as scope:

        def own(**query: Any) -> list[str]:
            page = prices.list_prices(scope, PriceQuery(limit=500, **query))
            return [price.id for price in page.items if price.override]

        assert own() == own(provider="simulated", model="STEA") == [made.price_id]
        assert own(on=TODAY + timedelta(days=1)) == own(provider="openai") == own(model="gpt") == []
        everything = prices.list_prices(scope, PriceQuery(limit=500)).items
        seen, cursor = [], None
        while True:
            page = prices.list_prices(scope, PriceQuery(limit=7, cursor=cursor))
            seen += page.items
            if (cursor := page.next) is None:
                break
    assert seen == everything
    assert len({price.id for price in seen}) == len(seen) > 10


def test_runs_are_priced_by_the_workspaces_own_price_and_results_say_so(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    made = add(tenant)
    run_id = tenant.start(["simulated:steady"], count=2)
    start_worker()
    wait_for(lambda: tenant.status(run_id) == "completed")
    with tenant.scope() as scope:
        found = items.list_items(scope, run_id).items
        stored = scope.connection.execute(sa.select(generations.c.price_id, generations.c.price_override_id)).all()
        overrides.withdraw(scope, str(made.id), unconditional)
    assert stored == [(None, made.id)] * 2
    for item in found:
        generation = item.generation
        assert generation is not None
        assert generation.price_id == made.price_id
        tokens = generation.tokens
        assert generation.cost_usd == (
            (tokens.input or 0) * Decimal("3.125") + (tokens.output or 0) * Decimal(7)
        ) / 1_000_000 + Decimal("0.01")
    assert tenant.run(run_id).counts.cost_usd == sum(item.cost_usd or 0 for item in found)
