"""The items of a run, as results, and the events that brought them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Tokens, Verdict
from server_ext.db.tables import card_versions, generations, run_cases, run_events, test_executions
from server_ext.services import runs as run_service
from server_ext.services.scope import Scope

MAX_EVENTS = 50

_e, _g = test_executions.c, generations.c


class RunEventOut(Struct, frozen=True):
    """One event of a run as clients get it; ``seq`` counts from 1 without gaps.

    Attributes:
        kind: ``queued``, ``running``, ``items``, ``cancelling`` or ``finished``.
        items: The results that this event brings.
    """

    seq: int
    kind: str
    payload: dict[str, Any]
    items: list[ItemResult]


def list_items(scope: Scope, reference: str, after: int = -1, limit: int = 500) -> list[ItemResult]:
    """Return results in the order of the plan, those behind ordinal ``after``."""
    run = run_service.get(scope, reference)
    return _items(scope, run, _e.ordinal > after, limit)


def events_after(scope: Scope, reference: str, after: int) -> tuple[list[RunEventOut], dict[str, Any]]:
    """Return up to 50 events behind number ``after`` with their results, and the run."""
    run = run_service.get(scope, reference)
    rows = scope.connection.execute(
        sa.select(run_events)
        .where(
            run_events.c.workspace_id == scope.workspace_id,
            run_events.c.run_id == run["id"],
            run_events.c.seq > after,
        )
        .order_by(run_events.c.seq)
        .limit(MAX_EVENTS)
    ).all()
    by_seq: dict[int, list[ItemResult]] = {}
    if any(row.kind == "items" for row in rows):
        wanted = sa.and_(_e.event_seq > after, _e.event_seq <= rows[-1].seq)
        for seq, item in _numbered(scope, run, wanted, None):
            by_seq.setdefault(seq, []).append(item)
    return [RunEventOut(row.seq, row.kind, row.payload, by_seq.get(row.seq, [])) for row in rows], run


def _items(scope: Scope, run: dict[str, Any], which: sa.ColumnElement[bool], limit: int | None) -> list[ItemResult]:
    return [item for _, item in _numbered(scope, run, which, limit)]


def _numbered(
    scope: Scope, run: dict[str, Any], which: sa.ColumnElement[bool], limit: int | None
) -> list[tuple[int, ItemResult]]:
    tenant = scope.workspace_id
    query = (
        sa.select(
            test_executions,
            run_cases.c.name.label("case_name"),
            card_versions.c.version.label("version"),
            *_answer_columns(),
        )
        .join(
            run_cases,
            sa.and_(
                run_cases.c.workspace_id == tenant,
                run_cases.c.run_id == _e.run_id,
                run_cases.c.position == _e.case_position,
            ),
        )
        .join(
            card_versions,
            sa.and_(card_versions.c.workspace_id == tenant, card_versions.c.id == _e.card_version_id),
        )
        .outerjoin(generations, sa.and_(_g.workspace_id == tenant, _g.id == _e.generation_id))
        # run_created_at leads to the one partition that holds the run.
        .where(_e.workspace_id == tenant, _e.run_id == run["id"], _e.run_created_at == run["created_at"], which)
        .order_by(_e.ordinal)
        .limit(limit)
    )
    card = run["plan"]["card"]
    rows = scope.connection.execute(query).all()
    further = _further(scope, rows)
    return [(row.event_seq, _item(card, row, further)) for row in rows]


def _answer_columns() -> list[sa.ColumnElement[Any]]:
    return [column.label(f"g_{column.name}") for column in generations.c if column.name != "request"]


def _further(scope: Scope, rows: Sequence[Any]) -> dict[str, Generation]:
    """Return the answers of judges and the like by their ids."""
    ids = [UUID(call["generation_id"]) for row in rows for call in row.calls]
    if not ids:
        return {}
    wanted = _g.id == sa.any_(sa.cast(ids, ARRAY(sa.Uuid)))
    query = sa.select(*_answer_columns()).where(_g.workspace_id == scope.workspace_id, wanted)
    found = scope.connection.execute(query)
    return {str(row.g_id): _generation(row) for row in found}


def _item(card: str, row: Any, further: dict[str, Generation]) -> ItemResult:
    return ItemResult(
        ordinal=row.ordinal,
        card=card,
        version=row.version,
        label=f"{card}@{row.version}",
        model=row.model,
        case=row.case_name,
        case_uid=row.case_uid,
        repeat=row.repeat,
        outcome=Outcome(row.outcome),
        reason=row.reason,
        message=row.message or "",
        verdicts=tuple(msgspec.convert(row.assertion_results, list[Verdict])),
        generation=_generation(row) if row.generation_id else None,
        score=row.score,
        cached=row.cached,
        calls=tuple(Call(call["purpose"], further[call["generation_id"]], call["cached"]) for call in row.calls),
    )


def _generation(row: Any) -> Generation:
    return Generation(
        provider=row.g_provider,
        model=row.g_model,
        request_hash=row.g_request_hash,
        output=row.g_output,
        latency_ms=row.g_latency_ms,
        tokens=Tokens(row.g_tokens_input, row.g_tokens_output, row.g_tokens_cached, row.g_tokens_reasoning),
        finish_reason=row.g_finish_reason,
        ttft_ms=row.g_ttft_ms,
        model_reported=row.g_model_reported,
        fingerprint=row.g_fingerprint,
        cost_usd=row.g_cost_usd,
        price_id=str(row.g_price_id) if row.g_price_id else None,
        tool_calls=row.g_tool_calls,
        attempts=row.g_calls,
        logprobs=tuple(row.g_logprobs) if row.g_logprobs else None,
        raw=None if row.g_output_raw is None else row.g_output_raw.decode("utf-8", "surrogatepass"),
    )
