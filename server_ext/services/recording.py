"""Writing results: one transaction a batch, each item once, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.contract.runs import FINAL
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.results import ItemResult
from server_ext.db import results
from server_ext.db.ids import new_id
from server_ext.db.tables import runs, test_executions
from server_ext.services import run_state, spending
from server_ext.services.answers import answer_row
from server_ext.services.fresh_events import FreshEvent
from server_ext.services.spending import Estimate
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


class Brought(NamedTuple):
    """What came of storing a batch.

    Attributes:
        seq: Number of the run's event that brings the results; 0 when there were none to bring.
        event: The event itself, if it brings exactly the batch to a run that goes on.
    """

    seq: int = 0
    event: FreshEvent | None = None


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


def record(connection: sa.Connection, lease: Lease, batch: Sequence[Recorded]) -> Brought:
    """Store a batch: generations, executions, rollups, counts, event and attempts.

    An item that has a result keeps it (another worker may have been faster). The late answer is kept as a generation
    all the same, and its attempt is marked ``late``: it was paid for. So is one that is not final. What is stored
    already changes nothing.

    Returns:
        The run's event that brings these results.
    """
    results.insert_answers(connection, lease.workspace_id, [row for one in batch for row in _answers(one)])
    final = [one for one in batch if one.final]
    executions = results.document([_execution(one) for one in final])
    # Recorders of one run take turns on its row: that gives events their order, and counts that add up. What does not
    # depend on it comes before, for nobody else to wait for.
    run = run_state.lock(connection, lease.workspace_id, lease.run_id)  # type: ignore[arg-type]
    seq = int(run.event_seq) + 1
    ordinals = [one.result.ordinal for one in batch]
    stored = results.insert(connection, run, lease.attempt, seq, ordinals, executions)
    told = set(stored.told or ())  # by this very attempt: what they cost is written down
    paid = [one.result for one in batch if one.result.ordinal not in told]
    spending.spend(connection, run, lease.token, paid, _estimates(stored))
    if not stored.recorded:
        return Brought()
    counts = _count(connection, run, stored)
    payload = {"counts": msgspec.to_builtins(counts), "items": stored.recorded}
    run_state.add_event(connection, lease.workspace_id, run.id, seq, "items", payload)
    if stored.recorded < len(final) or run.status in FINAL:
        return Brought(seq)
    brought = tuple(one.result for one in final)
    return Brought(seq, FreshEvent(seq, run.status, payload, run.plan["card"], brought))


def _estimates(stored: Any) -> dict[int, Estimate]:
    if stored.estimated is None:
        return {}
    made = zip(stored.amounts, stored.moments, strict=True)
    return dict(zip(stored.estimated, (Estimate(*one) for one in made), strict=True))


def _answers(one: Recorded) -> Iterator[results.AnswerRow]:
    """Yield the row of the answer, and of what judges said of it."""
    if one.result.generation is not None:
        request = {"messages": one.messages, "settings": one.settings}
        yield answer_row(one.answer_ids[0], one.result.generation, request)
    for answer_id, call in zip(one.answer_ids[1:], one.result.calls, strict=True):
        yield answer_row(answer_id, call.generation, {"purpose": call.purpose})


def _execution(one: Recorded) -> results.ExecutionRow:
    result, generation = one.result, one.result.generation
    return results.ExecutionRow(
        ordinal=result.ordinal,
        card_version_id=one.version_id,
        case_position=one.case_position,
        case_uid=result.case_uid,
        model=result.model,
        provider=result.model.partition(":")[0].partition("/")[0],
        repeat=result.repeat,
        generation_id=one.answer_ids[0] if generation else None,
        outcome=result.outcome.value,
        reason=result.reason,
        message=result.message,
        assertion_results=result.verdicts,
        calls=[
            {"purpose": call.purpose, "generation_id": answer_id, "cached": call.cached}
            for answer_id, call in zip(one.answer_ids[1:], result.calls, strict=True)
        ],
        latency_ms=results.number(generation.latency_ms) if generation else None,
        tokens_input=generation.tokens.input if generation else None,
        tokens_output=generation.tokens.output if generation else None,
        # Judges included: it is what the item cost.
        cost_usd=result.cost_usd,
        score=results.number(result.score),
        cached=result.cached,
    )


def _count(connection: sa.Connection, run: Any, stored: Any) -> Any:
    added = {
        name: getattr(stored, name) for name in ("recorded", *run_state.COUNT_COLUMN.values(), "priced", "cost_usd")
    }
    updated = connection.execute(
        sa.update(runs)
        .where(runs.c.workspace_id == run.workspace_id, runs.c.id == run.id)
        .values({name: runs.c[name] + value for name, value in added.items()} | {"event_seq": runs.c.event_seq + 1})
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
