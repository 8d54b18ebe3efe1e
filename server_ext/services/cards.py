"""Cards: a head that changes, a draft, and versions that never do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardHead, CardPatch, CardQuery, Saved
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.errors import CardError, NotFound
from server_ext.db.reads import Question, Read, Row
from server_ext.db.tables import card_labels, card_versions, prompt_cards
from server_ext.services import audit, card_changes, paging
from server_ext.services import card_versions as stored_versions
from server_ext.services.card_lookup import COLUMNS, head, head_of, locked_head, the_card
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Glance, Scope

_FIRST_PAGE = CardQuery()


def list_cards(scope: Scope, query: CardQuery = _FIRST_PAGE) -> Page[CardHead]:
    """Return cards by name.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    return scope.ask(listed(scope, query))


def listed(place: Scope | Glance, query: CardQuery) -> Question[Page[CardHead]]:
    """Return what `list_cards` asks."""
    place.require("prompt:read")
    given = {
        "tag": query.tag or None,
        "created_by": query.created_by,
        "updated_after": query.updated_after,
        "label": query.label,
        "after": None if query.cursor is None else paging.decode_cursor(query.cursor, str)[0],
    }
    given = {name: value for name, value in given.items() if value is not None}
    values = {"workspace": place.workspace_id, "most": query.limit + 1, **given}

    def page(rows: Sequence[Row]) -> Page[CardHead]:
        return paging.page([head_of(row) for row in rows], query.limit, lambda card: (card.name,), lambda card: card)

    return Question(_listing(query.archived, frozenset(given)), values, page)


@cache
def _listing(archived: bool, given: frozenset[str]) -> Read:
    """Return the query for a list, made once for all that differ only in values."""
    table, in_workspace = prompt_cards.c, sa.bindparam("workspace", type_=sa.Uuid)
    labelled = sa.select(card_labels.c.card_id).where(
        card_labels.c.workspace_id == in_workspace, card_labels.c.label == sa.bindparam("label")
    )
    conditions = {
        "tag": table.tags.contains(sa.bindparam("tag", type_=table.tags.type)),
        "created_by": table.created_by == sa.bindparam("created_by"),
        "updated_after": table.updated_at > sa.bindparam("updated_after"),
        "label": table.id.in_(labelled),
        "after": table.name > sa.bindparam("after"),
    }
    in_use = table.archived_at.is_(None)
    return Read(
        sa.select(*COLUMNS)
        .where(table.workspace_id == in_workspace, sa.not_(in_use) if archived else in_use)
        .where(*(condition for name, condition in conditions.items() if name in given))
        .order_by(table.name)
        .limit(sa.bindparam("most"))
    )


def get(scope: Scope, reference: str) -> CardHead:
    """Return the head of a card, by name or id.

    Raises:
        NotFound: There is none.
    """
    scope.require("prompt:read")
    return head(scope, reference)


def update(scope: Scope, reference: str, patch: CardPatch, match: Match = unconditional) -> CardHead:
    """Change title, description or tags.

    Raises:
        NotFound: There is no such card.
        Conflict: Somebody changed it since (``etag_mismatch``).
    """
    scope.require("prompt:update")
    card = locked_head(scope, reference)
    match(card)
    fields = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    if "tags" in fields:
        fields["tags"] = list(dict.fromkeys(fields["tags"]))
    if not fields:
        return card
    return _change(scope, card, "card.updated", fields, fields=sorted(fields))


def archive(scope: Scope, reference: str, match: Match = unconditional) -> CardHead:
    """Take a card out of use. Its versions stay for the runs that used them, and its name stays taken.

    Raises:
        NotFound: There is no such card.
        Conflict: Somebody changed it since (``etag_mismatch``).
    """
    scope.require("prompt:delete")
    card = locked_head(scope, reference)
    match(card)
    return _change(scope, card, "card.archived", {"archived_at": sa.func.now()})


def restore(scope: Scope, reference: str) -> CardHead:
    """Take an archived card into use again.

    Raises:
        NotFound: There is no such archived card.
    """
    scope.require("prompt:update")
    return _change(scope, locked_head(scope, reference, archived=True), "card.restored", {"archived_at": None})


def _change(scope: Scope, card: CardHead, action: str, values: dict[str, Any], **detail: Any) -> CardHead:
    statement = (
        sa.update(prompt_cards)
        .where(*the_card(scope, card))
        # By the clock: two changes in one transaction are two states.
        .values(**values, updated_at=sa.func.clock_timestamp())
        .returning(*COLUMNS)
    )
    changed = head_of(scope.connection.execute(statement).one())
    audit.record(scope, action, "card", card.id, **detail)
    card_changes.announce(scope, [card.name])
    return changed


def save_version(scope: Scope, card: Card, provenance: Provenance | None = None) -> Saved:
    """Save ``card`` as the next version; makes the card when there is none of this name.

    Content that a version has already makes no other one: that version is returned. Title, description and tags are
    not part of a version and are taken over in any case. What it includes is taken from this workspace and saved with
    it.

    Args:
        provenance: Where a new version was made.

    Raises:
        CardError: It includes a card or version that this workspace does not have (``include_unknown``), or carries
            another text of it (``include_conflict``).
    """
    scope.require("prompt:create")
    scope.require("prompt:update")
    card = _composed(scope, card)
    card_id, latest = _head_for_update(scope, card)
    card_changes.announce(scope, [card.name])
    content_hash = card.content_hash
    same = scope.connection.execute(
        sa.select(card_versions.c.id, card_versions.c.version)
        .where(
            card_versions.c.workspace_id == scope.workspace_id,
            card_versions.c.card_id == card_id,
            card_versions.c.content_hash == content_hash,
        )
        .order_by(card_versions.c.version.desc())
        .limit(1)
    ).one_or_none()
    if same is not None:
        return Saved(card_id, same.id, same.version, created=False)
    version_id = _insert_version(scope, card_id, latest + 1, card, content_hash, provenance)
    audit.record(scope, "card.version_saved", "card", card_id, version=latest + 1, content_hash=content_hash)
    return Saved(card_id, version_id, latest + 1, created=True)


def _composed(scope: Scope, card: Card) -> Card:
    """Return ``card`` with the texts that it includes, as they are saved in this workspace."""
    if not card.references:
        return card

    def find(name: str, version: int) -> Card | None:
        try:
            return stored_versions.load(scope, name, [version])[0].card
        except NotFound:
            return None

    bare = msgspec.structs.replace(card, includes={})
    composed = bare.compose(find)
    for reference, text in card.includes.items():
        # Whoever reads `house-style@2` here means the one of this workspace.
        if composed.includes.get(reference) != text:
            raise CardError(
                f"Card '{card.name}' carries a text of '{reference}' that is not the one saved here.",
                hint="Save the card that it includes first, in the same version.",
                code="include_conflict",
            )
    return composed


def _head_for_update(scope: Scope, card: Card) -> tuple[UUID, int]:
    """Return id and latest version of the card's row, which stays locked until the transaction ends."""
    values = {
        "title": card.title,
        "description": card.description,
        "tags": list(card.tags),
    }
    statement = (
        insert(prompt_cards)
        .values(workspace_id=scope.workspace_id, name=card.name, created_by=scope.actor.user_id, **values)
        .on_conflict_do_update(
            index_elements=["workspace_id", "name"],
            set_={**values, "updated_at": sa.func.now(), "archived_at": None},
        )
        .returning(prompt_cards.c.id, prompt_cards.c.latest_version)
    )
    row = scope.connection.execute(statement).one()
    return row.id, row.latest_version


def _insert_version(
    scope: Scope, card_id: UUID, version: int, card: Card, content_hash: str, provenance: Provenance | None
) -> UUID:
    version_id: UUID = scope.connection.execute(
        sa.insert(card_versions)
        .values(
            workspace_id=scope.workspace_id,
            card_id=card_id,
            version=version,
            content=card.content,
            content_hash=content_hash,
            note=card.note,
            provenance=msgspec.to_builtins(provenance),
            created_by=scope.actor.user_id,
        )
        .returning(card_versions.c.id)
    ).scalar_one()
    scope.connection.execute(
        sa.update(prompt_cards)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id == card_id)
        .values(latest_version=version, revision=prompt_cards.c.revision + 1)
    )
    return version_id
