"""Versions of a card, and how they differ."""

from __future__ import annotations

from promptcard_ext.core.contract.cards import CardDiff, DiffQuery, SavedVersion, VersionQuery
from promptcard_ext.core.contract.page import Page
from server_ext.api.cards import CARD
from server_ext.api.operation import Call, Operations
from server_ext.services import card_diffs, card_versions

operations = Operations("versions")


@operations.get(CARD + "/versions", action="prompt:read", query=VersionQuery, answer=Page[SavedVersion])
def list_versions(call: Call) -> Page[SavedVersion]:
    """List versions, oldest first."""
    return card_versions.list_versions(call.scope, call.path["card"], call.query)


@operations.get(CARD + "/versions/{version}", action="prompt:read", answer=SavedVersion, etag=True)
def get_version(call: Call) -> SavedVersion:
    """Return a version, by number or label."""
    return card_versions.get(call.scope, call.path["card"], call.path["version"])


@operations.get(CARD + "/diff", action="prompt:read", query=DiffQuery, answer=CardDiff)
def diff_versions(call: Call) -> CardDiff:
    """Compare two versions, or a version and the draft."""
    return card_diffs.diff(call.scope, call.path["card"], call.query.base, call.query.other)
