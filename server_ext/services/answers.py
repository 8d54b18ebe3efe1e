"""Answers between the engine's form and the rows of ``generations``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.results import Generation, Tokens
from server_ext.db.results import AnswerRow, number
from server_ext.db.tables import generations

_OVERRIDE = "override:"


def override_price_id(override_id: UUID) -> str:
    """Return the id of a price of a workspace's own, as answers name it."""
    return f"{_OVERRIDE}{override_id}"


def is_override(price_id: str) -> bool:
    """Tell whether a price is a workspace's own."""
    return price_id.startswith(_OVERRIDE)


def answer_row(answer_id: UUID, generation: Generation, request: Any) -> AnswerRow:
    """Return the row of an answer to ``request``."""
    tokens = generation.tokens
    price_id, override_id = _price_ids(generation.price_id)
    return AnswerRow(
        id=answer_id,
        request_hash=generation.request_hash,
        request=request,
        provider=generation.provider,
        model=generation.model,
        calls=generation.attempts,
        model_reported=generation.model_reported,
        fingerprint=generation.fingerprint,
        output=generation.output,
        output_raw=None if generation.raw is None else generation.raw.encode("utf-8", "surrogatepass"),
        tool_calls=generation.tool_calls,
        logprobs=generation.logprobs,
        finish_reason=generation.finish_reason,
        tokens_input=tokens.input,
        tokens_output=tokens.output,
        tokens_cached=tokens.cached,
        tokens_reasoning=tokens.reasoning,
        latency_ms=number(generation.latency_ms),
        ttft_ms=number(generation.ttft_ms),
        cost_usd=generation.cost_usd,
        price_id=price_id,
        price_override_id=override_id,
    )


def _price_ids(price_id: str | None) -> tuple[UUID | None, UUID | None]:
    """Return the ids of a price in the price book, or of one of a workspace's own."""
    if price_id is None:
        return None, None
    if is_override(price_id):
        return None, UUID(price_id.removeprefix(_OVERRIDE))
    return UUID(price_id), None


def answer_columns() -> list[sa.ColumnElement[Any]]:
    """Return the columns that `answer_in` reads."""
    return [column.label(f"g_{column.name}") for column in generations.c if column.name != "request"]


def answer_in(row: Any) -> Generation:
    """Return the answer in a row with `answer_columns`."""
    price_id = str(row.g_price_id) if row.g_price_id else None
    if row.g_price_override_id is not None:
        price_id = override_price_id(row.g_price_override_id)
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
        price_id=price_id,
        tool_calls=row.g_tool_calls,
        attempts=row.g_calls,
        logprobs=tuple(row.g_logprobs) if row.g_logprobs else None,
        raw=None if row.g_output_raw is None else row.g_output_raw.decode("utf-8", "surrogatepass"),
    )
