"""Drafts: what somebody works on before it becomes a version; one a card."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardHead, Draft
from promptcard_ext.core.errors import CardError, Conflict
from server_ext.db.tables import prompt_cards
from server_ext.services import audit, changes
from server_ext.services.card_comparison import compare
from server_ext.services.card_lookup import head, locked_head, the_card
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Scope


def get(scope: Scope, reference: str) -> Draft:
    """Return the draft of a card; its content is None when there is no draft.

    Raises:
        NotFound: There is no such card.
    """
    scope.require("prompt:read")
    return _draft(scope, head(scope, reference))


def save(scope: Scope, reference: str, content: dict[str, Any], match: Match = unconditional) -> Draft:
    """Replace the draft of a card.

    Raises:
        NotFound: There is no such card.
        Conflict: Somebody saved a draft or a version since (``etag_mismatch``); carries that draft and how it differs.
        CardError: The draft can be no card.
    """
    scope.require("prompt:update")
    card = locked_head(scope, reference)
    current = _draft(scope, card)
    wanted = as_card(card.name, content)
    try:
        match(current)
    except Conflict as conflict:
        if current.content is not None:
            conflict.diff = compare(as_card(card.name, current.content), wanted, "current", "wanted")
        raise
    return _write(scope, card, content, "card.draft_saved")


def delete(scope: Scope, reference: str, match: Match = unconditional) -> Draft:
    """Throw the draft of a card away; returns what is then there.

    Raises:
        NotFound: There is no such card.
        Conflict: Somebody saved a draft or a version since (``etag_mismatch``).
    """
    scope.require("prompt:update")
    card = locked_head(scope, reference)
    match(_draft(scope, card))
    return _write(scope, card, None, "card.draft_deleted")


def as_card(name: str, content: dict[str, Any]) -> Card:
    """Return the card that a draft would become.

    Raises:
        CardError: It can be none.
    """
    try:
        if content.keys() & {"name", "version"}:
            raise msgspec.ValidationError("a draft has neither 'name' nor 'version'")
        return msgspec.convert({**content, "name": name}, Card)
    except msgspec.ValidationError as error:
        problem = str(error).rstrip(".")
        raise CardError(f"The draft of card '{name}' does not fit: {problem}.", code="card_invalid") from None


def _write(scope: Scope, card: CardHead, content: dict[str, Any] | None, action: str) -> Draft:
    changed = {"draft": content, "revision": prompt_cards.c.revision + 1, "updated_at": sa.func.now()}
    scope.connection.execute(sa.update(prompt_cards).where(*the_card(scope, card)).values(changed))
    audit.record(scope, action, "card", card.id)
    changes.announce(scope, "card", card.name)
    return _draft(scope, card)


def _draft(scope: Scope, card: CardHead) -> Draft:
    columns = (prompt_cards.c.draft, prompt_cards.c.latest_version, prompt_cards.c.revision)
    row = scope.connection.execute(sa.select(*columns).where(*the_card(scope, card))).one()
    return Draft(card.name, row.draft, row.latest_version, row.revision)
