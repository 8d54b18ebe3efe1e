"""Labels: names for versions that can be moved, such as ``production``. The audit trail has where they have been."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.contract.cards import LATEST, CardHead, Label, LabelName, LabelTarget
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError
from server_ext.db.tables import card_labels, card_versions
from server_ext.services import audit, changes
from server_ext.services.card_lookup import head, locked_head
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Scope, missing

MAX_LABELS = 100


def list_labels(scope: Scope, reference: str) -> Page[Label]:
    """Return all labels of a card, by name; ``latest``, which every card has, is not among them.

    Raises:
        NotFound: There is no such card.
    """
    scope.require("prompt:read")
    statement = _labels(scope, head(scope, reference)).order_by(card_labels.c.label)
    return Page([Label(*row) for row in scope.connection.execute(statement)])


def get(scope: Scope, reference: str, label: str) -> Label:
    """Return a label of a card.

    Raises:
        NotFound: There is no such card or label.
    """
    scope.require("prompt:read")
    card = head(scope, reference)
    found = _label(scope, card, label)
    if found is None:
        raise missing("label", f"{card.name}/{label}")
    return found


def put(scope: Scope, reference: str, label: str, target: LabelTarget, match: Match = unconditional) -> Label:
    """Put a label on a version of a card, or move it there. A label that does not exist yet needs no condition.

    Raises:
        NotFound: There is no such card or version.
        Conflict: Somebody moved the label since (``etag_mismatch``).
        CardError: The name can be no label's (``label_invalid``), is ``latest`` (``label_reserved``), or the card has
            100 labels already (``too_many_labels``).
    """
    scope.require("prompt:update")
    _check_name(label)
    card = locked_head(scope, reference)
    current = _label(scope, card, label)
    if current is not None:
        match(current)
        if current.version == target.version:
            return current
    elif len(list_labels(scope, card.name).items) >= MAX_LABELS:
        raise CardError(f"Card '{card.name}' has {MAX_LABELS} labels already.", code="too_many_labels")
    _write(scope, card, label, target.version)
    audit.record(
        scope, "label.moved" if current else "label.created", "card", card.id,
        label=label, version=target.version, before=current.version if current else None,
    )  # fmt: skip
    changes.announce(scope, "label", f"{card.name}/{label}")
    return get(scope, card.name, label)


def delete(scope: Scope, reference: str, label: str, match: Match = unconditional) -> None:
    """Take a label off.

    Raises:
        NotFound: There is no such card or label.
        Conflict: Somebody moved the label since (``etag_mismatch``).
    """
    scope.require("prompt:update")
    card = locked_head(scope, reference)
    current = get(scope, card.name, label)
    match(current)
    scope.connection.execute(sa.delete(card_labels).where(*_of(scope, card, label)))
    audit.record(scope, "label.deleted", "card", card.id, label=label, before=current.version)
    changes.announce(scope, "label", f"{card.name}/{label}")


def _check_name(label: str) -> None:
    if label == LATEST:
        raise CardError(
            f"'{LATEST}' always stands at the highest version.",
            hint="Use another label; save a version to move this one.",
            code="label_reserved",
        )
    try:
        msgspec.convert(label, LabelName)
    except msgspec.ValidationError:
        raise CardError(
            f"'{label:.60}' can be no label.",
            hint="Lower-case letters, digits, '.', '_' and '-', beginning with a letter; at most 100.",
            code="label_invalid",
        ) from None


def _write(scope: Scope, card: CardHead, label: str, version: int) -> None:
    known = sa.select(card_versions.c.id).where(
        card_versions.c.workspace_id == scope.workspace_id,
        card_versions.c.card_id == card.id,
        card_versions.c.version == version,
    )
    version_id = scope.connection.scalar(known)
    if version_id is None:
        raise missing("version", f"{card.name}@{version}")
    row = {"workspace_id": scope.workspace_id, "card_id": card.id, "label": label}
    # By the clock: two moves in one transaction are two states.
    state: dict[str, Any] = {"version_id": version_id, "updated_at": sa.func.clock_timestamp()}
    scope.connection.execute(
        insert(card_labels)
        .values(**row, **state)
        .on_conflict_do_update(index_elements=["workspace_id", "card_id", "label"], set_=state)
    )


def _label(scope: Scope, card: CardHead, label: str) -> Label | None:
    row = scope.connection.execute(_labels(scope, card).where(card_labels.c.label == label)).one_or_none()
    return None if row is None else Label(*row)


def _labels(scope: Scope, card: CardHead) -> sa.Select[Any]:
    same = sa.and_(
        card_versions.c.workspace_id == card_labels.c.workspace_id, card_versions.c.id == card_labels.c.version_id
    )
    return (
        sa.select(card_labels.c.label, card_versions.c.version, card_labels.c.updated_at)
        .join_from(card_labels, card_versions, same)
        .where(card_labels.c.workspace_id == scope.workspace_id, card_labels.c.card_id == card.id)
    )


def _of(scope: Scope, card: CardHead, label: str) -> tuple[sa.ColumnElement[bool], ...]:
    columns = card_labels.c
    return columns.workspace_id == scope.workspace_id, columns.card_id == card.id, columns.label == label
