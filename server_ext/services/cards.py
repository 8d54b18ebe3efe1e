"""Cards: a mutable head and draft, immutable versions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import CardError, Conflict, NotFound
from server_ext.db.tables import card_versions, prompt_cards
from server_ext.services import audit
from server_ext.services.scope import Scope, as_uuid, missing

_HEAD = (
    prompt_cards.c.id, prompt_cards.c.name, prompt_cards.c.title, prompt_cards.c.description, prompt_cards.c.tags,
    prompt_cards.c.draft, prompt_cards.c.revision, prompt_cards.c.latest_version, prompt_cards.c.created_at,
    prompt_cards.c.updated_at,
)  # fmt: skip


class Saved(Struct, frozen=True):
    """What came of saving a version: ``created`` is False when a version had this content already."""

    card_id: UUID
    version_id: UUID
    version: int
    created: bool


class SavedVersion(Struct, frozen=True):
    """A version as it stands in the database, with the card it makes."""

    id: UUID
    card_id: UUID
    card: Card
    content_hash: str
    created_at: Any


def list_cards(scope: Scope, after: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """Return cards by name, those after ``after``."""
    scope.require("prompt:read")
    query = sa.select(*_HEAD).where(
        prompt_cards.c.workspace_id == scope.workspace_id,
        prompt_cards.c.archived_at.is_(None),
        prompt_cards.c.name > after,
    )
    return _rows(scope.connection.execute(query.order_by(prompt_cards.c.name).limit(limit)))


def get(scope: Scope, reference: str) -> dict[str, Any]:
    """Return the head of a card, by name or id.

    Raises:
        NotFound: There is none.
    """
    scope.require("prompt:read")
    known_id = as_uuid(reference)
    # A name may look like an id, too; then it goes first.
    which = sa.or_(prompt_cards.c.name == reference, prompt_cards.c.id == known_id)
    query = (
        sa.select(*_HEAD)
        .where(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.archived_at.is_(None), which)
        .order_by((prompt_cards.c.name == reference).desc())
    )
    found = _rows(scope.connection.execute(query))
    if not found:
        raise missing("card", reference)
    return found[0]


def save_version(scope: Scope, card: Card) -> Saved:
    """Save ``card`` as the next version; makes the card when there is none of this name.

    Content that a version has already makes no other one: that version is returned. Title, description and tags are
    not part of a version and are taken over in any case. What it includes is taken from this workspace and saved with
    it.

    Raises:
        CardError: It includes a card or version that this workspace does not have (``include_unknown``), or carries
            another text of it (``include_conflict``).
    """
    scope.require("prompt:create")
    scope.require("prompt:update")
    card = _composed(scope, card)
    card_id, latest = _head_for_update(scope, card)
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
    version_id = _insert_version(scope, card_id, latest + 1, card, content_hash)
    audit.record(scope, "card.version_saved", "card", card_id, version=latest + 1, content_hash=content_hash)
    return Saved(card_id, version_id, latest + 1, created=True)


def _composed(scope: Scope, card: Card) -> Card:
    """Return ``card`` with the texts that it includes, as they are saved in this workspace."""
    if not card.references:
        return card

    def find(name: str, version: int) -> Card | None:
        try:
            return versions(scope, name, [version])[0].card
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


def _insert_version(scope: Scope, card_id: UUID, version: int, card: Card, content_hash: str) -> UUID:
    version_id: UUID = scope.connection.execute(
        sa.insert(card_versions)
        .values(
            workspace_id=scope.workspace_id,
            card_id=card_id,
            version=version,
            content=card.content,
            content_hash=content_hash,
            note=card.note,
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


def save_draft(scope: Scope, reference: str, draft: dict[str, Any], revision: int) -> dict[str, Any]:
    """Replace the draft of a card, unless somebody else did since ``revision``.

    Raises:
        Conflict: The card is at another revision (``revision_conflict``); carries the current head.
        CardError: The draft cannot become a card.
    """
    scope.require("prompt:update")
    head = get(scope, reference)
    try:
        msgspec.convert({**draft, "name": head["name"]}, Card)
    except msgspec.ValidationError as error:
        raise CardError(f"The draft of card '{head['name']}' does not fit: {error}.", code="card_invalid") from None
    changed = scope.connection.execute(
        sa.update(prompt_cards)
        .where(
            prompt_cards.c.workspace_id == scope.workspace_id,
            prompt_cards.c.id == head["id"],
            prompt_cards.c.revision == revision,
        )
        .values(draft=draft, revision=revision + 1, updated_at=sa.func.now())
    ).rowcount
    if not changed:
        raise Conflict(
            f"Card '{head['name']}' is at revision {head['revision']}, not {revision}.",
            hint="Load it again and repeat the change.",
            code="revision_conflict",
            current=head,
        )
    return get(scope, reference)


def versions(scope: Scope, reference: str, wanted: list[int] | None = None) -> list[SavedVersion]:
    """Return versions of a card, oldest first: all, or the wanted ones.

    Raises:
        NotFound: There is no such card, or it lacks one of the versions.
    """
    head = get(scope, reference)
    query = sa.select(card_versions).where(
        card_versions.c.workspace_id == scope.workspace_id, card_versions.c.card_id == head["id"]
    )
    if wanted is not None:
        query = query.where(card_versions.c.version.in_(wanted))
    rows = scope.connection.execute(query.order_by(card_versions.c.version)).all()
    found = {row.version for row in rows}
    for number in wanted or []:
        if number not in found:
            raise missing("version", f"{head['name']}@{number}")
    return [_version(head, row) for row in rows]


def _version(head: dict[str, Any], row: Any) -> SavedVersion:
    card = Card.from_content(
        head["name"],
        row.content,
        title=head["title"],
        description=head["description"],
        tags=tuple(head["tags"]),
        version=row.version,
        note=row.note,
    )
    return SavedVersion(row.id, row.card_id, card, row.content_hash, row.created_at)


def _rows(result: sa.CursorResult[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in result]  # noqa: SLF001
