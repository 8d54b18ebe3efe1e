"""Results into the database with everything beside them, in two statements for a batch.

The rows come as JSON documents, which the program writes and PostgreSQL reads faster than a parameter for each value.
COPY is no way here: it does not go through row security, and knows no "unless it is there already".
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from server_ext.db import rollups
from server_ext.db.text import pg_safe_json

_MARK = "\ufdd0".encode()


class AnswerRow(Struct, frozen=True):
    """A row of ``generations``; what is not said is null."""

    id: UUID
    request_hash: str
    request: Any
    provider: str
    model: str
    calls: int
    model_reported: str | None = None
    fingerprint: str | None = None
    output: str | None = None
    output_raw: bytes | None = None
    tool_calls: Any = None
    logprobs: Any = None
    finish_reason: str | None = None
    tokens_input: int | None = None
    tokens_output: int | None = None
    tokens_cached: int | None = None
    tokens_reasoning: int | None = None
    latency_ms: float | str | None = None
    ttft_ms: float | str | None = None
    cost_usd: Decimal | None = None
    price_id: UUID | None = None
    price_override_id: UUID | None = None


class ExecutionRow(Struct, frozen=True):
    """A row of ``test_executions``, without what is the same for all of a batch."""

    ordinal: int
    card_version_id: UUID
    case_position: int
    case_uid: str
    model: str
    provider: str
    repeat: int
    generation_id: UUID | None
    outcome: str
    reason: str | None
    message: str
    assertion_results: Any
    calls: Any
    latency_ms: float | str | None
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: Decimal | None
    score: float | str | None
    cached: bool


def number(value: float | None) -> float | str | None:
    """Return a number in a form that JSON carries into a column: it has none for NaN and infinities."""
    return value if value is None or math.isfinite(value) else str(value)


_TYPES = {
    "id": "uuid", "request_hash": "text", "request": "jsonb", "provider": "text", "model": "text", "calls": "integer",
    "model_reported": "text", "fingerprint": "text", "output": "text", "output_raw": "text", "tool_calls": "jsonb",
    "logprobs": "jsonb", "finish_reason": "text", "tokens_input": "bigint", "tokens_output": "bigint",
    "tokens_cached": "bigint", "tokens_reasoning": "bigint", "latency_ms": "double precision",
    "ttft_ms": "double precision", "cost_usd": "numeric", "price_id": "uuid", "price_override_id": "uuid",
    "ordinal": "integer", "card_version_id": "uuid", "case_position": "integer", "case_uid": "text",
    "repeat": "integer", "generation_id": "uuid", "outcome": "text", "reason": "text", "message": "text",
    "assertion_results": "jsonb", "score": "double precision", "cached": "boolean",
}  # fmt: skip


def _rows(kind: type[Struct], parameter: str, **other: str) -> tuple[str, str, str]:
    """Return the names of a document's fields, what is selected of them, and the document as a table."""
    names = kind.__struct_fields__
    selected = ", ".join(other.get(name, f"r.{name}") for name in names)
    table = ", ".join(f"{name} {other.get(f'{name}_type', _TYPES[name])}" for name in names)
    return ", ".join(names), selected, f"json_to_recordset(cast(%({parameter})s as json)) as r ({table})"


_ANSWER = _rows(AnswerRow, "answers", output_raw="decode(r.output_raw, 'base64')")
_EXECUTION = _rows(ExecutionRow, "executions", calls_type="jsonb")
_ANSWERS = f"""
insert into generations (workspace_id, {_ANSWER[0]})
select %(workspace_id)s, {_ANSWER[1]} from {_ANSWER[2]}
on conflict do nothing
"""  # noqa: S608  All of it stands in this file.
_STATEMENT = f"""
with stored as (
    insert into test_executions (workspace_id, run_id, run_created_at, attempt, event_seq, {_EXECUTION[0]})
    select %(workspace_id)s, %(run_id)s, %(run_created_at)s, %(attempt)s, %(event_seq)s, {_EXECUTION[1]}
    from {_EXECUTION[2]}
    on conflict do nothing
    returning ordinal, {", ".join(rollups.COLUMNS)}
), closed as (
    update attempts set state = case when ordinal in (select ordinal from stored) then 'recorded' else 'late' end,
        closed_at = clock_timestamp(), estimate_usd = null
    where workspace_id = %(workspace_id)s and run_id = %(run_id)s and attempt = %(attempt)s
        and ordinal = any(%(ordinals)s) and state not in ('recorded', 'late')
    returning old.ordinal, old.estimate_usd as usd, old.closed_at as at
), estimates as (
    select array_agg(ordinal) as ordinals, array_agg(usd) as amounts, array_agg(at) as moments from closed
    where usd is not null
), {", ".join(f"{name} as ({statement})" for name, statement in rollups.STATEMENTS.items())}
select (
        -- As it was before this statement: what this very attempt has told already.
        select array_agg(ordinal) from attempts
        where workspace_id = %(workspace_id)s and run_id = %(run_id)s and attempt = %(attempt)s
            and ordinal = any(%(ordinals)s) and state in ('recorded', 'late')
    ) as told, (select ordinals from estimates) as estimated, (select amounts from estimates) as amounts,
    (select moments from estimates) as moments,
    count(*) as recorded, count(*) filter (where outcome = 'pass') as passed,
    count(*) filter (where outcome = 'fail') as failed, count(*) filter (where outcome = 'error') as errored,
    count(*) filter (where outcome = 'unscored') as unscored, count(cost_usd) as priced,
    coalesce(sum(cost_usd), 0) as cost_usd
from stored
"""  # noqa: S608  All of it stands in this file and in rollups.py.


def insert_answers(connection: sa.Connection, workspace_id: UUID, answers: Sequence[AnswerRow]) -> None:
    """Write the answers of a batch; what is there already stays."""
    values = {"workspace_id": workspace_id, "answers": document(answers)}
    connection.exec_driver_sql(_ANSWERS, values)


def insert(
    connection: sa.Connection, run: Any, attempt: int, seq: int, ordinals: Sequence[int], executions: str
) -> Any:
    """Write the executions of a batch of a run, whose row is locked; what is there already stays.

    Args:
        seq: Number of the event that brings these results.
        ordinals: The items of the batch, whose attempts end with it.
        executions: The `document` of the rows. To make it takes longer than the run should be locked.

    Returns:
        A row with what was stored: ``recorded``, the counts by outcome, ``priced`` and ``cost_usd``; and with the
        ordinals that this attempt had told before (``told``; null when none). Where calls had been of unknown fate, and
        counted as spent, it has their ordinals (``estimated``), with what as (``amounts``) and when (``moments``).
    """
    values = {
        "workspace_id": run.workspace_id,
        "run_id": run.id,
        "run_created_at": run.created_at,
        "user_id": run.created_by or rollups.NOBODY,
        "attempt": attempt,
        "event_seq": seq,
        "ordinals": list(ordinals),
        "executions": executions,
    }
    return connection.exec_driver_sql(_STATEMENT, values).one()


def document(rows: Sequence[AnswerRow] | Sequence[ExecutionRow]) -> str:
    """Return rows as JSON that PostgreSQL accepts."""
    if all(map(_is_plain, rows)):
        try:
            text = msgspec.json.encode(rows)
            if b"\\u0000" not in text and _MARK not in text:
                return text.decode()
        except UnicodeEncodeError:  # half of a character
            pass
    return msgspec.json.encode(pg_safe_json(msgspec.to_builtins(rows))).decode()


def _is_plain(row: AnswerRow | ExecutionRow) -> bool:
    """Tell whether JSON has all numbers of a row; msgspec writes null for the others."""
    if isinstance(row, ExecutionRow):
        return not isinstance(row.score, str)  # or those of the verdicts may be none, too
    if row.tool_calls is None and row.logprobs is None:
        return True
    try:
        json.dumps((row.tool_calls, row.logprobs), allow_nan=False)
    except ValueError:
        return False
    return True
