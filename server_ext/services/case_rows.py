"""Rows of cases: what is written and read, and how given cases differ from those that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import CardHead
from promptcard_ext.core.contract.cases import CaseChange, CaseChanges, Change, SavedCase
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.identity import canonical_json
from server_ext.db.tables import test_cases
from server_ext.services import card_versions
from server_ext.services.scope import Scope

MAX_CASES = 100_000
MAX_EXAMPLES = 100
# Rows of one statement, and rows read at once.
BATCH = 1_000
_CHANGED = ("position", "name", "input_variables", "expected_output", "assertions", "priority", "threshold", "metadata")


def of_card(scope: Scope, card: CardHead) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the cases of a card."""
    return test_cases.c.workspace_id == scope.workspace_id, test_cases.c.card_id == card.id


def saved_case(row: Any) -> SavedCase:
    """Return what a row of ``test_cases`` holds."""
    return SavedCase(
        id=row.id,
        position=row.position,
        name=row.name,
        case_uid=row.case_uid,
        variables=row.input_variables,
        expected_output=row.expected_output,
        assertions=row.assertions,
        priority=row.priority,
        threshold=row.threshold,
        metadata=row.metadata,
    )


def row_of(scope: Scope, card: CardHead, position: int, case: Case) -> dict[str, Any]:
    """Return the row of ``test_cases`` for a case."""
    return {
        "workspace_id": scope.workspace_id,
        "card_id": card.id,
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


def check_secrets(scope: Scope, card: CardHead, cases: Sequence[Case]) -> None:
    """Raise `CardError` when a case gives a secret itself, and not a reference to it."""
    if not card.latest_version or not cases:
        return
    latest = card_versions.get(scope, str(card.id), str(card.latest_version)).card
    for case in cases:
        latest.check_secrets(case.variables, f"case '{case.name}'")


def check_count(card: CardHead, count: int) -> None:
    """Raise `CardError` (``too_many_cases``) when a card would have more than 100,000 cases."""
    if count > MAX_CASES:
        raise CardError(f"A card may have {MAX_CASES:,} cases, not {count:,}.", code="too_many_cases")


@dataclass
class Comparison:
    """How given cases differ from those of a card; identities with names.

    Attributes:
        others: Those that are there and were not given.
        end: Position behind the last one that is there.
    """

    added: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    end: int = 0

    def result(self, removed: Mapping[str, str], *, dry_run: bool = False) -> CaseChanges:
        """Return what a change did that removed these."""
        kinds: tuple[tuple[Change, Mapping[str, str]], ...] = (
            ("added", self.added),
            ("changed", self.changed),
            ("removed", removed),
        )
        examples = [CaseChange(kind, uid, name) for kind, touched in kinds for uid, name in touched.items()]
        counts = (len(self.added), len(self.changed), len(removed), self.unchanged)
        return CaseChanges(*counts, examples[:MAX_EXAMPLES], dry_run)


def compare(scope: Scope, card: CardHead, cases: Mapping[str, Case]) -> Comparison:
    """Compare given cases, by identity, with those of a card, which are read row by row."""
    found = Comparison(added={uid: case.name for uid, case in cases.items()})
    statement = sa.select(test_cases).where(*of_card(scope, card)).order_by(test_cases.c.position)
    for row in scope.connection.execute(statement, execution_options={"yield_per": BATCH}):
        found.end = row.position + 1
        case = cases.get(row.case_uid)
        if case is None:
            found.others[row.case_uid] = row.name
            continue
        del found.added[row.case_uid]
        after = row_of(scope, card, row.position, case)
        if all(_same(getattr(row, name), after[name]) for name in _CHANGED):
            found.unchanged += 1
        else:
            found.changed[row.case_uid] = case.name
    return found


def _same(stored: Any, given: Any) -> bool:
    # What came from JSON has lists where what was made in Python may have tuples.
    return bool(stored == given or stored == json.loads(canonical_json(given)))


def write(scope: Scope, rows: Sequence[dict[str, Any]]) -> None:
    """Write cases; those with variables that a case has already replace it, and keep its id."""
    statement = insert(test_cases)
    statement = statement.on_conflict_do_update(
        index_elements=["workspace_id", "card_id", "case_uid"],
        set_={**{name: statement.excluded[name] for name in _CHANGED}, "updated_at": sa.func.now()},
    )
    for start in range(0, len(rows), BATCH):
        scope.connection.execute(statement, rows[start : start + BATCH])


def positions(scope: Scope, card: CardHead, uids: Sequence[str]) -> dict[str, int]:
    """Return where cases stand, by identity."""
    among = test_cases.c.case_uid == sa.any_(sa.cast(list(uids), sa.ARRAY(sa.Text)))
    statement = sa.select(test_cases.c.case_uid, test_cases.c.position).where(*of_card(scope, card), among)
    return {row.case_uid: row.position for row in scope.connection.execute(statement)}


def remove(scope: Scope, card: CardHead, uids: Sequence[str]) -> None:
    """Delete cases by identity."""
    # As one array: a statement takes no more than 65,535 parameters.
    among = test_cases.c.case_uid == sa.any_(sa.cast(list(uids), sa.ARRAY(sa.Text)))
    scope.connection.execute(sa.delete(test_cases).where(*of_card(scope, card), among))
