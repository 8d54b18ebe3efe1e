"""Which cases and models are slow, dear or failing, from the sums that are kept with the write."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from promptcard_ext.core.contract.analytics import (
    CaseOrder,
    CaseQuery,
    CaseRow,
    CaseRows,
    Latencies,
    LatencyGroup,
    LatencyQuery,
    LatencyRow,
)
from server_ext.db.rollups import middle
from server_ext.db.tables import (
    card_versions,
    prompt_cards,
    rollup_case_days,
    rollup_cases,
    rollup_histograms,
    rollup_hours,
    run_cases,
    test_cases,
)
from server_ext.services.runs import card_id_of
from server_ext.services.scope import Scope
from server_ext.services.usage import MAX_DAYS, days

SUMS = ("n", "passed", "failed", "errored", "unscored", "latency_ms_sum", "latency_n", "cost_usd", "priced")
PERCENTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99}


def cases(scope: Scope, query: CaseQuery) -> CaseRows:
    """Return the cases that come first, over all time or over some days.

    Raises:
        NotFound: There is no such card.
        CardError: As `server_ext.services.usage.days`.
    """
    scope.require("analytics:read")
    table = rollup_cases if query.since is None and query.until is None else rollup_case_days
    c = table.c
    where = [c.workspace_id == scope.workspace_id]
    if query.card is not None:
        where.append(c.card_id == card_id_of(scope, query.card))
    found = sa.select(c.card_id, c.case_uid).where(*where)
    if table is rollup_cases:
        found = found.add_columns(*(c[name] for name in SUMS))
    else:
        since, until = days(query.since, query.until, MAX_DAYS)
        found = found.add_columns(*(sa.func.sum(c[name]).label(name) for name in SUMS)).where(
            c.day.between(since, until)
        )
        found = found.group_by(c.card_id, c.case_uid)
    return CaseRows(first_cases(scope, found, query.order, query.limit))


def first_cases(scope: Scope, found: sa.Select[Any], order: CaseOrder, limit: int) -> list[CaseRow]:
    """Return the first of the cases that a query sums up (``card_id``, ``case_uid`` and `SUMS`), with their names."""
    summed = found.cte("summed")
    top = sa.select(summed).order_by(*_order(summed, order)).limit(limit).cte("top")
    card = sa.and_(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id == top.c.card_id)
    named = sa.select(top, prompt_cards.c.name.label("card"), prompt_cards.c.title, _name(scope, top).label("name"))
    found_cards = named.join(prompt_cards, card).order_by(*_order(top, order))
    return [_case(row) for row in scope.connection.execute(found_cards)]


def _name(scope: Scope, top: sa.CTE) -> sa.ColumnElement[str]:
    """Return the name of a case, of today or of when it was tried last.

    By sub-selects and not by joins: each looks up one row, whatever the planner thinks of how many cases a card has.
    """
    here, t, r, c = scope.workspace_id, test_cases.c, rollup_cases.c, run_cases.c
    today = sa.select(t.name).where(t.workspace_id == here, t.card_id == top.c.card_id, t.case_uid == top.c.case_uid)
    tried = sa.and_(c.workspace_id == here, c.run_id == r.run_id, c.position == r.case_position)
    before = (
        sa.select(c.name)
        .select_from(rollup_cases.join(run_cases, tried))
        .where(r.workspace_id == here, r.card_id == top.c.card_id, r.case_uid == top.c.case_uid)
    )
    return sa.func.coalesce(today.scalar_subquery(), before.scalar_subquery(), type_=t.name.type)


def _order(rows: sa.CTE, order: CaseOrder) -> tuple[sa.ColumnElement[Any], ...]:
    c = rows.c
    by: dict[CaseOrder, sa.ColumnElement[Any]] = {
        "slowest": c.latency_ms_sum / sa.func.nullif(c.latency_n, 0),
        "dearest": c.cost_usd,
        "failing": c.failed / sa.func.nullif(sa.cast(c.passed + c.failed, sa.Double), 0),
        "most": c.n,
    }
    return by[order].desc().nulls_last(), c.card_id, c.case_uid


def _case(row: Any) -> CaseRow:
    counts = {name: int(getattr(row, name)) for name in ("passed", "failed", "errored", "unscored", "priced")}
    return CaseRow(
        card_id=row.card_id,
        card=row.card,
        title=row.title,
        case_uid=row.case_uid,
        name=row.name or row.case_uid[:8],
        items=int(row.n),
        latency_ms=row.latency_ms_sum / int(row.latency_n) if row.latency_n else None,
        cost_usd=row.cost_usd,
        **counts,
    )


def latency(scope: Scope, query: LatencyQuery) -> Latencies:
    """Return means and percentiles of latency over some days.

    Raises:
        NotFound: There is no such card.
        CardError: As `server_ext.services.usage.days`.
    """
    scope.require("analytics:read")
    since, until = days(query.since, query.until)
    begins, ends = (datetime.combine(day, time.min, UTC) for day in (since, until + timedelta(days=1)))
    wanted = {}
    for table in (rollup_hours, rollup_histograms):
        where = [table.c.workspace_id == scope.workspace_id, table.c.hour >= begins, table.c.hour < ends]
        if query.card is not None:
            v = card_versions.c
            versions = sa.select(v.id).where(
                v.workspace_id == scope.workspace_id, v.card_id == card_id_of(scope, query.card)
            )
            where.append(table.c.card_version_id.in_(versions))
        if query.model is not None:
            where.append(table.c.model == query.model)
        wanted[table] = sa.and_(*where)
    counted = scope.connection.execute(_counted(scope, query, wanted[rollup_hours])).all()
    ranks = {row.key: row for row in scope.connection.execute(_ranked(scope, query, wanted[rollup_histograms]))}
    names = _card_names(scope) if query.group_by == "card" else {}
    return Latencies(since, until, query.group_by, [_latency(row, ranks.get(row.key), names) for row in counted])


def _key(table: sa.Table, group_by: LatencyGroup) -> sa.ColumnElement[Any]:
    keys: dict[LatencyGroup, sa.ColumnElement[Any]] = {
        "total": sa.literal(""),
        "day": sa.func.to_char(table.c.hour, "YYYY-MM-DD"),
        "card": sa.cast(card_versions.c.card_id, sa.Text),
        "model": table.c.model,
    }
    return keys[group_by].label("key")


def _of(scope: Scope, table: sa.Table, group_by: LatencyGroup) -> sa.FromClause:
    """Return the table, with the versions of cards when their cards are asked for."""
    if group_by != "card":
        return table
    v = card_versions.c
    return table.join(card_versions, sa.and_(v.workspace_id == scope.workspace_id, v.id == table.c.card_version_id))


def _counted(scope: Scope, query: LatencyQuery, where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    key = _key(rollup_hours, query.group_by)
    names = ("n", "latency_ms_sum", "latency_n")
    sums = (sa.func.sum(rollup_hours.c[name]).label(name) for name in names)
    summed = sa.select(key, *sums).select_from(_of(scope, rollup_hours, query.group_by)).where(where)
    order: tuple[Any, ...] = (sa.text("1"),) if query.group_by == "day" else (sa.desc("n"), sa.text("1"))
    return summed.group_by(sa.text("1")).order_by(*order)


def _ranked(scope: Scope, query: LatencyQuery, where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the query for the bucket in which the latency of each rank lies."""
    t = rollup_histograms
    counted = (
        sa.func.unnest(t.c.buckets, t.c.counts)
        .table_valued(sa.column("bucket", sa.Integer), sa.column("n", sa.BigInteger))
        .render_derived(name="counted")
    )
    buckets = sa.select(_key(t, query.group_by), counted.c.bucket, sa.func.sum(counted.c.n).label("n"))
    buckets = buckets.select_from(_of(scope, t, query.group_by).join(counted, sa.true())).where(where)
    b = buckets.group_by(sa.text("1"), counted.c.bucket).cte("buckets")
    upto = sa.func.sum(b.c.n).over(partition_by=b.c.key, order_by=b.c.bucket)
    total = sa.func.sum(b.c.n).over(partition_by=b.c.key)
    r = sa.select(b.c.key, b.c.bucket, upto.label("upto"), total.label("total")).cte("ranked")
    ranks = (
        sa.func.min(r.c.bucket).filter(r.c.upto >= sa.cast(str(share), sa.Numeric) * r.c.total).label(name)
        for name, share in PERCENTILES.items()
    )
    return sa.select(r.c.key, *ranks).group_by(r.c.key)


def _card_names(scope: Scope) -> dict[str, str]:
    p = prompt_cards.c
    found = scope.connection.execute(sa.select(p.id, p.name).where(p.workspace_id == scope.workspace_id))
    return {str(row.id): row.name for row in found}


def _latency(row: Any, ranks: Any, names: dict[str, str]) -> LatencyRow:
    answered = int(row.latency_n)
    found = {name: None if ranks is None else middle(getattr(ranks, name)) for name in PERCENTILES}
    return LatencyRow(
        key=row.key,
        name=names.get(row.key, row.key),
        items=int(row.n),
        answered=answered,
        latency_ms=row.latency_ms_sum / answered if answered else None,
        **found,
    )
