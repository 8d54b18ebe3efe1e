"""Versions of cards, and how they differ."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.cards import LATEST, CardDiff, DiffQuery, SavedVersion, VersionQuery
from promptcard_ext.core.contract.page import Page


class Versions(Noun):
    """The versions of cards. A version never changes."""

    def list(self, card: Ref) -> Iterator[SavedVersion]:
        """Yield the versions of a card, oldest first."""
        return self._pages(Page[SavedVersion], "cards", card, "versions", query=VersionQuery(limit=100))

    def get(self, card: Ref, version: int | str) -> Tagged[SavedVersion]:
        """Return a version, by number or label."""
        return self._read_tagged(SavedVersion, "GET", "cards", card, "versions", version)

    def diff(self, card: Ref, base: int | str, other: int | str = LATEST) -> CardDiff:
        """Compare two versions, by number or label, or a version and the ``draft``."""
        return self._read(CardDiff, "GET", "cards", card, "diff", query=DiffQuery(str(base), str(other)))
