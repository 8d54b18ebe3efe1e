"""How a card is found: by name or id, in this workspace, and locked by whoever changes it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from promptcard_ext.core.contract.cards import CardHead
from server_ext.db.tables import prompt_cards
from server_ext.services.scope import Scope, as_uuid, missing

COLUMNS = (
    prompt_cards.c.id,
    prompt_cards.c.name,
    prompt_cards.c.title,
    prompt_cards.c.description,
    prompt_cards.c.tags,
    prompt_cards.c.latest_version,
    prompt_cards.c.draft.is_not(None).label("has_draft"),
    prompt_cards.c.created_by,
    prompt_cards.c.created_at,
    prompt_cards.c.updated_at,
    prompt_cards.c.archived_at,
)
"""What a `CardHead` is made of, in the order of its fields."""


def head_of(row: Any) -> CardHead:
    """Return the head that a row of `COLUMNS` holds."""
    return CardHead(*row)


def is_named(reference: str) -> sa.ColumnElement[bool]:
    """Return the condition that a card has this name or id."""
    named = prompt_cards.c.name == reference
    known_id = as_uuid(reference)
    return named if known_id is None else sa.or_(named, prompt_cards.c.id == known_id)


def select_card(
    scope: Scope, reference: str, *columns: sa.ColumnElement[Any], archived: bool | None = False
) -> sa.Select[tuple[Any, ...]]:
    """Return the query for one card; ``archived`` None takes cards out of use, too.

    A name may look like an id; then it goes first.
    """
    statement = sa.select(*columns).where(prompt_cards.c.workspace_id == scope.workspace_id, is_named(reference))
    if archived is not None:
        statement = statement.where(prompt_cards.c.archived_at.is_not(None) == archived)
    return statement.order_by((prompt_cards.c.name == reference).desc()).limit(1)


def head(scope: Scope, reference: str) -> CardHead:
    """Return the head of a card in use.

    Raises:
        NotFound: There is none.
    """
    return _found(scope, select_card(scope, reference, *COLUMNS), reference)


def locked_head(scope: Scope, reference: str, *, archived: bool = False) -> CardHead:
    """Return the head of a card in use, or of an archived one; its row stays locked until the transaction ends.

    Raises:
        NotFound: There is none.
    """
    # Runs refer to cards: what is written about one while it is locked must not wait for it, who may wait for that.
    locked = select_card(scope, reference, *COLUMNS, archived=archived).with_for_update(key_share=True)
    return _found(scope, locked, reference)


def _found(scope: Scope, query: sa.Select[Any], reference: str) -> CardHead:
    row = scope.connection.execute(query).one_or_none()
    if row is None:
        raise missing("card", reference)
    return head_of(row)


def the_card(scope: Scope, card: CardHead) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the row of a card that was found."""
    return prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id == card.id
