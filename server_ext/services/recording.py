"""Writing results: one transaction a batch, each item once, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.results import ItemResult
from server_ext.db import rollups
from server_ext.db.ids import new_id
from server_ext.db.tables import attempts, generations, runs, test_executions
from server_ext.services import run_state
from server_ext.services.answers import answer_row
from server_ext.services.tasks import Lease


class Recorded(Struct, frozen=True):
    """One result on its way into the database, with the prompt that led to it.

    Attributes:
        version_id: The card version that was tried.
        case_position: Place of the case in the whole run.
        answer_ids: Ids of the answer and of each further call, made once: whoever stores a result again, not knowing
            whether it was stored before, adds no second answer.
        final: Whether this is the item's result. If not, its answer is stored and the item stays to be done.
    """

    result: ItemResult
    version_id: UUID
    case_position: int
    messages: tuple[Message, ...]
    settings: ModelSettings
    answer_ids: tuple[UUID, ...]
    final: bool = True


def recorded(prepared: Prepared, item: Item, result: ItemResult, version_id: UUID, *, final: bool = True) -> Recorded:
    """Return a result of a prepared plan as it is stored."""
    plan = prepared.plan
    return Recorded(
        result=result,
        version_id=version_id,
        case_position=item.case + plan.first_case,
        messages=prepared.messages(item),
        settings=plan.cards[item.card].settings,
        answer_ids=tuple(new_id() for _ in range(1 + len(result.calls))),
        final=final,
    )


def record(connection: sa.Connection, lease: Lease, batch: Sequence[Recorded]) -> int:
    """Store a batch: generations, executions, rollups, counts, event and attempts.

    An item that has a result keeps it (another worker may have been faster). The late answer is kept as a generation
    all the same, and its attempt is marked ``late``: it was paid for. So is one that is not final. What is stored
    already changes nothing.

    Returns:
        The number of the run's event that brings these results; 0 when there were none to bring.
    """
    # Recorders of one run take turns on its row: that gives events their order, and counts that add up.
    run = run_state.lock(connection, lease.workspace_id, lease.run_id)  # type: ignore[arg-type]
    _insert_generations(connection, lease, batch)
    seq = run.event_seq + 1
    rows = [_execution(run, lease, one, seq) for one in batch if one.final]
    stored = _insert_executions(connection, rows)
    _close_attempts(connection, lease, [one.result.ordinal for one in batch], stored)
    fresh = [row for row in rows if row["ordinal"] in stored]
    if not fresh:
        return 0
    rollups.add(connection, fresh, user_id=run.created_by)
    counts = _count(connection, run, fresh)
    payload = {"counts": msgspec.to_builtins(counts), "items": len(fresh)}
    run_state.add_event(connection, lease.workspace_id, run.id, seq, "items", payload)
    return int(seq)


def _insert_generations(connection: sa.Connection, lease: Lease, batch: Sequence[Recorded]) -> None:
    """Store the answers, and what judges said of them."""
    rows = [row for one in batch for row in _generations(lease, one)]
    if rows:
        connection.execute(insert(generations).on_conflict_do_nothing(), rows)


def _generations(lease: Lease, one: Recorded) -> Iterator[dict[str, Any]]:
    if one.result.generation is not None:
        request = {"messages": msgspec.to_builtins(one.messages), "settings": msgspec.to_builtins(one.settings)}
        yield {"id": one.answer_ids[0], **answer_row(lease.workspace_id, one.result.generation, request)}
    for answer_id, call in zip(one.answer_ids[1:], one.result.calls, strict=True):
        yield {"id": answer_id, **answer_row(lease.workspace_id, call.generation, {"purpose": call.purpose})}


def _execution(run: Any, lease: Lease, one: Recorded, seq: int) -> dict[str, Any]:
    result, generation = one.result, one.result.generation
    calls = [
        {"purpose": call.purpose, "generation_id": str(answer_id), "cached": call.cached}
        for answer_id, call in zip(one.answer_ids[1:], result.calls, strict=True)
    ]
    return {
        "workspace_id": lease.workspace_id,
        "run_id": run.id,
        "run_created_at": run.created_at,
        "ordinal": result.ordinal,
        "card_version_id": one.version_id,
        "case_position": one.case_position,
        "case_uid": result.case_uid,
        "model": result.model,
        "provider": result.model.partition(":")[0].partition("/")[0],
        "repeat": result.repeat,
        "generation_id": one.answer_ids[0] if generation else None,
        "calls": calls,
        "outcome": str(result.outcome),
        "reason": result.reason,
        "message": result.message,
        "assertion_results": msgspec.to_builtins(result.verdicts),
        "latency_ms": generation.latency_ms if generation else None,
        "tokens_input": generation.tokens.input if generation else None,
        "tokens_output": generation.tokens.output if generation else None,
        # Judges included: it is what the item cost.
        "cost_usd": result.cost_usd,
        "score": result.score,
        "cached": result.cached,
        "attempt": lease.attempt,
        "event_seq": seq,
    }


def _insert_executions(connection: sa.Connection, rows: list[dict[str, Any]]) -> set[int]:
    if not rows:
        return set()
    statement = insert(test_executions).on_conflict_do_nothing().returning(test_executions.c.ordinal)
    return set(connection.execute(statement, rows).scalars())


def _close_attempts(connection: sa.Connection, lease: Lease, ordinals: list[int], stored: set[int]) -> None:
    for state, which in (("recorded", stored), ("late", set(ordinals) - stored)):
        if which:
            connection.execute(
                sa.update(attempts)
                .where(
                    attempts.c.workspace_id == lease.workspace_id,
                    attempts.c.run_id == lease.run_id,
                    attempts.c.attempt == lease.attempt,
                    attempts.c.ordinal.in_(which),
                    # What this very attempt has recorded before is not late when it is written again.
                    attempts.c.state != "recorded",
                )
                .values(state=state, closed_at=sa.func.clock_timestamp())
            )


def _count(connection: sa.Connection, run: Any, rows: list[dict[str, Any]]) -> Any:
    outcome = [row["outcome"] for row in rows]
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    added = {
        "recorded": len(rows),
        **{column: outcome.count(str(name)) for name, column in run_state.COUNT_COLUMN.items()},
        "priced": len(costs),
        "cost_usd": sum(costs),
        "event_seq": 1,
    }
    updated = connection.execute(
        sa.update(runs)
        .where(runs.c.workspace_id == run.workspace_id, runs.c.id == run.id)
        .values({name: runs.c[name] + value for name, value in added.items()})
        .returning(runs)
    ).one()
    return run_state.counts(updated)


def recorded_ordinals(connection: sa.Connection, lease: Lease) -> set[int]:
    """Return the ordinals of the lease's shard that have a result already: a resumed shard skips them."""
    run = connection.execute(
        sa.select(runs.c.created_at).where(runs.c.workspace_id == lease.workspace_id, runs.c.id == lease.run_id)
    ).one()
    e = test_executions.c
    query = sa.select(e.ordinal).where(
        e.workspace_id == lease.workspace_id,
        e.run_id == lease.run_id,
        e.run_created_at == run.created_at,
        e.ordinal.between(lease.first_ordinal, lease.last_ordinal),
    )
    return set(connection.execute(query).scalars())
