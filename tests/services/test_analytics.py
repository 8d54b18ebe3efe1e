"""What the sums say is what the rows say, whatever came when and however often."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.analytics import (
    CaseOrder,
    CaseQuery,
    CaseRow,
    ExecutionFilter,
    ExecutionQuery,
    FoundCaseQuery,
    LatencyGroup,
    LatencyQuery,
)
from promptcard_ext.core.contract.runs import RunSpec
from promptcard_ext.core.errors import CardError, NotFound
from promptcard_ext.core.results import Outcome
from server_ext.db import rollups
from server_ext.db.tables import card_versions, rollup_histograms, run_cases, runs, test_executions
from server_ext.services import analytics, cards, cases, executions
from server_ext.services import runs as run_service
from tests.services.test_recording import begin, record
from tests.support import ECHO, Tenant, greetings, new_tenant

TODAY = datetime.now(UTC).date()
OTHER = "simulated:steady"
ALL = ExecutionFilter()


class Told(Struct, frozen=True):
    """An item as a test has it stored: its place in one of two runs, when, and how it went."""

    run: int
    ordinal: int
    days_ago: int = 0
    outcome: str = "pass"
    latency_ms: float | None = 100.0
    cost_usd: Decimal | None = Decimal("0.001")


def two_runs(tenant: Tenant) -> list[Any]:
    """Start runs of two cards, which share their cases by name and not by content; return the rows of the runs."""
    ids = [tenant.start([ECHO, OTHER], count=3)]
    with tenant.scope() as scope:
        cards.save_version(scope, Card("other", "Hi {{ who }}", title="The other"))
        cases.replace_all(scope, "other", greetings(2))
        ids.append(str(run_service.create(scope, RunSpec(card="other", models=[ECHO])).id))
        return [scope.connection.execute(sa.select(runs).where(runs.c.id == UUID(one))).one() for one in ids]


def store(tenant: Tenant, begun: Sequence[Any], batch: Sequence[Told]) -> None:
    """Store a batch of one run and one moment as recording does, but at a time of one's own."""
    run = begun[batch[0].run]
    with tenant.scope() as scope:
        known = scope.connection.execute(sa.select(run_cases).where(run_cases.c.run_id == run.id)).all()
        uids = {row.position: row.case_uid for row in known}
        version = sa.select(card_versions.c.id).where(card_versions.c.card_id == run.card_id)
        rows = [
            {
                "ordinal": one.ordinal, "case_position": one.ordinal % len(uids), "outcome": one.outcome,
                "case_uid": uids[one.ordinal % len(uids)], "latency_ms": one.latency_ms, "cost": one.cost_usd,
                "model": (ECHO, OTHER)[one.ordinal % 2],
            }
            for one in batch
        ]  # fmt: skip
        sums = ", ".join(f"{name} as ({statement})" for name, statement in rollups.STATEMENTS.items())
        scope.connection.exec_driver_sql(
            "with stored as (insert into test_executions (workspace_id, run_id, run_created_at, ordinal,"
            " card_version_id, case_position, case_uid, model, provider, repeat, outcome, latency_ms, cost_usd,"
            " attempt, event_seq, completed_at) select %(workspace_id)s, %(run_id)s, %(created_at)s, ordinal,"
            " %(version_id)s, case_position, case_uid, model, 'simulated', 0, outcome, latency_ms, cost::numeric, 1, 1,"
            " %(at)s from json_to_recordset(%(rows)s) as r (ordinal integer, case_position integer, case_uid text,"
            " model text, outcome text, latency_ms double precision, cost text) on conflict do nothing returning *)"
            f", {sums} select count(*) from stored",
            {
                "workspace_id": tenant.id, "run_id": run.id, "created_at": run.created_at,
                "version_id": scope.connection.execute(version).scalar_one(), "user_id": rollups.NOBODY,
                "at": run.created_at - timedelta(days=batch[0].days_ago), "rows": json.dumps(rows, default=str),
            },
        )  # fmt: skip


def raw(tenant: Tenant) -> list[Any]:
    with tenant.scope() as scope:
        query = sa.select(test_executions, card_versions.c.card_id).join(
            card_versions, card_versions.c.id == test_executions.c.card_version_id
        )
        return list(scope.connection.execute(query.where(test_executions.c.workspace_id == tenant.id)))


def summed(rows: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, tuple[Any, ...]]:
    """Return what rows amount to, by a key: what the answers are compared with."""
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {name: _sums(group) for name, group in groups.items()}


def _sums(rows: Sequence[Any]) -> tuple[Any, ...]:
    outcomes = [sum(row.outcome == outcome for row in rows) for outcome in ("pass", "fail", "error", "unscored")]
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    mean = pytest.approx(math.fsum(latencies) / len(latencies)) if latencies else None
    return len(rows), *outcomes, mean, sum(costs), len(costs)


def told(row: CaseRow) -> tuple[Any, ...]:
    return row.items, row.passed, row.failed, row.errored, row.unscored, row.latency_ms, row.cost_usd, row.priced


def ranked(tenant: Tenant, **query: Any) -> list[CaseRow]:
    with tenant.scope() as scope:
        return analytics.cases(scope, CaseQuery(**query)).rows


ITEMS = st.builds(
    Told,
    run=st.just(0),
    ordinal=st.integers(0, 5),
    outcome=st.sampled_from([str(outcome) for outcome in Outcome]),
    latency_ms=st.none() | st.sampled_from([100.0, 200.0]) | st.floats(0, 1e7),  # some often in one bucket
    cost_usd=st.none() | st.decimals(0, 5, places=6),
)
BATCHES = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 3), st.lists(ITEMS, min_size=1, max_size=8, unique_by=lambda one: one.ordinal)
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_the_sums_are_those_of_the_rows_whatever_came_when(
    tenant: Tenant, batches: list[tuple[int, int, list[Told]]]
) -> None:
    fresh = new_tenant(tenant.database, tenant.actor)
    begun = two_runs(fresh)
    for run, days_ago, items in batches:
        store(fresh, begun, [Told(run, one.ordinal, days_ago, *_how(one)) for one in items])
    rows = raw(fresh)

    def by_case(row: Any) -> Any:
        return row.card_id, row.case_uid

    assert {(row.card_id, row.case_uid): told(row) for row in ranked(fresh, limit=200)} == summed(rows, by_case)
    since, until = TODAY - timedelta(days=2), TODAY - timedelta(days=1)
    some = [row for row in rows if since <= row.completed_at.date() <= until]
    found = ranked(fresh, since=since, until=until, limit=200)
    assert {(row.card_id, row.case_uid): told(row) for row in found} == summed(some, by_case)
    with fresh.scope() as scope:
        counted = scope.connection.execute(sa.select(rollup_histograms.c.counts)).scalars().all()
    assert sum(map(sum, counted)) == sum(row.latency_ms is not None for row in rows)
    keys: dict[LatencyGroup, Callable[[Any], str]] = {
        "day": lambda row: str(row.completed_at.date()),
        "card": lambda row: str(row.card_id),
        "model": lambda row: str(row.model),
        "total": lambda _: "",
    }
    for group_by, key in keys.items():
        check_latencies(fresh, group_by, rows, key)
    fresh.give_up_runs()


def _how(one: Told) -> tuple[str, float | None, Decimal | None]:
    return one.outcome, one.latency_ms, one.cost_usd


def check_latencies(tenant: Tenant, group_by: LatencyGroup, rows: list[Any], key: Callable[[Any], str]) -> None:
    """Compare with the latencies themselves: each percentile is that of its rank, to 1 %."""
    with tenant.scope() as scope:
        found = {row.key: row for row in analytics.latency(scope, LatencyQuery(group_by=group_by)).rows}
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row.latency_ms)
    assert {name: (row.items, row.answered) for name, row in found.items()} == {
        name: (len(values), len(values) - values.count(None)) for name, values in groups.items()
    }
    for name, values in groups.items():
        latencies = sorted(value for value in values if value is not None)
        for percentile, share in analytics.PERCENTILES.items():
            ours = getattr(found[name], percentile)
            if not latencies:
                assert ours is None
                continue
            exact = latencies[max(0, math.ceil(round(share * len(latencies), 9)) - 1)]
            assert ours == pytest.approx(exact, rel=0.01) if exact >= 1 else ours < 1.02


def test_what_is_recorded_late_or_twice_counts_once(tenant: Tenant) -> None:
    _, lease, shard = begin(tenant, 6)
    for ordinals in (range(4), range(2, 6), range(6)):
        record(tenant, lease, shard, ordinals)
    assert sum(row.items for row in ranked(tenant)) == 6
    with tenant.scope() as scope:
        assert executions.sums(scope, ALL).items == 6
        (latency,) = analytics.latency(scope, LatencyQuery()).rows
    assert latency.items == 6


def test_latencies_of_one_bucket_that_come_one_after_the_other_add_up(tenant: Tenant) -> None:
    begun = two_runs(tenant)
    for ordinal in (0, 2, 4):
        store(tenant, begun, [Told(0, ordinal, latency_ms=100.0)])
    store(tenant, begun, [Told(0, 6, latency_ms=1.5)])
    with tenant.scope() as scope:
        (row,) = scope.connection.execute(sa.select(rollup_histograms)).all()
    assert (row.buckets, row.counts) == ([rollups.bucket(1.5), rollups.bucket(100.0)], [1, 3])


def test_cases_come_in_the_order_that_was_asked_for(tenant: Tenant) -> None:
    begun = two_runs(tenant)
    store(tenant, begun, [Told(0, 0, latency_ms=300, cost_usd=None), Told(0, 3, latency_ms=500), Told(0, 1)])
    store(tenant, begun, [Told(0, 2, outcome="error", latency_ms=None, cost_usd=None)])
    store(tenant, begun, [Told(1, 0, outcome="fail", cost_usd=Decimal(7)), Told(1, 1, outcome="fail", latency_ms=200)])
    store(tenant, begun, [Told(1, 3, latency_ms=200)])
    names: dict[CaseOrder, list[tuple[str, str]]] = {
        "slowest": [("greet", "ada-0"), ("other", "ada-1")],
        "dearest": [("other", "ada-0"), ("other", "ada-1")],
        "failing": [("other", "ada-0"), ("other", "ada-1")],
    }
    for order, expected in names.items():
        assert [(row.card, row.name) for row in ranked(tenant, order=order)][:2] == expected
    assert [row.items for row in ranked(tenant, order="most")] == [2, 2, 1, 1, 1]
    assert ranked(tenant)[-1].latency_ms is None  # what was never answered is last, not first
    assert {row.title for row in ranked(tenant, card="other")} == {"The other"}
    assert len(ranked(tenant, limit=1)) == 1


def test_a_case_that_is_gone_keeps_its_name_and_one_of_an_archived_card_is_told(tenant: Tenant) -> None:
    begun = two_runs(tenant)
    store(tenant, begun, [Told(0, 0), Told(0, 1)])
    with tenant.scope() as scope:
        cases.replace_all(scope, "greet", [])
        assert [row.name for row in executions.cases(scope, FoundCaseQuery()).rows] == ["ada-0", "ada-1"]
    assert {row.name for row in ranked(tenant)} == {"ada-0", "ada-1"}
    assert {row.name for row in ranked(tenant, since=TODAY)} == {"ada-0", "ada-1"}


def test_days_out_of_order_and_cards_that_are_nowhere_are_refused(tenant: Tenant) -> None:
    with pytest.raises(CardError) as refusal:
        ranked(tenant, since=TODAY, until=TODAY - timedelta(days=1))
    assert refusal.value.code == "request_invalid"
    for day in (date.min, date.max):
        with pytest.raises(CardError):
            ranked(tenant, until=day)
    with pytest.raises(NotFound):
        ranked(tenant, card="nowhere")


def test_another_workspace_has_no_cases_latencies_or_executions(tenant: Tenant, stranger: Tenant) -> None:
    store(tenant, two_runs(tenant), [Told(0, 0)])
    assert ranked(stranger) == []
    with stranger.scope() as scope:
        assert analytics.latency(scope, LatencyQuery()).rows == []
        assert executions.list_executions(scope, ExecutionQuery()).items == []
        assert executions.cases(scope, FoundCaseQuery()).rows == []
        assert (executions.sums(scope, ALL).items, executions.sums(scope, ALL).p50_ms) == (0, None)
