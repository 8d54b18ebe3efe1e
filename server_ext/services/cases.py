"""Test cases of a card, told apart by their variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.contract.cards import CardHead
from promptcard_ext.core.contract.cases import BulkCases, CaseChanges, CaseNow, CasePatch, CaseQuery, SavedCase
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError, Conflict
from server_ext.db.tables import SafeText, test_cases
from server_ext.db.text import dump_json
from server_ext.services import audit, changes, paging
from server_ext.services.card_lookup import head, locked_head
from server_ext.services.case_rows import (
    check_count,
    check_secrets,
    compare,
    of_card,
    positions,
    remove,
    row_of,
    saved_case,
    write,
)
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Scope, as_uuid, missing

_FIRST_PAGE = CaseQuery()


def list_cases(scope: Scope, card: str, query: CaseQuery = _FIRST_PAGE) -> Page[SavedCase]:
    """Return cases of a card, in their order.

    Raises:
        NotFound: There is no such card.
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("test:read")
    columns = test_cases.c
    statement = sa.select(test_cases).where(*of_card(scope, head(scope, card)), *_wanted(query))
    if query.cursor is not None:
        position, case_id = paging.decode_cursor(query.cursor, int, UUID)
        # Whoever makes up a cursor may write numbers that no column holds.
        edge = sa.tuple_(sa.cast(str(position)[:20], sa.Numeric), sa.literal(case_id, sa.Uuid))
        statement = statement.where(sa.tuple_(columns.position, columns.id) > edge)
    rows = scope.connection.execute(statement.order_by(columns.position, columns.id).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.position, row.id), saved_case)


def _wanted(query: CaseQuery) -> Iterator[sa.ColumnElement[bool]]:
    columns = test_cases.c
    if query.priority:
        yield columns.priority.in_(query.priority)
    if query.text is not None:
        # In the JSON of the variables the text stands as JSON writes it.
        written = dump_json(query.text)[1:-1]
        yield sa.or_(
            sa.func.strpos(sa.func.lower(columns.name), sa.func.lower(sa.literal(query.text, SafeText()))) > 0,
            sa.func.strpos(sa.func.lower(sa.cast(columns.input_variables, sa.Text)), sa.func.lower(written)) > 0,
        )


def get(scope: Scope, card: str, case: str) -> SavedCase:
    """Return a case of a card, by id or ``case_uid``.

    Raises:
        NotFound: There is no such card or case.
    """
    scope.require("test:read")
    return _found(scope, head(scope, card), case)


def _found(scope: Scope, card: CardHead, case: str) -> SavedCase:
    case_id = as_uuid(case)
    named = test_cases.c.case_uid == case if case_id is None else test_cases.c.id == case_id
    row = scope.connection.execute(sa.select(test_cases).where(*of_card(scope, card), named)).one_or_none()
    if row is None:
        raise missing("case", f"{card.name}/{case}")
    return saved_case(row)


def add(scope: Scope, card: str, case: Case) -> SavedCase:
    """Add a case behind the others.

    Raises:
        NotFound: There is no such card.
        CardError: There is one with the same variables (``case_twice``), the card has 100,000 cases, or it gives a
            secret itself, and not a reference to it.
    """
    scope.require("test:create")
    owner = locked_head(scope, card)
    check_secrets(scope, owner, [case])
    last = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(test_cases.c.position), -1))
    count, position = scope.connection.execute(last.where(*of_card(scope, owner))).one()
    check_count(owner, count + 1)
    _refuse_twin(scope, owner, case)
    scope.connection.execute(sa.insert(test_cases).values(row_of(scope, owner, position + 1, case)))
    _note(scope, owner, "case.created", case.uid)
    return _found(scope, owner, case.uid)


def update(scope: Scope, card: str, case: str, patch: CasePatch, match: Match = unconditional) -> SavedCase:
    """Change a case. With other variables it is another case, and has no results yet.

    Raises:
        NotFound: There is no such card or case.
        Conflict: Somebody changed it since (``etag_mismatch``).
        CardError: Another case has these variables (``case_twice``), or the change does not fit.
    """
    scope.require("test:update")
    owner = locked_head(scope, card)
    current = _found(scope, owner, case)
    match(current)
    fields = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    if not fields:
        return current
    after = Case(**{**{name: getattr(current, name) for name in Case.__struct_fields__}, **fields})
    check_secrets(scope, owner, [after])
    if after.uid != current.case_uid:
        _refuse_twin(scope, owner, after)
    row = row_of(scope, owner, current.position, after)
    where = (*of_card(scope, owner), test_cases.c.id == current.id)
    scope.connection.execute(sa.update(test_cases).where(*where).values(**row, updated_at=sa.func.now()))
    _note(scope, owner, "case.updated", after.uid, fields=sorted(fields))
    return _found(scope, owner, str(current.id))


def delete(scope: Scope, card: str, case: str, match: Match = unconditional) -> None:
    """Delete a case. Runs that asked it keep it.

    Raises:
        NotFound: There is no such card or case.
        Conflict: Somebody changed it since (``etag_mismatch``).
    """
    scope.require("test:delete")
    owner = locked_head(scope, card)
    current = _found(scope, owner, case)
    match(current)
    where = (*of_card(scope, owner), test_cases.c.id == current.id)
    scope.connection.execute(sa.delete(test_cases).where(*where))
    _note(scope, owner, "case.deleted", current.case_uid)


def replace_all(scope: Scope, card: str, cases: Sequence[Case]) -> int:
    """Make ``cases`` the cases of a card, in this order; cases are told apart by their variables.

    Returns:
        How many there are now.

    Raises:
        NotFound: There is no such card.
        CardError: There are two with the same variables, or more than 100,000; or one gives a secret itself, and not
            a reference to it.
    """
    replace(scope, card, cases, "cases.replaced")
    return len(cases)


def replace(scope: Scope, card: str, cases: Sequence[Case], action: str, *, dry_run: bool = False) -> CaseChanges:
    """Replace all cases, and say what that changes; see `replace_all`."""
    scope.require("test:create")
    # Two who replace at once take turns; otherwise the cases of both would remain, or each would wait for the other.
    owner = locked_head(scope, card)
    given = _checked(scope, owner, cases)
    check_count(owner, len(given))
    found = compare(scope, owner, given)
    result = found.result(found.others, dry_run=dry_run)
    if result.changed or result.removed:
        scope.require("test:update")
    if not dry_run:
        remove(scope, owner, list(found.others))
        write(scope, [row_of(scope, owner, position, case) for position, case in enumerate(given.values())])
        _note_changes(scope, owner, action, result)
    return result


def merge(
    scope: Scope, card: str, bulk: BulkCases, action: str = "cases.changed", *, dry_run: bool = False
) -> CaseChanges:
    """Save some cases and delete others; all of it happens, or nothing.

    Cases with variables that a case has already replace it; the others come last, in their order.

    Raises:
        NotFound: There is no such card.
        Conflict: A case is not what the change is based on (``etag_mismatch``); ``current`` has those cases.
        CardError: As for `replace_all`; or a case is to be saved and deleted (``case_twice``).
    """
    scope.require("test:create")
    owner = locked_head(scope, card)
    given = _checked(scope, owner, bulk.save)
    _refuse_outdated(scope, owner, bulk.based_on)
    if both := given.keys() & set(bulk.delete):
        raise CardError(f"Case '{given[min(both)].name}' is to be saved and to be deleted.", code="case_twice")
    found = compare(scope, owner, given)
    removed = {uid: found.others[uid] for uid in bulk.delete if uid in found.others}
    result = found.result(removed, dry_run=dry_run)
    if result.changed:
        scope.require("test:update")
    if result.removed:
        scope.require("test:delete")
    check_count(owner, len(given) + len(found.others) - len(removed))
    if not dry_run:
        remove(scope, owner, list(removed))
        places = positions(scope, owner, list(found.changed))
        new = {uid: found.end + number for number, uid in enumerate(found.added)}
        write(scope, [row_of(scope, owner, place, given[uid]) for uid, place in {**places, **new}.items()])
        _note_changes(scope, owner, action, result)
    return result


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


def _checked(scope: Scope, owner: CardHead, cases: Sequence[Case]) -> dict[str, Case]:
    """Return the cases by identity."""
    checked = as_cases(cases)
    check_secrets(scope, owner, checked)
    return {case.uid: case for case in checked}


def _refuse_twin(scope: Scope, owner: CardHead, case: Case) -> None:
    twin = sa.select(test_cases.c.name).where(*of_card(scope, owner), test_cases.c.case_uid == case.uid)
    name = scope.connection.scalar(twin)
    if name is not None:
        raise CardError(
            f"Case '{name}' of card '{owner.name}' has the same variables.",
            hint="Change that case, or ask it several times with repeats.",
            code="case_twice",
        )


def _refuse_outdated(scope: Scope, owner: CardHead, based_on: Mapping[str, str]) -> None:
    """Raise `Conflict` when a case is in another state than whoever changes it has seen."""
    if not based_on:
        return
    scope.require("test:read")
    among = test_cases.c.case_uid == sa.any_(sa.cast(list(based_on), sa.ARRAY(sa.Text)))
    rows = scope.connection.execute(sa.select(test_cases).where(*of_card(scope, owner), among))
    now = {row.case_uid: saved_case(row) for row in rows}
    outdated = [
        CaseNow(uid, now.get(uid)) for uid, state in based_on.items() if (now[uid].state if uid in now else "") != state
    ]
    if outdated:
        raise Conflict(
            f"Somebody has changed {len(outdated):,} of these cases since you read them.",
            hint="Look at 'current', and repeat the change with what you want of it.",
            code="etag_mismatch",
            current=outdated,
        )


def _note(scope: Scope, owner: CardHead, action: str, case_uid: str, **detail: Any) -> None:
    audit.record(scope, action, "card", owner.id, case=case_uid, **detail)
    changes.announce(scope, "card", owner.name)


def _note_changes(scope: Scope, owner: CardHead, action: str, result: CaseChanges) -> None:
    counts = {"added": result.added, "changed": result.changed, "removed": result.removed}
    audit.record(scope, action, "card", owner.id, **counts)
    changes.announce(scope, "card", owner.name)
