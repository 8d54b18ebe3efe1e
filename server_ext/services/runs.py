"""Runs: made whole in one transaction, then carried out by workers."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Meta, Struct

from promptcard_ext._version import __version__
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.engine import check_needs
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.identity import digest
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.results import Counts, Outcome
from promptcard_ext.providers import model as check_model
from server_ext.db.tables import outbox, run_cases, run_events, runs, tasks
from server_ext.services import audit, cards, cases
from server_ext.services.scope import Scope, missing

SHARD_ITEMS = 250
FINAL = ("completed", "cancelled", "failed")


class RunSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks for.

    Attributes:
        card: Name or id.
        versions: Version numbers to compare; empty takes the latest.
        models: Model references.
        cases: Names of the cases to run; empty takes all.
        concurrency: Most calls in flight per worker.
        timeout_s: Longest time for one call.
        judges: Models that judge where an assertion needs one; several are a panel.
        embedder: Model that makes vectors where an assertion needs them.
    """

    card: str
    models: Annotated[list[str], Meta(min_length=1, max_length=50)]
    versions: Annotated[list[Annotated[int, Meta(ge=1, le=2**31 - 1)]], Meta(max_length=50)] = []
    cases: list[str] = []
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 1
    concurrency: Annotated[int, Meta(ge=1, le=512)] = 16
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    name: Annotated[str, Meta(max_length=255)] = ""
    judges: Annotated[list[str], Meta(max_length=9)] = []
    embedder: str | None = None


class PlannedVersion(Struct, frozen=True):
    """A card version as the run's plan names it."""

    id: UUID
    version: int
    label: str
    content_hash: str


class PlanDocument(Struct, frozen=True):
    """What ``runs.plan`` holds: enough to build the same plan again in any worker."""

    card: str
    versions: list[PlannedVersion]
    models: list[str]
    repeats: int
    concurrency: int
    timeout_s: float
    spec_hash: str = ""
    judges: list[str] = []
    embedder: str | None = None

    @property
    def per_case(self) -> int:
        """Items of one case."""
        return self.repeats * len(self.models) * len(self.versions)


def create(scope: Scope, spec: RunSpec, idempotency_key: str | None = None) -> dict[str, Any]:
    """Make a run with its cases, shards and outbox notes; the workers do the rest once this is committed.

    Every prompt is rendered here, so that a mistake shows before the first call.

    Raises:
        CardError, TemplateError: A case does not fit a version, or a template does not render.
        UnknownModel: A model reference names no provider.
        NotFound: There is no such card, version or case.
    """
    scope.require("test:execute")
    spec_hash = digest(msgspec.to_builtins(spec))
    if idempotency_key and (known := _by_idempotency_key(scope, idempotency_key, spec_hash)):
        return known
    for reference in (*spec.models, *spec.judges, *filter(None, [spec.embedder])):
        check_model(reference)
    head = cards.get(scope, spec.card)
    chosen = cards.versions(scope, spec.card, spec.versions or [head["latest_version"]])
    picked = _pick(cases.load(scope, head["id"]), spec.cases, head["name"])
    plan = Plan([v.card for v in chosen], spec.models, [case for _, case in picked], spec.repeats)
    check_needs(plan.prepare(), spec.judges, spec.embedder)
    document = PlanDocument(
        head["name"],
        [PlannedVersion(v.id, v.card.version, v.card.label, v.content_hash) for v in chosen],
        list(spec.models),
        spec.repeats,
        spec.concurrency,
        spec.timeout_s,
        spec_hash,
        list(spec.judges),
        spec.embedder,
    )
    name = spec.name or " vs ".join(v.card.label for v in chosen)
    run_id = _insert(scope, head["id"], name, document, plan.total, idempotency_key)
    _insert_cases(scope, run_id, picked)
    _insert_shards(scope, run_id, plan)
    add_event(scope.connection, scope.workspace_id, run_id, 1, "queued", {"total": plan.total})
    audit.record(scope, "run.created", "run", run_id, card=head["name"], total=plan.total, models=spec.models)
    return get(scope, str(run_id))


def _by_idempotency_key(scope: Scope, key: str, spec_hash: str) -> dict[str, Any] | None:
    # Twins that come at once take turns, so that the second finds what the first made.
    lock = sa.func.hashtextextended(f"pc.run:{scope.workspace_id}:{key}", 0)
    scope.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    query = sa.select(runs.c.id).where(runs.c.workspace_id == scope.workspace_id, runs.c.idempotency_key == key)
    found = scope.connection.execute(query).scalar_one_or_none()
    if found is None:
        return None
    run = get(scope, str(found))
    if run["plan"].get("spec_hash") != spec_hash:
        raise CardError(
            "This idempotency key was used for another run.",
            hint="Use a new key for a new run.",
            code="idempotency_reused",
        )
    return run


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


def _insert(
    scope: Scope, card_id: UUID, name: str, plan: PlanDocument, total: int, idempotency_key: str | None
) -> UUID:
    statement = sa.insert(runs).values(
        workspace_id=scope.workspace_id,
        created_by=scope.actor.user_id,
        card_id=card_id,
        name=name[:255],
        plan=msgspec.to_builtins(plan),
        total=total,
        event_seq=1,
        engine_version=__version__,
        idempotency_key=idempotency_key,
    )
    run_id: UUID = scope.connection.execute(statement.returning(runs.c.id)).scalar_one()
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


def _insert_shards(scope: Scope, run_id: UUID, plan: Plan) -> None:
    """Cut the plan between cases, so that a worker loads only the cases of its shard."""
    size = max(1, SHARD_ITEMS // plan.per_case) * plan.per_case
    rows = [
        {
            "workspace_id": scope.workspace_id,
            "kind": "run_shard",
            "run_id": run_id,
            "first_ordinal": first,
            "last_ordinal": min(first + size, plan.total) - 1,
        }
        for first in range(0, plan.total, size)
    ]
    ids = scope.connection.execute(sa.insert(tasks).returning(tasks.c.id), rows).scalars().all()
    notes = [{"workspace_id": scope.workspace_id, "kind": "run_shard", "ref_id": task_id} for task_id in ids]
    scope.connection.execute(sa.insert(outbox), notes)


def add_event(
    connection: sa.Connection, workspace_id: UUID, run_id: UUID, seq: int, kind: str, payload: dict[str, Any]
) -> None:
    """Append an event; the caller has taken ``seq`` from the locked row of the run."""
    connection.execute(
        sa.insert(run_events).values(workspace_id=workspace_id, run_id=run_id, seq=seq, kind=kind, payload=payload)
    )


def get(scope: Scope, reference: str) -> dict[str, Any]:
    """Return a run with its plan and counts.

    Raises:
        NotFound: There is none.
    """
    scope.require("test:read")
    row = scope.connection.execute(
        sa.select(runs).where(runs.c.workspace_id == scope.workspace_id, runs.c.id == _id(reference))
    ).one_or_none()
    if row is None:
        raise missing("run", reference)
    return as_dict(row)


def list_runs(scope: Scope, before: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """Return runs, newest first; those older than the run ``before``."""
    scope.require("test:read")
    query = sa.select(runs).where(runs.c.workspace_id == scope.workspace_id)
    if before:
        edge = get(scope, before)
        query = query.where(sa.tuple_(runs.c.created_at, runs.c.id) < sa.tuple_(edge["created_at"], edge["id"]))
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    return [as_dict(row) for row in scope.connection.execute(query)]


def cancel(scope: Scope, reference: str) -> dict[str, Any]:
    """Ask a run to stop. Results stay; calls in flight are aborted within a second. An ended run is left alone."""
    scope.require("test:cancel")
    run = lock(scope.connection, scope.workspace_id, _id(reference))
    if run is None:
        raise missing("run", reference)
    if run.status not in (*FINAL, "cancelling"):
        scope.connection.execute(
            sa.update(tasks)
            .where(tasks.c.workspace_id == scope.workspace_id, tasks.c.run_id == run.id, tasks.c.state == "queued")
            .values(state="cancelled", finished_at=sa.func.clock_timestamp())
        )
        move(scope.connection, run, "cancelling")
        audit.record(scope, "run.cancelled", "run", run.id)
        close_if_done(scope.connection, scope.workspace_id, run.id)
    return get(scope, reference)


def lock(connection: sa.Connection, workspace_id: UUID, run_id: UUID) -> Any:
    """Return the row of a run, locked until the transaction ends; None when there is none."""
    query = sa.select(runs).where(runs.c.workspace_id == workspace_id, runs.c.id == run_id)
    return connection.execute(query.with_for_update()).one_or_none()


def move(connection: sa.Connection, run: Any, status: str, error: dict[str, Any] | None = None) -> None:
    """Give a locked run another status, with the event that says so."""
    times: dict[str, Any] = {}
    if status == "running":
        times["started_at"] = sa.func.clock_timestamp()
    if status in FINAL:
        times["finished_at"] = sa.func.clock_timestamp()
    seq = connection.execute(
        sa.update(runs)
        .where(runs.c.workspace_id == run.workspace_id, runs.c.id == run.id)
        .values(status=status, event_seq=runs.c.event_seq + 1, error=error, **times)
        .returning(runs.c.event_seq)
    ).scalar_one()
    add_event(connection, run.workspace_id, run.id, seq, "finished" if status in FINAL else status, {"status": status})


def close_if_done(connection: sa.Connection, workspace_id: UUID, run_id: UUID) -> None:
    """Give a run its final status once none of its tasks is left to do."""
    run = lock(connection, workspace_id, run_id)
    states = set(
        connection.execute(
            sa.select(tasks.c.state).where(tasks.c.workspace_id == workspace_id, tasks.c.run_id == run_id).distinct()
        ).scalars()
    )
    if run.status in FINAL or states & {"queued", "leased"}:
        return
    if run.recorded == run.total:
        move(connection, run, "completed")
    elif run.status == "cancelling":
        move(connection, run, "cancelled")
    else:
        error = {
            "code": "run_incomplete",
            "message": f"{run.total - run.recorded} of {run.total} items have no result.",
        }
        move(connection, run, "failed", error)


def as_dict(row: Any) -> dict[str, Any]:
    """Return a run as clients see it."""
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "engine_version": row.engine_version,
        "plan": row.plan,
        "counts": counts(row),
        "event_seq": row.event_seq,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "error": row.error,
    }


def counts(row: Any) -> Counts:
    """Return the totals of a run's row."""
    return Counts(
        total=row.total, done=row.recorded, passed=row.passed, failed=row.failed, errored=row.errored,
        unscored=row.unscored, priced=row.priced, cost_usd=row.cost_usd, spent_usd=row.cost_usd,
    )  # fmt: skip


def prepared_cards(scope: Scope, plan: PlanDocument) -> list[Card]:
    """Return the cards of a plan, in its order."""
    found = {v.card.version: v.card for v in cards.versions(scope, plan.card, [v.version for v in plan.versions])}
    return [found[version.version] for version in plan.versions]


def _id(reference: str) -> UUID:
    try:
        return UUID(reference)
    except ValueError:
        raise missing("run", reference) from None


COUNT_COLUMN = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "errored",
    Outcome.UNSCORED: "unscored",
}
