"""What models answered, as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.generations import (
    AttemptOut,
    GenerationHead,
    GenerationOut,
    GenerationQuery,
    GenerationUse,
)
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.results import Outcome
from server_ext.db.tables import attempts, card_versions, generations, test_executions
from server_ext.services.answers import answer_columns, answer_in
from server_ext.services.paging import decode_cursor, page
from server_ext.services.runs import card_id_of
from server_ext.services.scope import Scope, as_uuid, missing

BEGINNING = 200
MAX_USES = 20
_e, _g = test_executions.c, generations.c
_HEAD = (
    "id", "created_at", "provider", "model", "request_hash", "tokens_input", "tokens_output", "latency_ms", "cost_usd",
)  # fmt: skip


def get(scope: Scope, reference: str) -> GenerationOut:
    """Return an answer with what was asked and whose it is.

    Raises:
        NotFound: There is none.
    """
    scope.require("test:read")
    generation_id = as_uuid(reference)
    if generation_id is None:
        raise missing("generation", reference)
    row = scope.connection.execute(
        sa.select(generations.c.request, *answer_columns()).where(
            _g.workspace_id == scope.workspace_id, _g.id == generation_id
        )
    ).one_or_none()
    if row is None:
        raise missing("generation", reference)
    return GenerationOut(generation_id, row.g_created_at, row.request, answer_in(row), _uses(scope, generation_id))


def _uses(scope: Scope, generation_id: UUID) -> list[GenerationUse]:
    query = sa.select(_e.run_id, _e.ordinal, _e.card_version_id, _e.outcome).where(
        _e.workspace_id == scope.workspace_id, _e.generation_id == generation_id
    )
    rows = scope.connection.execute(query.order_by(_e.run_created_at, _e.ordinal).limit(MAX_USES)).all()
    return [
        GenerationUse(row.run_id, row.ordinal, row.card_version_id, Outcome(row.outcome), _ledger(scope, row))
        for row in rows
    ]


def _ledger(scope: Scope, item: Any) -> list[AttemptOut]:
    a = attempts.c
    query = sa.select(a.attempt, a.state, a.worker, a.claimed_at, a.closed_at).where(
        a.workspace_id == scope.workspace_id, a.run_id == item.run_id, a.ordinal == item.ordinal
    )
    return [AttemptOut(*row) for row in scope.connection.execute(query.order_by(a.attempt))]


def list_generations(scope: Scope, query: GenerationQuery) -> Page[GenerationHead]:
    """Return answers, newest first.

    Raises:
        NotFound: There is no such card.
        CardError: The cursor is none (``cursor_invalid``).
    """
    scope.require("test:read")
    columns = [_g[name] for name in _HEAD]
    statement = sa.select(*columns, sa.func.left(_g.output, BEGINNING, type_=_g.output.type).label("output"))
    statement = statement.where(*_filters(scope, query))
    if query.cursor:
        statement = statement.where(sa.tuple_(_g.created_at, _g.id) < decode_cursor(query.cursor, datetime, UUID))
    rows = scope.connection.execute(statement.order_by(_g.created_at.desc(), _g.id.desc()).limit(query.limit + 1)).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), lambda row: GenerationHead(**row._mapping))  # noqa: SLF001


def _filters(scope: Scope, query: GenerationQuery) -> Iterator[sa.ColumnElement[bool]]:
    yield _g.workspace_id == scope.workspace_id
    if query.card is not None:
        yield _of_card(scope, query.card)
    for name in ("model", "provider", "request_hash"):
        if (wanted := getattr(query, name)) is not None:
            yield _g[name] == wanted
    if query.created_after is not None:
        yield _g.created_at >= query.created_after
    if query.created_before is not None:
        yield _g.created_at < query.created_before


def _of_card(scope: Scope, card: str) -> sa.ColumnElement[bool]:
    v = card_versions.c
    versions = sa.select(v.id).where(v.workspace_id == scope.workspace_id, v.card_id == card_id_of(scope, card))
    return sa.exists().where(
        _e.workspace_id == scope.workspace_id, _e.generation_id == _g.id, _e.card_version_id.in_(versions)
    )
