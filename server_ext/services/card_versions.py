"""Versions of cards: written once, found by number or by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import LATEST, RegisteredCard, SavedVersion, VersionQuery
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.provenance import Provenance
from server_ext.db.tables import card_labels, card_versions, prompt_cards
from server_ext.services import paging
from server_ext.services.card_lookup import head, select_card
from server_ext.services.precondition import etag_of
from server_ext.services.scope import Scope, missing

MAX_NUMBER = 2**31 - 1

_COLUMNS = (
    prompt_cards.c.name,
    prompt_cards.c.title,
    prompt_cards.c.description,
    prompt_cards.c.tags,
    card_versions.c.id,
    card_versions.c.card_id,
    card_versions.c.version,
    card_versions.c.content,
    card_versions.c.content_hash,
    card_versions.c.note,
    card_versions.c.provenance,
    card_versions.c.created_by,
    card_versions.c.created_at,
)
_FIRST_PAGE = VersionQuery()
_OF_CARD = sa.and_(
    card_versions.c.workspace_id == prompt_cards.c.workspace_id, card_versions.c.card_id == prompt_cards.c.id
)


def list_versions(scope: Scope, reference: str, query: VersionQuery = _FIRST_PAGE) -> Page[SavedVersion]:
    """Return versions of a card, oldest first.

    Raises:
        NotFound: There is no such card.
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("prompt:read")
    after = paging.decode_cursor(query.cursor, int)[0] if query.cursor is not None else 0
    statement = _all(scope, head(scope, reference).id).where(card_versions.c.version > min(after, MAX_NUMBER))
    rows = scope.connection.execute(statement.limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.version,), _version)


def load(scope: Scope, reference: str, wanted: Sequence[int] | None = None) -> list[SavedVersion]:
    """Return versions of a card, oldest first: all, or the wanted ones. The card may be out of use by now.

    Raises:
        NotFound: There is no such card, or it lacks one of the versions.
    """
    scope.require("prompt:read")
    card_id = scope.connection.scalar(select_card(scope, reference, prompt_cards.c.id, archived=None))
    if card_id is None:
        raise missing("card", reference)
    statement = _all(scope, card_id)
    if wanted is not None:
        statement = statement.where(card_versions.c.version.in_([n for n in wanted if 0 < n <= MAX_NUMBER]))
    rows = scope.connection.execute(statement).all()
    found = {row.version for row in rows}
    for number in wanted or []:
        if number not in found:
            raise missing("version", f"{reference}@{number}")
    return [_version(row) for row in rows]


def get(scope: Scope, reference: str, which: str) -> SavedVersion:
    """Return one version of a card, by number or label.

    Raises:
        NotFound: There is no such card or version.
    """
    scope.require("prompt:read")
    return _version(_row(scope, reference, which))


def resolve(scope: Scope, reference: str, which: str = LATEST) -> RegisteredCard:
    """Return what a program fetches: a version of a card, by number, label or ``latest``.

    Raises:
        NotFound: There is no such card or version.
    """
    scope.require("prompt:read")
    row = _row(scope, reference, which)
    label = None if which.isdecimal() else which
    found = RegisteredCard(_card(row), row.version, label, row.content_hash)
    return msgspec.structs.replace(found, etag=etag_of(found))


def _all(scope: Scope, card_id: UUID) -> sa.Select[Any]:
    return (
        sa.select(*_COLUMNS)
        .join_from(prompt_cards, card_versions, _OF_CARD)
        .where(card_versions.c.workspace_id == scope.workspace_id, card_versions.c.card_id == card_id)
        .order_by(card_versions.c.version)
    )


def _row(scope: Scope, reference: str, which: str) -> Any:
    row = scope.connection.execute(_chosen(scope, reference, which)).one_or_none()
    if row is None:
        raise missing("version", f"{reference}@{which}")
    return row


def _chosen(scope: Scope, reference: str, which: str) -> sa.Select[Any]:
    statement = select_card(scope, reference, *_COLUMNS).join_from(prompt_cards, card_versions, _OF_CARD)
    if which == LATEST:
        return statement.where(card_versions.c.version == prompt_cards.c.latest_version)
    if which.isdecimal():
        # There is no version 0, so that is what any number beyond the column's range stands for.
        number = int(which) if which.isascii() and len(which) <= 10 else 0
        return statement.where(card_versions.c.version == (number if number <= MAX_NUMBER else 0))
    labelled = sa.and_(
        card_labels.c.workspace_id == card_versions.c.workspace_id,
        card_labels.c.card_id == card_versions.c.card_id,
        card_labels.c.version_id == card_versions.c.id,
    )
    return statement.join(card_labels, labelled).where(card_labels.c.label == which)


def _version(row: Any) -> SavedVersion:
    return SavedVersion(
        row.id, row.card_id, row.version, _card(row), row.content_hash, row.created_by, row.created_at,
        msgspec.convert(row.provenance, Provenance | None),
    )  # fmt: skip


def _card(row: Any) -> Card:
    return Card.from_content(
        row.name,
        row.content,
        title=row.title,
        description=row.description,
        tags=tuple(row.tags),
        version=row.version,
        note=row.note,
    )
