"""Runs: made whole in one transaction, then carried out by workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from msgspec.structs import replace

from promptcard_ext._version import __version__
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.budgets import RunMoney
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.contract.runs import (
    OnUnknown,
    PlanDocument,
    PlannedVersion,
    Priority,
    RunOut,
    RunPatch,
    RunQuery,
    RunSpec,
)
from promptcard_ext.core.engine import check_needs
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fingerprint import fingerprint
from promptcard_ext.core.matrix import Plan
from promptcard_ext.providers import model as check_model
from server_ext.db.tables import outbox, prompt_cards, run_cases, runs, tasks
from server_ext.services import audit, batches, card_versions, cards, cases, changes, reservations, run_state
from server_ext.services.budgets import check_amount
from server_ext.services.card_lookup import select_card
from server_ext.services.paging import decode_cursor, page
from server_ext.services.scope import Scope, as_uuid, missing

SHARD_ITEMS = 250
# To lease, load and end a shard costs as much as some dozens of calls: one that is over in a moment is made longer.
SHARD_ROUNDS = 8


class Money(NamedTuple):
    """What a run may spend, and what it does about calls that may have been paid for."""

    budget_usd: Decimal | None
    on_unknown: OnUnknown


class Slice(NamedTuple):
    """The items of one shard: from the first ordinal to the last, all or only the named ones."""

    first_ordinal: int
    last_ordinal: int
    ordinals: list[int] | None = None


def create(scope: Scope, spec: RunSpec) -> RunOut:
    """Make a run with its cases, shards and outbox notes; the workers do the rest once this is committed.

    Every prompt is rendered here, so that a mistake shows before the first call. With ``spec.reuse`` it may be an
    earlier run of the same.

    Raises:
        CardError, TemplateError: A case does not fit a version, or a template does not render.
        UnknownModel: A model reference names no provider.
        NotFound: There is no such card, version or case.
        CardError: It cannot wait (``batch_not_possible``).
        OverBudget: It may cost more than a hard rule leaves (``budget_exceeded``).
        RunError: A budget or a hard rule needs a price that is not known (``budget_unpriced``).
    """
    scope.require("test:execute")
    for reference in (*spec.models, *spec.judges, *filter(None, [spec.embedder])):
        check_model(reference)
    if spec.execution == "batch":
        batches.check_possible(spec)
    head = cards.get(scope, spec.card)
    chosen = card_versions.load(scope, spec.card, spec.versions or [head.latest_version])
    picked = _pick(cases.load(scope, head.id), spec.cases, head.name)
    plan = Plan([v.card for v in chosen], spec.models, [case for _, case in picked], spec.repeats)
    prepared = plan.prepare()
    check_needs(prepared, spec.judges, spec.embedder)
    document = PlanDocument(
        head.name,
        [PlannedVersion(v.id, v.card.version, v.card.label, v.content_hash) for v in chosen],
        list(spec.models),
        spec.repeats,
        spec.concurrency,
        spec.timeout_s,
        list(spec.judges),
        spec.embedder,
        priority=spec.priority,
        execution=spec.execution,
    )
    same = fingerprint(
        [v.content_hash for v in chosen], spec.models, [case for _, case in picked],
        repeats=spec.repeats, judges=spec.judges, embedder=spec.embedder,
    )  # fmt: skip
    if spec.reuse and (earlier := _newest_like(scope, head.id, same)) is not None:
        return replace(run_out(earlier), reused=True)
    name = spec.name or " vs ".join(v.card.label for v in chosen)
    money = Money(check_amount(spec.budget_usd), spec.on_unknown)
    run_id = insert(scope, head.id, name, document, plan.total, money, fingerprint=same, provenance=spec.provenance)
    _insert_cases(scope, run_id, picked)
    insert_shards(scope, run_id, _slices(plan, shard_items(spec.concurrency)), spec.priority)
    exceeds = reservations.set_aside(scope, run_id, lambda: prepared, document, spec.budget_usd)
    audit.record(scope, "run.created", "run", run_id, card=head.name, total=plan.total, models=spec.models)
    return replace(get(scope, str(run_id)), exceeds=exceeds)


def _newest_like(scope: Scope, card_id: UUID, same: str) -> Any:
    """Return the row of a card's newest run of this fingerprint that has come, or will come, to its end; or None."""
    # Another card may have the same content; its runs are its own.
    found = (runs.c.workspace_id == scope.workspace_id, runs.c.card_id == card_id, runs.c.fingerprint == same)
    useless = ("failed", "cancelling", "cancelled")
    statement = sa.select(runs).where(*found, runs.c.status.not_in(useless)).order_by(runs.c.created_at.desc())
    return scope.connection.execute(statement.limit(1)).one_or_none()


def _pick(known: list[tuple[UUID, Case]], names: list[str], card: str) -> list[tuple[UUID, Case]]:
    if not known:
        raise CardError(f"Card '{card}' has no test cases.", hint="Save some cases first.", code="no_cases")
    if not names:
        return known
    there = {case.name for _, case in known}
    for name in names:
        if name not in there:
            raise missing("case", name)
    wanted = set(names)
    return [(case_id, case) for case_id, case in known if case.name in wanted]


def insert(
    scope: Scope,
    card_id: UUID,
    name: str,
    plan: PlanDocument,
    total: int,
    money: Money,
    retry_of: UUID | None = None,
    *,
    fingerprint: str | None = None,
    provenance: Provenance | None = None,
) -> UUID:
    """Insert the row of a run with its first event, and tell of it; its cases and shards are the caller's."""
    statement = sa.insert(runs).values(
        workspace_id=scope.workspace_id,
        created_by=scope.actor.user_id,
        card_id=card_id,
        name=name[:255],
        plan=msgspec.to_builtins(plan),
        total=total,
        event_seq=1,
        engine_version=__version__,
        budget_usd=money.budget_usd,
        on_unknown=money.on_unknown,
        retry_of=retry_of,
        fingerprint=fingerprint,
        provenance=msgspec.to_builtins(provenance),
    )
    run_id: UUID = scope.connection.execute(statement.returning(runs.c.id)).scalar_one()
    run_state.add_event(scope.connection, scope.workspace_id, run_id, 1, "queued", {"total": total})
    changes.announce(scope, "run", run_id)
    return run_id


def _insert_cases(scope: Scope, run_id: UUID, picked: list[tuple[UUID, Case]]) -> None:
    rows = [
        {
            "workspace_id": scope.workspace_id,
            "run_id": run_id,
            "position": position,
            "case_id": case_id,
            "case_uid": case.uid,
            "name": case.name,
            "input_variables": case.variables,
            "assertions": msgspec.to_builtins(case.assertions),
            "threshold": case.threshold,
            "metadata": case.metadata,
        }
        for position, (case_id, case) in enumerate(picked)
    ]
    scope.connection.execute(sa.insert(run_cases), rows)


def shard_items(concurrency: int) -> int:
    """Return how many items a shard of a run has, when a case has fewer."""
    return max(SHARD_ITEMS, SHARD_ROUNDS * concurrency)


def _slices(plan: Plan, items: int) -> list[Slice]:
    """Cut the plan between cases, so that a worker loads only the cases of its shard."""
    size = max(1, items // plan.per_case) * plan.per_case
    return [Slice(first, min(first + size, plan.total) - 1) for first in range(0, plan.total, size)]


def insert_shards(scope: Scope, run_id: UUID, slices: Sequence[Slice], priority: Priority) -> None:
    """Insert a task for each slice of a run, and the notes that wake workers for them."""
    head = {"workspace_id": scope.workspace_id, "kind": "run_shard"}
    rows = [{**head, "run_id": run_id, "priority": priority, **one._asdict()} for one in slices]
    ids = scope.connection.execute(sa.insert(tasks).returning(tasks.c.id), rows).scalars().all()
    scope.connection.execute(sa.insert(outbox), [{**head, "ref_id": task_id} for task_id in ids])


def get(scope: Scope, reference: str) -> RunOut:
    """Return a run with its plan and counts.

    Raises:
        NotFound: There is none.
    """
    scope.require("test:read")
    row = scope.connection.execute(sa.select(runs).where(*_this(scope, reference))).one_or_none()
    if row is None:
        raise missing("run", reference)
    return run_out(row)


def list_runs(scope: Scope, query: RunQuery) -> Page[RunOut]:
    """Return runs, newest first.

    Raises:
        NotFound: There is no such card.
        CardError: The cursor is none (``cursor_invalid``).
    """
    scope.require("test:read")
    statement = sa.select(runs).where(*_filters(scope, query))
    if query.cursor:
        edge = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(runs.c.created_at, runs.c.id) < edge)
    statement = statement.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(query.limit + 1)
    rows = scope.connection.execute(statement).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), run_out)


def _filters(scope: Scope, query: RunQuery) -> Iterator[sa.ColumnElement[bool]]:
    r = runs.c
    yield r.workspace_id == scope.workspace_id
    if query.card is not None:
        yield r.card_id == card_id_of(scope, query.card)
    if query.status:
        yield r.status.in_(query.status)
    if query.created_by is not None:
        yield r.created_by == query.created_by
    if query.model is not None:
        yield r.plan["models"].contains([query.model])
    if query.name:
        yield r.name.icontains(query.name, autoescape=True)
    if query.retry_of is not None:
        yield r.retry_of == query.retry_of
    if query.created_after is not None:
        yield r.created_at >= query.created_after
    if query.created_before is not None:
        yield r.created_at < query.created_before


def card_id_of(scope: Scope, reference: str) -> UUID:
    """Return the id of a card that may be out of use by now: what was done with it can still be looked at.

    Raises:
        NotFound: There is none.
    """
    card_id: UUID | None = scope.connection.scalar(select_card(scope, reference, prompt_cards.c.id, archived=None))
    if card_id is None:
        raise missing("card", reference)
    return card_id


def update(scope: Scope, reference: str, patch: RunPatch) -> RunOut:
    """Give a run another name. Its counts change all the time, so there is no condition on the state it is in.

    Raises:
        NotFound: There is none.
    """
    scope.require("test:execute")
    if patch.name is not UNSET:
        where = _this(scope, reference)
        if not scope.connection.execute(sa.update(runs).where(*where).values(name=patch.name)).rowcount:
            raise missing("run", reference)
        audit.record(scope, "run.renamed", "run", as_id(reference))
        changes.announce(scope, "run", as_id(reference))
    return get(scope, reference)


def run_out(row: Any) -> RunOut:
    """Return a run as clients see it."""
    return RunOut(
        id=row.id,
        name=row.name,
        status=row.status,
        card_id=row.card_id,
        plan=msgspec.convert(row.plan, PlanDocument),
        counts=run_state.counts(row),
        event_seq=row.event_seq,
        engine_version=row.engine_version,
        created_by=row.created_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=row.error,
        retry_of=row.retry_of,
        concurrency=row.concurrency or row.plan["concurrency"],
        priority=row.priority or row.plan.get("priority", "medium"),
        on_unknown=row.on_unknown,
        money=RunMoney(row.budget_usd, row.ceiling_usd, row.charged_usd, row.held_usd),
        provenance=msgspec.convert(row.provenance, Provenance | None),
    )


def prepared_cards(scope: Scope, plan: PlanDocument) -> list[Card]:
    """Return the cards of a plan, in its order."""
    found = {v.card.version: v.card for v in card_versions.load(scope, plan.card, [v.version for v in plan.versions])}
    return [found[version.version] for version in plan.versions]


def as_id(reference: str) -> UUID:
    """Return the id of a run.

    Raises:
        NotFound: It is none.
    """
    run_id = as_uuid(reference)
    if run_id is None:
        raise missing("run", reference)
    return run_id


def _this(scope: Scope, reference: str) -> tuple[sa.ColumnElement[bool], ...]:
    return runs.c.workspace_id == scope.workspace_id, runs.c.id == as_id(reference)
