"""Test cases of a card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.errors import CardError
from server_ext.db.tables import prompt_cards, test_cases
from server_ext.services import audit, cards
from server_ext.services.scope import Scope

MAX_CASES = 100_000


def list_cases(scope: Scope, card: str, after: int = -1, limit: int = 200) -> list[dict[str, Any]]:
    """Return the cases of a card in order, those behind position ``after``."""
    scope.require("test:read")
    head = cards.get(scope, card)
    query = (
        sa.select(test_cases)
        .where(
            test_cases.c.workspace_id == scope.workspace_id,
            test_cases.c.card_id == head["id"],
            test_cases.c.position > after,
        )
        .order_by(test_cases.c.position)
        .limit(limit)
    )
    return [_as_dict(row) for row in scope.connection.execute(query)]


def replace_all(scope: Scope, card: str, cases: Sequence[Case]) -> int:
    """Make ``cases`` the cases of a card, in this order; cases are told apart by their variables.

    Returns:
        How many there are now.

    Raises:
        CardError: There are two with the same variables, or more than 100,000; or one gives a secret itself, and not
            a reference to it.
    """
    scope.require("test:create")
    head = cards.get(scope, card)
    # Two who replace at once take turns; otherwise the cases of both would remain, or each would wait for the other.
    scope.connection.execute(
        sa.select(prompt_cards.c.id)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id == head["id"])
        .with_for_update()
    )
    checked = as_cases(cases)
    if head["latest_version"]:
        card_now = cards.versions(scope, head["name"], [head["latest_version"]])[0].card
        for case in checked:
            card_now.check_secrets(case.variables, f"case '{case.name}'")
    if len(checked) > MAX_CASES:
        raise CardError(f"A card may have {MAX_CASES:,} cases, not {len(checked):,}.", code="too_many_cases")
    rows = [_row(scope.workspace_id, head["id"], position, case) for position, case in enumerate(checked)]
    kept = [row["case_uid"] for row in rows]
    removed = scope.connection.execute(
        sa.delete(test_cases).where(
            test_cases.c.workspace_id == scope.workspace_id,
            test_cases.c.card_id == head["id"],
            # As one array: a statement takes no more than 65,535 parameters.
            test_cases.c.case_uid != sa.all_(sa.cast(kept, ARRAY(sa.Text))),
        )
    ).rowcount
    if removed:
        scope.require("test:update")
    if rows:
        statement = insert(test_cases)
        changed = (
            "position",
            "name",
            "input_variables",
            "expected_output",
            "assertions",
            "priority",
            "threshold",
            "metadata",
        )
        statement = statement.on_conflict_do_update(
            index_elements=["workspace_id", "card_id", "case_uid"],
            set_={**{name: statement.excluded[name] for name in changed}, "updated_at": sa.func.now()},
        )
        scope.connection.execute(statement, rows)
    audit.record(scope, "cases.replaced", "card", head["id"], cases=len(rows), removed=removed)
    return len(rows)


def load(scope: Scope, card_id: UUID) -> list[tuple[UUID, Case]]:
    """Return all cases of a card with their ids, in order."""
    query = (
        sa.select(test_cases)
        .where(test_cases.c.workspace_id == scope.workspace_id, test_cases.c.card_id == card_id)
        .order_by(test_cases.c.position)
    )
    return [(row.id, as_case(row)) for row in scope.connection.execute(query)]


def as_case(row: Any) -> Case:
    """Return the case that a row of ``test_cases`` or ``run_cases`` holds."""
    values = {
        "variables": row.input_variables,
        "assertions": row.assertions,
        "name": row.name,
        "threshold": row.threshold,
        "metadata": row.metadata,
    }
    return msgspec.convert(values, Case)


def _row(workspace_id: UUID, card_id: UUID, position: int, case: Case) -> dict[str, Any]:
    return {
        "workspace_id": workspace_id,
        "card_id": card_id,
        "position": position,
        "name": case.name,
        "case_uid": case.uid,
        "input_variables": case.variables,
        "expected_output": case.expected_output,
        "assertions": msgspec.to_builtins(case.assertions),
        "priority": case.priority,
        "threshold": case.threshold,
        "metadata": case.metadata,
    }


def _as_dict(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "position": row.position,
        "name": row.name,
        "case_uid": row.case_uid,
        "variables": row.input_variables,
        "expected_output": row.expected_output,
        "assertions": row.assertions,
        "priority": row.priority,
        "threshold": row.threshold,
        "metadata": row.metadata,
    }
