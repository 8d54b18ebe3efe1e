"""Search for cards by words, beginnings of words, and what resembles them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.cards import CardFound, SearchQuery
from promptcard_ext.core.contract.page import Page
from server_ext.db.tables import SafeText, prompt_cards
from server_ext.services import paging
from server_ext.services.card_lookup import COLUMNS, head_of
from server_ext.services.scope import Scope

MAX_FOUND = 1_000


def search(scope: Scope, query: SearchQuery) -> Page[CardFound]:
    """Return cards in use, best first: at most 1,000 over all pages.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("prompt:read")
    # The function looks in the workspace of the transaction; the cards themselves are read like all others.
    ranked = sa.func.pc.search_cards(sa.literal(query.text, SafeText()), MAX_FOUND).table_valued(
        sa.column("card_id", sa.Uuid), sa.column("rank", sa.REAL)
    )
    chosen = sa.select(ranked).order_by(ranked.c.rank.desc(), ranked.c.card_id).limit(query.limit + 1)
    if query.cursor is not None:
        chosen = chosen.where(_behind(ranked, *paging.decode_cursor(query.cursor, float, UUID)))
    found = chosen.cte("found")
    statement = (
        sa.select(*COLUMNS, found.c.rank)
        .join_from(found, prompt_cards, prompt_cards.c.id == found.c.card_id)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.archived_at.is_(None))
        .order_by(found.c.rank.desc(), found.c.card_id)
    )
    rows = scope.connection.execute(statement).all()
    return paging.page(rows, query.limit, lambda row: (row.rank, row.id), _found)


def _found(row: Any) -> CardFound:
    *head, rank = row
    return CardFound(head_of(head), rank)


def _behind(ranked: Any, rank: float, card_id: UUID) -> sa.ColumnElement[bool]:
    edge = sa.cast(rank, sa.REAL)
    return sa.or_(ranked.c.rank < edge, sa.and_(ranked.c.rank == edge, ranked.c.card_id > card_id))
