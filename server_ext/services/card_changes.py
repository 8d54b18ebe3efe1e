"""News of cards: whoever has fetched one, by its name or by a label, must hear that it is not as it was."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from server_ext.db.tables import SafeText, card_labels, prompt_cards
from server_ext.services import changes
from server_ext.services.scope import Scope


def announce(scope: Scope, names: Sequence[str]) -> None:
    """Tell every server that something of these cards has changed: themselves, and what their labels stand for."""
    cards, labels = prompt_cards.c, card_labels.c
    labelled = (
        sa.select(cards.name, labels.label)
        .join(card_labels, sa.and_(labels.workspace_id == cards.workspace_id, labels.card_id == cards.id))
        .where(cards.workspace_id == scope.workspace_id, cards.name == sa.any_(sa.cast(list(names), ARRAY(SafeText))))
    )
    keys = [f"{row.name}/{row.label}" for row in scope.connection.execute(labelled)]
    changes.announce_all(scope, "card", names)
    if keys:
        changes.announce_all(scope, "label", keys)
