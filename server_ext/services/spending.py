"""Money that a run spends as its results come in, or may have spent where nobody knows what became of a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from promptcard_ext.core.engine.caller import UNCLEAR
from promptcard_ext.core.results import ItemResult
from server_ext.db.tables import run_reservations
from server_ext.db.tables.columns import Timestamp

_v = run_reservations.c
_SPEND = sa.text("select pc.spend(:workspace, :run, :person, :models, :amounts, :moments)").bindparams(
    sa.bindparam("models", type_=ARRAY(sa.Text)),
    sa.bindparam("amounts", type_=ARRAY(sa.Numeric)),
    sa.bindparam("moments", type_=ARRAY(Timestamp)),
)
_ESTIMATE = sa.text(
    "update attempts as a set estimate_usd = s.usd"
    " from unnest(cast(:ordinals as integer[]), cast(:attempts as integer[]), cast(:amounts as numeric[]))"
    " as s (ordinal, attempt, usd)"
    " where a.workspace_id = :workspace and a.run_id = :run and a.ordinal = s.ordinal and a.attempt = s.attempt"
)
_CHARGE = sa.text("select pc.charge(:workspace, :run, :token, :amount)")
_CLOSE = sa.text("select pc.close_purses(:workspace, :run, :task, :total)")
_Entry = tuple[str, datetime | None]
"""A model, and when it was paid for; None for now."""


class Estimate(NamedTuple):
    """What a call of unknown fate was counted with, and when."""

    usd: Decimal
    at: datetime


def spend(
    connection: sa.Connection,
    run: Any,
    token: UUID,
    results: Iterable[ItemResult],
    estimates: Mapping[int, Estimate] | None = None,
) -> None:
    """Write down what a batch of results of a locked run has cost.

    A call whose outcome is unknown keeps what was set aside for it, as if it had been paid for.

    Args:
        token: Of the lease under which the calls were made.
        estimates: By ordinal, what was written down for calls that turn out to have a result after all. What they cost
            takes its place, in the past as well.
    """
    made = estimates or {}
    amounts: dict[_Entry, Decimal] = {}
    unclear: Counter[_Entry] = Counter()
    for result in results:
        entry = result.model, made[result.ordinal].at if result.ordinal in made else None
        cost = result.spent_usd
        if cost:
            amounts[entry] = amounts.get(entry, Decimal(0)) + cost
        elif result.reason in UNCLEAR:
            unclear[entry] += 1
    if amounts:
        charged = {"token": token, "amount": sum(amounts.values())}
        connection.execute(_CHARGE, {"workspace": run.workspace_id, "run": run.id, **charged})
    most = _most(connection, run, {model for model, _ in unclear})
    for entry, number in unclear.items():
        amounts[entry] = amounts.get(entry, Decimal(0)) + number * most.get(entry[0], Decimal(0))
    for ordinal, estimate in made.items():
        entry = _planned_model(run, ordinal), estimate.at
        amounts[entry] = amounts.get(entry, Decimal(0)) - estimate.usd
    _spend(connection, run, amounts)


def close(connection: sa.Connection, workspace_id: UUID, run_id: UUID, task_id: UUID, total: Decimal | None) -> None:
    """Close what the worker of a task holds of its run's budget, and give back what it did not spend.

    Args:
        total: What the worker says that it has spent; None when nobody can say: all of it counts as spent.
    """
    connection.execute(_CLOSE, {"workspace": workspace_id, "run": run_id, "task": task_id, "total": total})


def spend_unknown(connection: sa.Connection, run: Any, closed: Iterable[Any]) -> None:
    """Write down calls of a locked run that may have been made and paid for: they keep what was set aside for them.

    Args:
        closed: Rows of their attempts, with ``ordinal``, ``attempt`` and ``closed_at``. They are given the estimate, so
            that what the call has cost takes its place should that be known one day.
    """
    rows = {row: _planned_model(run, row.ordinal) for row in closed}
    most = _most(connection, run, set(rows.values()))
    estimated = [(row, model, most[model]) for row, model in rows.items() if most.get(model)]
    amounts: dict[_Entry, Decimal] = {}
    for row, model, usd in estimated:
        entry = model, row.closed_at
        amounts[entry] = amounts.get(entry, Decimal(0)) + usd
    _spend(connection, run, amounts)
    if estimated:
        columns = ([row.ordinal for row, _, _ in estimated], [row.attempt for row, _, _ in estimated])
        values = dict(zip(("ordinals", "attempts", "amounts"), (*columns, [usd for *_, usd in estimated]), strict=True))
        connection.execute(_ESTIMATE, {"workspace": run.workspace_id, "run": run.id, **values})


def _planned_model(run: Any, ordinal: int) -> str:
    models = run.plan["models"]
    model: str = models[ordinal // len(run.plan["versions"]) % len(models)]
    return model


def _most(connection: sa.Connection, run: Any, models: Collection[str]) -> dict[str, Decimal]:
    """Return the upper estimate of the dearest item of each model; none where nothing was set aside."""
    if not models:
        return {}
    query = sa.select(_v.model, _v.most_usd).where(
        _v.workspace_id == run.workspace_id, _v.run_id == run.id, _v.model.in_(models)
    )
    return {row.model: row.most_usd for row in connection.execute(query)}


def _spend(connection: sa.Connection, run: Any, by_entry: Mapping[_Entry, Decimal]) -> None:
    entries = [(model, at, usd) for (model, at), usd in by_entry.items() if usd]
    if entries:
        models, moments, amounts = (list(column) for column in zip(*entries, strict=True))
        values = {"models": models, "amounts": amounts, "moments": moments}
        connection.execute(_SPEND, {"workspace": run.workspace_id, "run": run.id, "person": run.created_by, **values})
