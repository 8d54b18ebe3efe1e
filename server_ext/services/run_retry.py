"""Asking the failed items of an ended run again, as a run of its own: results are never changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from uuid import UUID

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import ARRAY

from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.contract.runs import FINAL, PlanDocument, RetrySpec, RunOut
from promptcard_ext.core.errors import CardError, Conflict
from promptcard_ext.core.matrix import Plan, Prepared
from server_ext.db.tables import run_cases, test_executions
from server_ext.services import audit, reservations, runs
from server_ext.services.budgets import check_amount
from server_ext.services.cases import as_case
from server_ext.services.runs import Money, Slice, shard_items
from server_ext.services.scope import Scope

_e = test_executions.c


def retry_errors(scope: Scope, reference: str, spec: RetrySpec) -> RunOut:
    """Make a run of the items that ended in an error, with the same prompts, models and assertions.

    Its plan has the cases of those items only, numbered anew, and ``chosen`` says how many cells of it are run. Both
    runs are joined by case, version, model and repeat. Where answers to a case are compared with each other, all of
    its group are asked again.

    Raises:
        NotFound: There is no such run.
        Conflict: It has not ended (``run_state``).
        CardError: There is nothing to ask again (``nothing_to_retry``).
        OverBudget, RunError: As `runs.create`.
    """
    scope.require("test:execute")
    old = runs.get(scope, reference)
    if old.status not in FINAL:
        raise Conflict(
            f"Run '{old.name}' is {old.status}; its items can be asked again when it has ended.",
            hint="Wait for its end, or cancel it.",
            code="run_state",
        )
    failed = _failed(scope, old, spec)
    if not failed:
        raise CardError(
            f"Run '{old.name}' has no item to ask again.",
            hint="'unscored' asks for those without a verdict, too." if not spec.unscored else "",
            code="nothing_to_retry",
        )
    chosen, positions = _renumbered(_whole_groups(scope, old, failed), old.plan.per_case)
    plan = replace(old.plan, chosen=len(chosen), priority=old.priority)
    name = spec.name or old.name
    budget = check_amount(old.money.budget_usd if spec.budget_usd is None else spec.budget_usd)
    money = Money(budget, old.on_unknown)
    run_id = runs.insert(
        scope, old.card_id, name, plan, len(chosen), money, retry_of=old.id, provenance=spec.provenance
    )
    _copy_cases(scope, old.id, run_id, positions)
    runs.insert_shards(scope, run_id, list(_slices(chosen, plan)), plan.priority)
    exceeds = reservations.set_aside(scope, run_id, lambda: _prepared(scope, run_id, plan), plan, budget, chosen)
    audit.record(scope, "run.retried", "run", run_id, retry_of=str(old.id), total=len(chosen))
    return replace(runs.get(scope, str(run_id)), exceeds=exceeds)


def _failed(scope: Scope, run: RunOut, spec: RetrySpec) -> list[int]:
    wanted = ("error", "unscored") if spec.unscored else ("error",)
    query = sa.select(_e.ordinal).where(
        _e.workspace_id == scope.workspace_id,
        _e.run_id == run.id,
        _e.run_created_at == run.created_at,
        _e.outcome.in_(wanted),
    )
    return list(scope.connection.execute(query.order_by(_e.ordinal)).scalars())


def _whole_groups(scope: Scope, run: RunOut, ordinals: list[int]) -> list[int]:
    """Return the ordinals, with all of their group for cases whose answers are compared with each other."""
    per_group, per_case = run.plan.per_group, run.plan.per_case
    if per_group == 1:
        return ordinals
    compared = _compared(scope, run, {ordinal // per_case for ordinal in ordinals})
    found: set[int] = set()
    for ordinal in ordinals:
        first = ordinal - ordinal % per_group
        found.update(range(first, first + per_group) if ordinal // per_case in compared else (ordinal,))
    return sorted(found)


def _compared(scope: Scope, run: RunOut, positions: set[int]) -> set[int]:
    """Return those of the cases at ``positions`` whose answers are compared with each other."""
    found = set()
    for row in scope.connection.execute(sa.select(run_cases).where(*_cases_at(scope, run.id, positions))):
        case = as_case(row)
        if any(compiled(assertion, case.variables).contest is not None for assertion in case.assertions):
            found.add(row.position)
    return found


def _renumbered(ordinals: list[int], per_case: int) -> tuple[list[int], list[int]]:
    """Return the ordinals in a plan that has only their cases, and where these cases were.

    Example:
        >>> _renumbered([5, 13, 15], 4)
        ([1, 5, 7], [1, 3])
    """
    positions = sorted({ordinal // per_case for ordinal in ordinals})
    place = {position: index for index, position in enumerate(positions)}
    return [place[ordinal // per_case] * per_case + ordinal % per_case for ordinal in ordinals], positions


def _copy_cases(scope: Scope, old_id: UUID, new_id: UUID, positions: list[int]) -> None:
    kept = [column for column in run_cases.c if column.name not in ("run_id", "position")]
    place = sa.func.row_number().over(order_by=run_cases.c.position) - 1
    found = sa.select(sa.literal(new_id, sa.Uuid), place, *kept).where(*_cases_at(scope, old_id, positions))
    names = ["run_id", "position", *(column.name for column in kept)]
    scope.connection.execute(sa.insert(run_cases).from_select(names, found))


def _cases_at(scope: Scope, run_id: UUID, positions: Collection[int]) -> tuple[sa.ColumnElement[bool], ...]:
    # As one array: a statement takes no more than 65,535 parameters.
    wanted = sa.cast(sorted(positions), ARRAY(sa.Integer))
    c = run_cases.c
    return c.workspace_id == scope.workspace_id, c.run_id == run_id, c.position == sa.any_(wanted)


def _prepared(scope: Scope, run_id: UUID, plan: PlanDocument) -> Prepared:
    c = run_cases.c
    query = sa.select(run_cases).where(c.workspace_id == scope.workspace_id, c.run_id == run_id).order_by(c.position)
    cases = [as_case(row) for row in scope.connection.execute(query)]
    return Plan(runs.prepared_cards(scope, plan), plan.models, cases, plan.repeats).prepare()


def _slices(chosen: list[int], plan: PlanDocument) -> Iterator[Slice]:
    """Cut between cases, before there are too many items."""
    waiting: list[int] = []
    most = shard_items(plan.concurrency)
    for _, of_case in groupby(chosen, lambda ordinal: ordinal // plan.per_case):
        more = list(of_case)
        if waiting and len(waiting) + len(more) > most:
            yield Slice(waiting[0], waiting[-1], waiting)
            waiting = []
        waiting += more
    yield Slice(waiting[0], waiting[-1], waiting)
