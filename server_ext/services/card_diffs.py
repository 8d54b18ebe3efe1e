"""Differences between the states of a card that are stored: versions and the draft."""

from __future__ import annotations

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardDiff
from server_ext.services import card_versions, drafts
from server_ext.services.card_comparison import compare
from server_ext.services.scope import Scope, missing

DRAFT = "draft"


def diff(scope: Scope, reference: str, base: str, other: str) -> CardDiff:
    """Return how ``other`` differs from ``base``: each the number of a version, a label, ``latest`` or ``draft``.

    Raises:
        NotFound: There is no such card, version, label or draft.
    """
    scope.require("prompt:read")
    return compare(_state(scope, reference, base), _state(scope, reference, other), base, other)


def _state(scope: Scope, reference: str, which: str) -> Card:
    if which != DRAFT:
        return card_versions.get(scope, reference, which).card
    draft = drafts.get(scope, reference)
    if draft.content is None:
        raise missing("draft of card", reference)
    return drafts.as_card(draft.card, draft.content)
