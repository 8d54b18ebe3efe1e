"""Executions of all runs, by whatever they have in common: listed, summed up, or by case.

What is filtered and summed up stands in ``test_executions_completed_idx``: of the rows themselves only those of the
page that is shown are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.analytics import (
    CaseRows,
    ExecutionFilter,
    ExecutionHead,
    ExecutionQuery,
    ExecutionSums,
    FoundCaseQuery,
)
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from server_ext.db.tables import card_versions, test_executions
from server_ext.services.analytics import PERCENTILES, first_cases
from server_ext.services.paging import decode_cursor, page
from server_ext.services.runs import card_id_of
from server_ext.services.scope import Scope

BEGINNING = 200
MAX_USD, MAX_DECIMALS = 1_000_000_000, 20
_e, _v = test_executions.c, card_versions.c
_OUTCOMES = {"passed": "pass", "failed": "fail", "errored": "error", "unscored": "unscored"}
_KEY = ("completed_at", "run_id", "ordinal")
_HEAD = (
    "run_id", "ordinal", "completed_at", "case_uid", "repeat", "model", "outcome", "reason", "score", "latency_ms",
    "tokens_input", "tokens_output", "cost_usd", "cached", "generation_id",
)  # fmt: skip


def list_executions(scope: Scope, query: ExecutionQuery) -> Page[ExecutionHead]:
    """Return executions, newest first.

    Raises:
        NotFound: There is no such card.
        CardError: The cursor is none (``cursor_invalid``), or the filter makes no sense (``request_invalid``).
    """
    scope.require("test:read")
    shown = sa.select(*(_e[name] for name in (*_KEY, "run_created_at"))).where(*_filters(scope, query))
    if query.cursor:
        shown = shown.where(sa.tuple_(*(_e[name] for name in _KEY)) < decode_cursor(query.cursor, datetime, UUID, int))
    first = shown.order_by(*(_e[name].desc() for name in _KEY)).limit(query.limit + 1).cte("shown")
    k = first.c
    of_key = (_e[name] == k[name] for name in ("run_id", "ordinal", "run_created_at"))
    message = sa.func.left(_e.message, BEGINNING, type_=_e.message.type).label("message")
    rows = scope.connection.execute(
        sa.select(*(_e[name] for name in _HEAD), message, _v.id.label("version_id"), _v.card_id)
        .select_from(first)
        .join(test_executions, sa.and_(_e.workspace_id == scope.workspace_id, *of_key))
        .join(card_versions, sa.and_(_v.workspace_id == scope.workspace_id, _v.id == _e.card_version_id))
        .order_by(*(k[name].desc() for name in _KEY))
    ).all()
    return page(rows, query.limit, lambda row: tuple(getattr(row, name) for name in _KEY), _head)


def sums(scope: Scope, query: ExecutionFilter) -> ExecutionSums:
    """Return what executions amount to.

    Raises:
        NotFound: There is no such card.
        CardError: The filter makes no sense (``request_invalid``).
    """
    scope.require("analytics:read")
    ranks = sa.func.percentile_disc(sa.cast(list(PERCENTILES.values()), sa.ARRAY(sa.Double)))
    row = scope.connection.execute(
        sa.select(
            sa.func.count().label("items"),
            *_outcomes(),
            sa.func.count(_e.latency_ms).label("answered"),
            sa.func.avg(_e.latency_ms).label("latency_ms"),
            sa.type_coerce(ranks.within_group(_e.latency_ms), sa.ARRAY(sa.Double)).label("ranks"),
            sa.func.coalesce(sa.func.sum(_e.cost_usd), 0).label("cost_usd"),
            sa.func.count(_e.cost_usd).label("priced"),
        ).where(*_filters(scope, query))
    ).one()
    values = dict(row._mapping)  # noqa: SLF001
    found = values.pop("ranks") or [None] * len(PERCENTILES)
    return ExecutionSums(**values, **dict(zip(PERCENTILES, found, strict=True)))


def cases(scope: Scope, query: FoundCaseQuery) -> CaseRows:
    """Return the cases that come first among some executions.

    Raises:
        NotFound: There is no such card.
        CardError: The filter makes no sense (``request_invalid``).
    """
    scope.require("analytics:read")
    # By version first: a card has few, and is looked up once for each.
    by_version = (
        sa.select(
            _e.card_version_id,
            _e.case_uid,
            sa.func.count().label("n"),
            *_outcomes(),
            sa.func.coalesce(sa.func.sum(_e.latency_ms), 0).label("latency_ms_sum"),
            sa.func.count(_e.latency_ms).label("latency_n"),
            sa.func.coalesce(sa.func.sum(_e.cost_usd), 0).label("cost_usd"),
            sa.func.count(_e.cost_usd).label("priced"),
        )
        .where(*_filters(scope, query))
        .group_by(_e.card_version_id, _e.case_uid)
        .cte("by_version")
    )
    names = [name for name in by_version.c.keys() if name not in ("card_version_id", "case_uid")]  # noqa: SIM118
    found = (
        sa.select(_v.card_id, by_version.c.case_uid, *(sa.func.sum(by_version.c[name]).label(name) for name in names))
        .join(card_versions, sa.and_(_v.workspace_id == scope.workspace_id, _v.id == by_version.c.card_version_id))
        .group_by(_v.card_id, by_version.c.case_uid)
    )
    return CaseRows(first_cases(scope, found, query.order, query.limit))


def _outcomes() -> Iterator[sa.ColumnElement[int]]:
    for name, outcome in _OUTCOMES.items():
        yield sa.func.count().filter(_e.outcome == outcome).label(name)


def _filters(scope: Scope, query: ExecutionFilter) -> Iterator[sa.ColumnElement[bool]]:
    yield _e.workspace_id == scope.workspace_id
    if query.card is not None:
        of_card = _v.card_id == card_id_of(scope, query.card)
        yield _e.card_version_id.in_(sa.select(_v.id).where(_v.workspace_id == scope.workspace_id, of_card))
    if query.case is not None:
        yield _e.case_uid == query.case
    if query.model is not None:
        yield _e.model == query.model
    if query.outcome is not None:
        yield _e.outcome == query.outcome.value
    if query.completed_after is not None:
        yield _e.completed_at >= query.completed_after
    if query.completed_before is not None:
        yield _e.completed_at < query.completed_before
    if query.min_latency_ms is not None:
        yield _e.latency_ms >= query.min_latency_ms
    if query.min_cost_usd is not None:
        usd = query.min_cost_usd
        if not (usd.is_finite() and 0 <= usd <= MAX_USD and int(usd.as_tuple().exponent) >= -MAX_DECIMALS):
            raise CardError(f"'min_cost_usd' is {usd}; it is a sum of money.", code="request_invalid")
        yield _e.cost_usd >= usd


def _head(row: Any) -> ExecutionHead:
    values = dict(row._mapping)  # noqa: SLF001
    return ExecutionHead(**values | {"outcome": Outcome(row.outcome), "message": row.message or ""})
