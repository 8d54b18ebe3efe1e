"""Drafts of cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.cards import Draft


class Drafts(Noun):
    """What is worked on; every card has one draft at most."""

    def get(self, card: Ref) -> Tagged[Draft]:
        """Return the draft of a card; its content is None when there is none."""
        return self._read_tagged(Draft, "GET", "cards", card, "draft")

    def save(self, card: Ref, content: Mapping[str, Any], *, etag: str) -> Tagged[Draft]:
        """Replace the draft by these fields of a card, all but name and version."""
        return self._read_tagged(Draft, "PUT", "cards", card, "draft", body=dict(content), etag=etag)

    def delete(self, card: Ref, *, etag: str) -> None:
        """Throw the draft away."""
        self._ask("DELETE", "cards", card, "draft", etag=etag)
