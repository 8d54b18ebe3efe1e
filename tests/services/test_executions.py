"""Executions of all runs, filtered, listed and summed up from the rows themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from promptcard_ext.core.contract.analytics import ExecutionFilter, ExecutionHead, ExecutionQuery, FoundCaseQuery
from promptcard_ext.core.errors import CardError, NotFound
from promptcard_ext.core.results import Outcome
from server_ext.services import executions
from tests.services.test_analytics import Told, raw, store, told, two_runs
from tests.support import ECHO, Tenant

NOW = datetime.now(UTC)


@pytest.fixture
def stored(tenant: Tenant) -> Tenant:
    """Two runs of five days: 12 and 8 items."""
    begun = two_runs(tenant)
    for day in range(4):
        store(tenant, begun, [_item(0, 3 * day + n, day) for n in range(3)])
        store(tenant, begun, [_item(1, 2 * day + n, day) for n in range(2)])
    return tenant


def _item(run: int, ordinal: int, day: int) -> Told:
    outcome = tuple(Outcome)[(ordinal + run) % 4]
    answered = outcome is not Outcome.ERROR
    return Told(
        run, ordinal, day, str(outcome), 50.0 * ordinal if answered else None, Decimal(ordinal) if answered else None
    )


def found(tenant: Tenant, **filters: Any) -> list[ExecutionHead]:
    """Return all pages, three to a page."""
    items: list[ExecutionHead] = []
    cursor = None
    with tenant.scope() as scope:
        while True:
            page = executions.list_executions(scope, ExecutionQuery(cursor=cursor, limit=3, **filters))
            items += page.items
            if (cursor := page.next) is None:
                return items


FILTERS: dict[str, tuple[dict[str, Any], Any]] = {
    "none": ({}, lambda row: True),
    "model": ({"model": ECHO}, lambda row: row.model == ECHO),
    "outcome": ({"outcome": Outcome.FAIL}, lambda row: row.outcome == "fail"),
    "latency": ({"min_latency_ms": 200.0}, lambda row: (row.latency_ms or 0) >= 200),
    "cost": ({"min_cost_usd": Decimal(5)}, lambda row: (row.cost_usd or 0) >= 5),
    "time": (
        {"completed_after": NOW - timedelta(days=2.5), "completed_before": NOW - timedelta(days=0.5)},
        lambda row: timedelta(days=0.5) < NOW - row.completed_at <= timedelta(days=2.5),
    ),
    "all": (
        {"model": ECHO, "outcome": Outcome.PASS, "min_latency_ms": 100.0},
        lambda row: row.model == ECHO and row.outcome == "pass" and (row.latency_ms or 0) >= 100,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_what_a_filter_leaves_is_listed_newest_first_and_summed_up(stored: Tenant, name: str) -> None:
    filters, keeps = FILTERS[name]
    rows = sorted(filter(keeps, raw(stored)), key=lambda row: (row.completed_at, row.run_id, row.ordinal), reverse=True)
    assert rows
    listed = found(stored, **filters)
    assert [(one.run_id, one.ordinal) for one in listed] == [(row.run_id, row.ordinal) for row in rows]
    with stored.scope() as scope:
        sums = executions.sums(scope, ExecutionFilter(**filters))
        by_case = executions.cases(scope, FoundCaseQuery(**filters, limit=200)).rows
    latencies = sorted(row.latency_ms for row in rows if row.latency_ms is not None)
    assert (sums.items, sums.answered) == (len(rows), len(latencies))
    assert sums.passed == sum(row.outcome == "pass" for row in rows)
    assert sums.cost_usd == sum(row.cost_usd for row in rows if row.cost_usd is not None)
    assert sums.p99_ms == (latencies[-1] if latencies else None)
    assert sums.p50_ms == (latencies[(len(latencies) - 1) // 2] if latencies else None)
    assert sum(row.items for row in by_case) == len(rows)
    assert sum(told(row)[7] for row in by_case) == sums.priced


def test_executions_of_a_card_and_of_a_case_are_found(stored: Tenant) -> None:
    of_card = found(stored, card="other")
    assert len(of_card) == 8
    assert len({one.card_id for one in of_card}) == 1
    uid = of_card[0].case_uid
    assert {one.case_uid for one in found(stored, card="other", case=uid)} == {uid}
    with pytest.raises(NotFound):
        found(stored, card="nowhere")


def test_a_cost_that_is_no_sum_of_money_is_refused(stored: Tenant) -> None:
    for cost in ("NaN", "Infinity", "-1", "1e999999", "1e-999999"):
        with pytest.raises(CardError) as refusal:
            found(stored, min_cost_usd=Decimal(cost))
        assert refusal.value.code == "request_invalid"


def test_a_cursor_of_another_list_is_refused(stored: Tenant) -> None:
    with stored.scope() as scope, pytest.raises(CardError) as refusal:
        executions.list_executions(scope, ExecutionQuery(cursor="x"))
    assert refusal.value.code == "cursor_invalid"
