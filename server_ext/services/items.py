"""The items of a run, as results, and the events that brought them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Meta, Struct
from sqlalchemy.dialects.postgresql import ARRAY

from promptcard_ext.core import wire
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.runs import ExportQuery, ItemFilter, ItemQuery, RunOut
from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Verdict
from promptcard_ext.interchange.result_files import csv_pieces
from server_ext.db.tables import card_versions, generations, run_cases, run_events, test_executions
from server_ext.services import runs as run_service
from server_ext.services.answers import answer_columns, answer_in
from server_ext.services.paging import decode_cursor, encode_cursor
from server_ext.services.scope import Scope

MAX_EVENTS = 50
EXPORT_ROWS = 500
EVERYTHING = ItemQuery()
Ordinal = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_e, _g = test_executions.c, generations.c


class RunEventOut(Struct, frozen=True):
    """One event of a run as clients get it; ``seq`` counts from 1 without gaps.

    Attributes:
        kind: ``queued``, ``running``, ``items``, ``pausing``, ``paused``, ``cancelling`` or ``finished``.
        items: The results that this event brings.
    """

    seq: int
    kind: str
    payload: dict[str, Any]
    items: list[ItemResult]


def list_items(scope: Scope, reference: str, query: ItemQuery = EVERYTHING) -> Page[ItemResult]:
    """Return results in the order of the plan.

    Raises:
        NotFound: There is no such run, or none to compare it with.
        CardError: The cursor is none (``cursor_invalid``).
    """
    run = run_service.get(scope, reference)
    which = [*_filters(scope, query)]
    if query.cursor:
        which.append(_e.ordinal > decode_cursor(query.cursor, Ordinal)[0])
    statement = _query(scope, run, sa.and_(True, *which)).limit(query.limit + 1)
    rows = scope.connection.execute(statement).all()
    shown = rows[: query.limit]
    following = encode_cursor(shown[-1].ordinal) if len(rows) > query.limit else None
    return Page([item for _, item in _numbered(scope, run, shown)], following)


def export(scope: Scope, reference: str, query: ExportQuery) -> Iterator[bytes]:
    """Return a file of results, piece by piece: it may be of any size, and is never in memory as a whole.

    The scope's transaction must stay open until the last piece is taken.
    """
    run = run_service.get(scope, reference)
    results = _stream(scope, run, sa.and_(True, *_filters(scope, query)))
    if query.format == "csv":
        return csv_pieces(results, EXPORT_ROWS)
    return (wire.encode(result) + b"\n" for result in results)


def done_at(scope: Scope, run: RunOut) -> sa.Select[Any]:
    """Return the query for the positions of the run's cases that have a result."""
    return sa.select(_e.case_position).where(*_of_run(scope, run)).distinct()


def count_at(scope: Scope, run: RunOut, positions: Sequence[int]) -> int:
    """Return how many results the cases at ``positions`` have."""
    query = sa.select(sa.func.count()).where(*_of_run(scope, run), _at(positions))
    return int(scope.connection.execute(query).scalar_one())


def results_at(scope: Scope, run: RunOut, positions: Sequence[int]) -> list[ItemResult]:
    """Return all results of the cases at ``positions``, in the order of the plan."""
    return list(_stream(scope, run, _at(positions)))


def _at(positions: Sequence[int]) -> sa.ColumnElement[bool]:
    return _e.case_position == sa.any_(sa.cast(list(positions), ARRAY(sa.Integer)))


def _of_run(scope: Scope, run: RunOut) -> tuple[sa.ColumnElement[bool], ...]:
    # run_created_at leads to the one partition that holds the run.
    return _e.workspace_id == scope.workspace_id, _e.run_id == run.id, _e.run_created_at == run.created_at


def _stream(scope: Scope, run: RunOut, which: sa.ColumnElement[bool]) -> Iterator[ItemResult]:
    # A cursor of the server's: the driver would otherwise fetch all rows before it gives the first.
    options = {"yield_per": EXPORT_ROWS}
    with scope.connection.execute(_query(scope, run, which), execution_options=options) as found:
        for rows in found.partitions():
            for _, item in _numbered(scope, run, rows):
                yield item


def _filters(scope: Scope, query: ItemFilter) -> Iterator[sa.ColumnElement[bool]]:
    if query.outcome:
        yield _e.outcome.in_([str(outcome) for outcome in query.outcome])
    if query.model:
        yield _e.model.in_(query.model)
    if query.version:
        yield card_versions.c.version.in_(query.version)
    if query.case is not None:
        yield run_cases.c.name == query.case
    if query.reason is not None:
        yield _e.reason == query.reason
    if query.text:
        yield sa.or_(
            _g.output.icontains(query.text, autoescape=True), _e.message.icontains(query.text, autoescape=True)
        )
    if query.changed_since is not None:
        yield _differs_from(run_service.get(scope, str(query.changed_since)), scope.workspace_id)


def _differs_from(run: RunOut, workspace_id: UUID) -> sa.ColumnElement[bool]:
    """Return whether the same item, by what it is and not by its place, has another outcome in ``run``."""
    other = test_executions.alias("other")
    same = [other.c[name] == _e[name] for name in ("case_uid", "card_version_id", "model", "repeat")]
    of_run = other.c.workspace_id == workspace_id, other.c.run_id == run.id, other.c.run_created_at == run.created_at
    return sa.exists().where(*of_run, *same, other.c.outcome != _e.outcome)


def events_after(scope: Scope, reference: str, after: int) -> tuple[list[RunEventOut], RunOut]:
    """Return up to 50 events behind number ``after`` with their results, and the run."""
    run = run_service.get(scope, reference)
    if run.event_seq <= after:
        return [], run
    rows = scope.connection.execute(
        sa.select(run_events)
        .where(
            run_events.c.workspace_id == scope.workspace_id,
            run_events.c.run_id == run.id,
            run_events.c.seq > after,
        )
        .order_by(run_events.c.seq)
        .limit(MAX_EVENTS)
    ).all()
    by_seq: dict[int, list[ItemResult]] = {}
    if any(row.kind == "items" for row in rows):
        wanted = sa.and_(_e.event_seq > after, _e.event_seq <= rows[-1].seq)
        for seq, item in _numbered(scope, run, scope.connection.execute(_query(scope, run, wanted)).all()):
            by_seq.setdefault(seq, []).append(item)
    return [RunEventOut(row.seq, row.kind, row.payload, by_seq.get(row.seq, [])) for row in rows], run


def _query(scope: Scope, run: RunOut, which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    tenant = scope.workspace_id
    return (
        sa.select(
            test_executions,
            run_cases.c.name.label("case_name"),
            card_versions.c.version.label("version"),
            *answer_columns(),
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
        .where(*_of_run(scope, run), which)
        .order_by(_e.ordinal)
    )


def _numbered(scope: Scope, run: RunOut, rows: Sequence[Any]) -> list[tuple[int, ItemResult]]:
    """Return for each row the number of the event that brought it, and the result."""
    further = _further(scope, rows)
    return [(row.event_seq, _item(run.plan.card, row, further)) for row in rows]


def _further(scope: Scope, rows: Sequence[Any]) -> dict[str, Generation]:
    """Return the answers of judges and the like by their ids."""
    ids = [UUID(call["generation_id"]) for row in rows for call in row.calls]
    if not ids:
        return {}
    wanted = _g.id == sa.any_(sa.cast(ids, ARRAY(sa.Uuid)))
    query = sa.select(*answer_columns()).where(_g.workspace_id == scope.workspace_id, wanted)
    found = scope.connection.execute(query)
    return {str(row.g_id): answer_in(row) for row in found}


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
        generation=answer_in(row) if row.generation_id else None,
        score=row.score,
        cached=row.cached,
        calls=tuple(Call(call["purpose"], further[call["generation_id"]], call["cached"]) for call in row.calls),
    )
